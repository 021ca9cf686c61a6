// SPDX-License-Identifier: Apache-2.0
#include "worker/model/hf_config.hpp"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <string>
#include <string_view>

using namespace worker::model;
using ledger::base::ErrorCode;
using nlohmann::json;

namespace {

json llama() {
    return json::parse(R"({"architectures":["LlamaForCausalLM"],"model_type":"llama",
        "vocab_size":32000,"hidden_size":2048,"num_hidden_layers":22,"num_attention_heads":32,
        "num_key_value_heads":4,"intermediate_size":5632,"max_position_embeddings":2048,
        "rms_norm_eps":1e-5,"rope_theta":10000.0,"hidden_act":"silu","rope_scaling":null,
        "tie_word_embeddings":false,"torch_dtype":"bfloat16","use_cache":true})");
}
json qwen2() {
    json c = llama();
    c["architectures"] = {"Qwen2ForCausalLM"};
    c["model_type"] = "qwen2";
    return c;
}
json gpt2() {
    return json::parse(R"({"architectures":["GPT2LMHeadModel"],"model_type":"gpt2",
        "vocab_size":50257,"n_embd":768,"n_layer":12,"n_head":12,"n_positions":1024})");
}
json neox() {
    return json::parse(R"({"architectures":["GPTNeoXForCausalLM"],"model_type":"gpt_neox",
        "vocab_size":50304,"hidden_size":512,"num_hidden_layers":6,"num_attention_heads":8,
        "intermediate_size":2048,"max_position_embeddings":2048,"rotary_pct":0.25})");
}

DecoderConfig parsed(const json& config) {
    const auto out = parse_hf_config(config.dump());
    REQUIRE_MESSAGE(out.has_value(), out.error().message());
    return *out;
}

void refused(json config, const json& change, ErrorCode code, std::string_view why) {
    config.merge_patch(change);
    CAPTURE(change.dump());
    const auto out = parse_hf_config(config.dump());
    REQUIRE_FALSE(out.has_value());
    CHECK_MESSAGE(out.error().code() == code, out.error().message());
    CHECK_MESSAGE(out.error().detail().find(why) != std::string::npos, out.error().detail());
}

constexpr auto kInvalid = ErrorCode::data_invalid;
constexpr auto kUnsupported = ErrorCode::unsupported;
constexpr auto kLimit = ErrorCode::job_limit;

}  // namespace

TEST_CASE("hf_config: what is no object is refused") {
    for (const std::string& text :
         {std::string(), std::string("{"), std::string("[]"), std::string("7"),
          std::string(R"({"vocab_size":1,"vocab_size":2})"), std::string(100, '['),
          std::string((1U << 20U) + 1, ' ')}) {
        const auto out = parse_hf_config(text);
        REQUIRE_FALSE(out.has_value());
        CHECK(out.error().code() == kInvalid);
    }
}

TEST_CASE("hf_config: architectures that are not implemented are named") {
    refused(llama(), {{"architectures", {"MambaForCausalLM"}}}, kUnsupported, "MambaForCausalLM");
    refused(llama(), {{"architectures", nullptr}, {"model_type", "mamba"}}, kUnsupported, "mamba");
    refused(llama(), {{"architectures", nullptr}, {"model_type", nullptr}}, kInvalid,
            "architectures");
    refused(llama(), {{"architectures", {"LlamaForCausalLM", "GPT2LMHeadModel"}}}, kInvalid,
            "architectures");
    refused(llama(), {{"architectures", {7}}}, kInvalid, "architectures");
    refused(llama(), {{"architectures", "LlamaForCausalLM"}}, kInvalid, "architectures");
    refused(llama(), {{"model_type", "mistral"}}, kInvalid, "model_type");
    refused(llama(), {{"quantization_config", {{"bits", 4}}}}, kUnsupported, "quantization_config");
}

TEST_CASE("hf_config: sizes are there, integers, and within the limits") {
    for (const char* name :
         {"vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads",
          "intermediate_size", "max_position_embeddings"}) {
        refused(llama(), {{name, nullptr}}, kInvalid, name);
        refused(llama(), {{name, "64"}}, kInvalid, name);
        refused(llama(), {{name, -1}}, kInvalid, name);
        refused(llama(), {{name, 2.5}}, kInvalid, name);
        refused(llama(), {{name, 1ULL << 40U}}, kInvalid, name);
    }
    refused(llama(), {{"num_key_value_heads", 0}}, kInvalid, "num_key_value_heads");
    refused(llama(), {{"num_key_value_heads", 5}}, kInvalid, "num_key_value_heads");
    refused(llama(), {{"num_key_value_heads", 64}}, kInvalid, "num_key_value_heads");
    refused(llama(), {{"num_attention_heads", 31}}, kInvalid, "num_attention_heads");
    refused(llama(), {{"num_attention_heads", 0}}, kInvalid, "num_attention_heads");
    refused(llama(), {{"num_hidden_layers", 0}}, kInvalid, "num_hidden_layers");
    refused(llama(), {{"vocab_size", 2000000}}, kLimit, "vocab_size");
    refused(llama(), {{"hidden_size", 131072}}, kLimit, "hidden_size");
    refused(llama(), {{"num_hidden_layers", 513}}, kLimit, "num_hidden_layers");
    refused(llama(), {{"num_hidden_layers", 2147483647}}, kLimit, "num_hidden_layers");
    refused(llama(), {{"head_dim", 2048}}, kLimit, "head_dim");
    refused(llama(), {{"head_dim", 63}}, kInvalid, "head_dim");
    refused(llama(), {{"rms_norm_eps", -1.0}}, kInvalid, "rms_norm_eps");
    refused(llama(), {{"rms_norm_eps", "1e-5"}}, kInvalid, "rms_norm_eps");
    refused(gpt2(), {{"n_head", 7}}, kInvalid, "n_head");
    refused(gpt2(), {{"n_layer", 100000000}}, kLimit, "n_layer");
    refused(neox(), {{"rotary_pct", 0.01}}, kInvalid, "rotary");
    refused(neox(), {{"rotary_pct", 1.5}}, kInvalid, "rotary_pct");
}

TEST_CASE("hf_config: values that would change the numbers are refused by name") {
    refused(llama(), {{"hidden_act", "relu"}}, kUnsupported, "hidden_act");
    refused(llama(), {{"hidden_act", 7}}, kInvalid, "hidden_act");
    refused(llama(), {{"attention_bias", "yes"}}, kInvalid, "attention_bias");
    refused(llama(), {{"partial_rotary_factor", 0.5}}, kUnsupported, "partial_rotary_factor");
    refused(llama(), {{"sliding_window", 7}}, kUnsupported, "sliding_window");
    refused(qwen2(), {{"attention_bias", false}}, kUnsupported, "attention_bias");
    refused(qwen2(), {{"use_sliding_window", true}}, kInvalid, "sliding_window");
    refused(qwen2(), {{"use_sliding_window", true}, {"sliding_window", 0}}, kInvalid,
            "sliding_window");
    refused(qwen2(), {{"layer_types", {"full_attention"}}}, kInvalid, "layer_types");
    refused(qwen2(), {{"layer_types", json::array_t(22, "sliding_attention")}}, kInvalid,
            "sliding_window");
    refused(qwen2(), {{"layer_types", json::array_t(22, "linear_attention")}}, kUnsupported,
            "linear_attention");
    refused(gpt2(), {{"scale_attn_weights", false}}, kUnsupported, "scale_attn_weights");
    refused(gpt2(), {{"scale_attn_by_inverse_layer_idx", true}}, kUnsupported,
            "scale_attn_by_inverse_layer_idx");
    refused(gpt2(), {{"add_cross_attention", true}}, kUnsupported, "add_cross_attention");
    refused(gpt2(), {{"activation_function", "silu"}}, kUnsupported, "silu");
}

TEST_CASE("hf_config: rotary scaling is checked field by field") {
    const auto scaled = [](const json& change) {
        json rope = {{"rope_type", "llama3"},
                     {"factor", 8.0},
                     {"low_freq_factor", 1.0},
                     {"high_freq_factor", 4.0},
                     {"original_max_position_embeddings", 1024}};
        rope.merge_patch(change);
        return json{{"rope_scaling", rope}};
    };
    refused(llama(), {{"rope_scaling", "linear"}}, kInvalid, "rope_scaling");
    refused(llama(), scaled({{"rope_type", "longrope"}}), kUnsupported, "longrope");
    refused(llama(), scaled({{"type", "linear"}}), kInvalid, "rope_type");
    refused(llama(), scaled({{"factor", nullptr}}), kInvalid, "factor");
    refused(llama(), scaled({{"factor", 0.5}}), kInvalid, "factor");
    refused(llama(), scaled({{"factor", 1e9}}), kInvalid, "factor");
    refused(llama(), scaled({{"low_freq_factor", nullptr}}), kInvalid, "low_freq_factor");
    refused(llama(), scaled({{"high_freq_factor", 1.0}}), kInvalid, "high_freq_factor");
    refused(llama(), scaled({{"original_max_position_embeddings", nullptr}}), kInvalid,
            "original_max_position_embeddings");
    refused(llama(), scaled({{"original_max_position_embeddings", 0}}), kInvalid,
            "original_max_position_embeddings");
    refused(llama(), scaled({{"rope_type", "yarn"}, {"beta_fast", 0.5}}), kInvalid, "beta_fast");
    refused(llama(), {{"rope_theta", 0.0}}, kInvalid, "rope_theta");
    refused(llama(), {{"rope_parameters", {{"rope_theta", 500.0}}}}, kInvalid, "rope_theta");
    refused(llama(),
            {{"rope_parameters", {{"rope_type", "default"}}},
             {"rope_scaling", {{"rope_type", "default"}}}},
            kInvalid, "rope_parameters");
    refused(neox(),
            {{"rotary_pct", 0.03125}, {"rope_scaling", {{"type", "dynamic"}, {"factor", 2}}}},
            kInvalid, "dynamic");
}

TEST_CASE("hf_config: features of the families") {
    const DecoderConfig plain = parsed(llama());
    CHECK(plain.head_dim == 64);
    CHECK(plain.qkv_width() == 2048 + 2 * 256);
    CHECK(plain.windows == std::vector<std::uint32_t>(22, 0));
    CHECK(parameter_count(plain) == 1'100'048'384);  // TinyLlama's published size
    CHECK_FALSE(plain.qkv_bias);

    const DecoderConfig gpt = parsed(gpt2());
    CHECK(parameter_count(gpt) == 124'439'808);  // GPT-2's
    CHECK(gpt.tied_head);
    CHECK(gpt.activation == Activation::kGeluTanh);
    CHECK(gpt.rope.dims == 0);

    const DecoderConfig pythia = parsed(neox());
    CHECK(parameter_count(pythia) == 70'426'624);  // Pythia-70m's
    CHECK(pythia.rope.dims == 16);
    CHECK(pythia.residual == Residual::kParallel);

    json windowed = qwen2();
    windowed.merge_patch(
        {{"use_sliding_window", true}, {"sliding_window", 512}, {"max_window_layers", 20}});
    const DecoderConfig qwen = parsed(windowed);
    CHECK(qwen.qkv_bias);
    CHECK_FALSE(qwen.attention_out_bias);
    CHECK(qwen.windows[19] == 0);
    CHECK(qwen.windows[20] == 512);
}

TEST_CASE("hf_config: scaling lengthens the context, except where the file says it already did") {
    const auto context = [](const json& rope) {
        json c = llama();
        c["rope_scaling"] = rope;
        return parsed(c).context;
    };
    CHECK(context({{"rope_type", "linear"}, {"factor", 2.5}}) == 5120);
    CHECK(context({{"type", "dynamic"}, {"factor", 2}}) == 4096);
    CHECK(context({{"type", "yarn"}, {"factor", 4}, {"original_max_position_embeddings", 1024}}) ==
          4096);
    CHECK(context({{"type", "yarn"}, {"factor", 2}, {"original_max_position_embeddings", 512}}) ==
          2048);
    CHECK(context({{"rope_type", "llama3"},
                   {"factor", 8},
                   {"low_freq_factor", 1},
                   {"high_freq_factor", 4},
                   {"original_max_position_embeddings", 256}}) == 2048);
}

TEST_CASE("hf_config: generation defaults, and tokens that do not exist") {
    const auto one = parse_generation_config(
        R"({"eos_token_id":2,"temperature":0.6,"top_p":0.9,"do_sample":true})", 10);
    REQUIRE(one.has_value());
    CHECK(one->end_tokens == std::vector<std::uint32_t>{2});
    CHECK(*one->temperature == 0.6);
    CHECK(*one->top_p == 0.9);
    CHECK_FALSE(one->top_k.has_value());
    const auto many = parse_generation_config(R"({"eos_token_id":[1,9],"do_sample":false})", 10);
    REQUIRE(many.has_value());
    CHECK(many->end_tokens == std::vector<std::uint32_t>{1, 9});
    CHECK(*many->temperature == 0.0);
    CHECK(parse_generation_config("{}", 10)->end_tokens.empty());
    for (const char* bad : {R"({"eos_token_id":10})", R"({"eos_token_id":[1,"2"]})",
                            R"({"eos_token_id":-1})", R"({"top_p":1.5})", R"({"top_k":-1})"})
        CHECK(parse_generation_config(bad, 10).error().code() == kInvalid);
}
