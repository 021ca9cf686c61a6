// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/model/safetensors.hpp"

#include <nlohmann/json.hpp>

#include <cstddef>
#include <string>
#include <vector>

/// Small configs of every family and feature.
namespace worker::model::test {

using nlohmann::json;

inline json llama() {
    return json::parse(R"({"architectures":["LlamaForCausalLM"],"model_type":"llama",
        "vocab_size":97,"hidden_size":48,"num_hidden_layers":2,"num_attention_heads":4,
        "num_key_value_heads":2,"intermediate_size":80,"max_position_embeddings":64,
        "rms_norm_eps":1e-5,"rope_theta":10000.0,"hidden_act":"silu",
        "tie_word_embeddings":false})");
}
inline json mistral() {
    json c = llama();
    c["architectures"] = {"MistralForCausalLM"};
    c["model_type"] = "mistral";
    c["sliding_window"] = 5;
    return c;
}
inline json qwen2() {
    json c = llama();
    c["architectures"] = {"Qwen2ForCausalLM"};
    c["model_type"] = "qwen2";
    c["rope_theta"] = 1000000.0;
    c["tie_word_embeddings"] = true;
    c["sliding_window"] = 7;
    c["use_sliding_window"] = false;
    return c;
}
inline json qwen3() {
    json c = qwen2();
    c["architectures"] = {"Qwen3ForCausalLM"};
    c["model_type"] = "qwen3";
    c["head_dim"] = 20;
    return c;
}
inline json gpt2() {
    return json::parse(R"({"architectures":["GPT2LMHeadModel"],"model_type":"gpt2",
        "vocab_size":97,"n_embd":48,"n_layer":2,"n_head":4,"n_positions":64,
        "activation_function":"gelu_new","layer_norm_epsilon":1e-5})");
}
inline json neox() {
    return json::parse(R"({"architectures":["GPTNeoXForCausalLM"],"model_type":"gpt_neox",
        "vocab_size":97,"hidden_size":64,"num_hidden_layers":2,"num_attention_heads":4,
        "intermediate_size":96,"max_position_embeddings":64,"layer_norm_eps":1e-5,
        "rotary_pct":0.25,"rotary_emb_base":10000,"hidden_act":"gelu",
        "use_parallel_residual":true,"tie_word_embeddings":false})");
}

inline json with(json config, const json& change) {
    config.merge_patch(change);
    return config;
}

struct Case {
    std::string name;
    json config;
    Dtype dtype = Dtype::kF32;
    std::size_t shards = 1;
};

inline std::vector<Case> cases() {
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

}  // namespace worker::model::test
