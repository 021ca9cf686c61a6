// SPDX-License-Identifier: Apache-2.0
#include "worker/model/decoder.hpp"

#include "tests/unit/worker/model/decoder_fixture.hpp"
#include "tests/unit/worker/model/reference_decoder.hpp"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <string>

using namespace worker::model;
using namespace worker::model::test;
namespace kernels = worker::kernels;
using nlohmann::json;

namespace {

constexpr std::uint64_t kSeed = 20240607;

json llama() {
    return json::parse(R"({"architectures":["LlamaForCausalLM"],"model_type":"llama",
        "vocab_size":97,"hidden_size":48,"num_hidden_layers":2,"num_attention_heads":4,
        "num_key_value_heads":2,"intermediate_size":80,"max_position_embeddings":64,
        "rms_norm_eps":1e-5,"rope_theta":10000.0,"hidden_act":"silu",
        "tie_word_embeddings":false})");
}
json mistral() {
    json c = llama();
    c["architectures"] = {"MistralForCausalLM"};
    c["model_type"] = "mistral";
    c["sliding_window"] = 5;
    return c;
}
json qwen2() {
    json c = llama();
    c["architectures"] = {"Qwen2ForCausalLM"};
    c["model_type"] = "qwen2";
    c["rope_theta"] = 1000000.0;
    c["tie_word_embeddings"] = true;
    c["sliding_window"] = 7;
    c["use_sliding_window"] = false;
    return c;
}
json qwen3() {
    json c = qwen2();
    c["architectures"] = {"Qwen3ForCausalLM"};
    c["model_type"] = "qwen3";
    c["head_dim"] = 20;
    return c;
}
json gpt2() {
    return json::parse(R"({"architectures":["GPT2LMHeadModel"],"model_type":"gpt2",
        "vocab_size":97,"n_embd":48,"n_layer":2,"n_head":4,"n_positions":64,
        "activation_function":"gelu_new","layer_norm_epsilon":1e-5})");
}
json neox() {
    return json::parse(R"({"architectures":["GPTNeoXForCausalLM"],"model_type":"gpt_neox",
        "vocab_size":97,"hidden_size":64,"num_hidden_layers":2,"num_attention_heads":4,
        "intermediate_size":96,"max_position_embeddings":64,"layer_norm_eps":1e-5,
        "rotary_pct":0.25,"rotary_emb_base":10000,"hidden_act":"gelu",
        "use_parallel_residual":true,"tie_word_embeddings":false})");
}

json with(json config, const json& change) {
    config.merge_patch(change);
    return config;
}

struct Case {
    std::string name;
    json config;
    Dtype dtype = Dtype::kF32;
    std::size_t shards = 1;
};

std::vector<Case> cases() {
    const json llama3 = {{"rope_type", "llama3"},
                         {"factor", 8.0},
                         {"low_freq_factor", 1.0},
                         {"high_freq_factor", 4.0},
                         {"original_max_position_embeddings", 32}};
    const json short_yarn = {{"rope_type", "yarn"},
                             {"factor", 4.0},
                             {"beta_fast", 4.0},
                             {"original_max_position_embeddings", 16}};
    return {
        {"llama 2", with(llama(), {{"num_key_value_heads", 4}})},
        {"llama 2 in fp16", llama(), Dtype::kF16},
        {"llama 2 in bf16 shards", llama(), Dtype::kBf16, 3},
        {"llama 3",
         with(llama(),
              {{"rope_theta", 500000.0}, {"tie_word_embeddings", true}, {"rope_scaling", llama3}})},
        {"llama with biases and a wide head",
         with(llama(), {{"attention_bias", true}, {"mlp_bias", true}, {"head_dim", 32}})},
        {"llama with one key-value head and gelu",
         with(llama(), {{"num_key_value_heads", 1}, {"hidden_act", "gelu"}})},
        {"llama, gate by gelu_new", with(llama(), {{"hidden_act", "gelu_pytorch_tanh"}})},
        {"linear scaling", with(llama(), {{"rope_scaling", {{"type", "linear"}, {"factor", 3}}}})},
        {"dynamic scaling",
         with(llama(), {{"max_position_embeddings", 16},
                        {"rope_scaling", {{"type", "dynamic"}, {"factor", 4}}}})},
        {"yarn", with(llama(), {{"rope_scaling", short_yarn}})},
        {"yarn with magnitudes",
         with(llama(), {{"rope_scaling",
                         with(short_yarn,
                              {{"mscale", 1.0}, {"mscale_all_dim", 0.7}, {"truncate", false}})}})},
        {"yarn with its factor given",
         with(llama(), {{"rope_scaling", with(short_yarn, {{"attention_factor", 1.3}})}})},
        {"the newer rope_parameters",
         with(llama(), {{"rope_theta", nullptr},
                        {"rope_parameters", with(llama3, {{"rope_theta", 500.0}})}})},
        {"mistral with a window", mistral()},
        {"mistral without a window", with(mistral(), {{"sliding_window", nullptr}})},
        {"qwen2", qwen2()},
        {"qwen2 with a window from layer 1",
         with(qwen2(), {{"use_sliding_window", true}, {"max_window_layers", 1}})},
        {"qwen2 with layer_types",
         with(qwen2(), {{"use_sliding_window", true},
                        {"layer_types", {"sliding_attention", "full_attention"}}})},
        {"qwen3", qwen3()},
        {"qwen3 with biases",
         with(qwen3(), {{"attention_bias", true}, {"tie_word_embeddings", false}})},
        {"gpt2", gpt2()},
        {"gpt2, exact gelu, untied, narrow",
         with(gpt2(),
              {{"activation_function", "gelu"}, {"n_inner", 72}, {"tie_word_embeddings", false}})},
        {"pythia", neox()},
        {"pythia, one residual after the other",
         with(neox(), {{"use_parallel_residual", false}, {"rotary_pct", 0.5}}), Dtype::kF16},
        {"pythia without attention biases, tied",
         with(neox(),
              {{"attention_bias", false}, {"tie_word_embeddings", true}, {"rotary_pct", 1.0}})},
    };
}

}  // namespace

TEST_CASE("decoder: every family and feature gives the logits of the published code") {
    MESSAGE("seed " << kSeed);
    const Tokens tokens = some_tokens(45, 97);
    for (const Case& c : cases()) {
        CAPTURE(c.name);
        const RandomModel model = make_random_model(c.config.dump(), kSeed, c.dtype);
        const auto expected = reference_decoder(model, tokens);
        Running running(model, c.dtype, c.shards);
        const double error = worst_error(running.run(tokens, tokens.size()), expected);
        CHECK(error < 1e-5);
    }
}

TEST_CASE("decoder: a feature that is read wrongly would show in the logits") {
    // The oracle is only as good as the distance between the features it tells apart.
    const Tokens tokens = some_tokens(45, 97);
    const auto distance = [&](const json& a, const json& b) {
        const RandomModel model = make_random_model(a.dump(), kSeed);
        const auto expected = reference_decoder(model, tokens);
        return worst_error(Running({b.dump(), model.tensors}).run(tokens, tokens.size()), expected);
    };
    const json scaled = {{"type", "linear"}, {"factor", 1.1}};
    CHECK(distance(llama(), with(llama(), {{"rope_scaling", scaled}})) > 1e-3);
    CHECK(distance(llama(), with(llama(), {{"rms_norm_eps", 1e-3}})) > 1e-5);
    CHECK(distance(mistral(), with(mistral(), {{"sliding_window", 6}})) > 1e-3);
    CHECK(distance(gpt2(), with(gpt2(), {{"activation_function", "gelu"}})) > 2e-5);
    CHECK(distance(neox(), with(neox(), {{"use_parallel_residual", false}})) > 1e-3);
    CHECK(distance(neox(), with(neox(), {{"rotary_pct", 0.5}})) > 1e-3);
}

TEST_CASE("decoder: a prompt gives the same bits however it is cut and on any threads") {
    const Tokens tokens = some_tokens(45, 97);
    for (const Case& c : cases()) {
        CAPTURE(c.name);
        const RandomModel model = make_random_model(c.config.dump(), kSeed, c.dtype);
        Running running(model, c.dtype);
        const Floats whole = running.run(tokens, tokens.size());
        CHECK(whole == running.run(tokens, 1));
        CHECK(whole == running.run(tokens, 7));
        CHECK(whole == running.run(tokens, 16));
        Running threaded(model, c.dtype, 1, kernels::WeightFormat::kF32, 3);
        CHECK(whole == threaded.run(tokens, tokens.size()));
    }
}

TEST_CASE("decoder: a row gives the same bits whatever else is in the batch") {
    for (const auto format : {kernels::WeightFormat::kF32, kernels::WeightFormat::kInt8}) {
        const RandomModel model = make_random_model(mistral().dump(), kSeed);
        Running running(model, Dtype::kF32, 1, format);
        constexpr std::size_t kCount = 5;
        std::vector<Tokens> prompts;
        std::vector<Floats> alone;
        std::vector<Floats> together(kCount);
        std::vector<KvSequence> sequences;
        for (std::uint32_t i = 0; i < kCount; ++i) {
            prompts.push_back(some_tokens(9 + 5 * i, 97, 11 * i));
            alone.push_back(running.run(prompts.back(), prompts.back().size()));
        }
        for (const Tokens& prompt : prompts)
            sequences.push_back(running.begin(prompt));
        // Each step a piece of each prompt, of another size each.
        std::vector<std::size_t> done(kCount);
        for (bool busy = true; busy;) {
            std::vector<DecoderRow> rows;
            std::vector<std::size_t> owner;
            for (std::size_t i = 0; i < kCount; ++i)
                for (std::size_t n = 0; n <= i && done[i] < prompts[i].size(); ++n, ++done[i]) {
                    rows.push_back({prompts[i][done[i]], static_cast<std::uint32_t>(done[i]),
                                    &sequences[i], true});
                    owner.push_back(i);
                }
            busy = !rows.empty();
            if (!busy) break;
            const auto logits = running.decoder->logits(rows);
            for (std::size_t r = 0; r < rows.size(); ++r) {
                const auto row = logits.subspan(r * 97, 97);
                together[owner[r]].insert(together[owner[r]].end(), row.begin(), row.end());
            }
        }
        CHECK(together == alone);
    }
}

TEST_CASE("decoder: rounded weights stay close to the exact ones") {
    using kernels::WeightFormat;
    const json wide = {{"hidden_size", 256}, {"intermediate_size", 512}, {"num_hidden_layers", 3}};
    const json wide_gpt2 = {{"n_embd", 256}, {"n_layer", 3}};
    const Tokens tokens = some_tokens(40, 97);
    for (const Case& c : std::vector<Case>{{"llama", with(llama(), wide)},
                                           {"qwen3", with(qwen3(), with(wide, {{"head_dim", 64}}))},
                                           {"gpt2", with(gpt2(), wide_gpt2)},
                                           {"pythia", with(neox(), wide)}}) {
        // Layers that add to the stream as much as those of trained models, not more.
        const RandomModel model = make_random_model(c.config.dump(), kSeed, Dtype::kF32, 0.7);
        const auto expected = reference_decoder(model, tokens);
        const auto of = [&](WeightFormat format) {
            Running running(model, Dtype::kF32, 1, format);
            return cosine(running.run(tokens, tokens.size()), expected);
        };
        const double bf16 = of(WeightFormat::kBf16);
        const double int8 = of(WeightFormat::kInt8);
        const double int4 = of(WeightFormat::kInt4);
        CAPTURE(c.name);
        MESSAGE(c.name << ": bf16 " << 1 - bf16 << ", int8 " << 1 - int8 << ", int4 " << 1 - int4
                       << " below 1");
        CHECK(bf16 >= 0.9999);
        CHECK(int8 >= 0.999);
        CHECK(int4 >= 0.99);
    }
}

TEST_CASE("decoder: hidden states of the wanted rows lead to their logits") {
    const RandomModel model = make_random_model(llama().dump(), kSeed);
    Running running(model);
    const Tokens tokens = some_tokens(9, 97);
    const Floats all = running.run(tokens, 9);
    KvSequence sequence = running.begin(tokens);
    std::vector<DecoderRow> rows;
    for (std::uint32_t i = 0; i < 9; ++i)
        rows.push_back({tokens[i], i, &sequence, i == 3 || i == 8});
    const auto hidden = running.decoder->hidden(rows);
    REQUIRE(hidden.size() == std::size_t{2} * 48);
    const auto& head = model.tensors.at("lm_head.weight").values;
    for (const std::size_t r : {0U, 1U}) {
        double sum = 0;
        for (std::size_t i = 0; i < 48; ++i)
            sum += static_cast<double>(hidden[r * 48 + i]) * static_cast<double>(head[5 * 48 + i]);
        CHECK(sum ==
              doctest::Approx(static_cast<double>(all[(r == 0 ? 3 : 8) * 97 + 5])).epsilon(1e-4));
    }
}
