// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"
#include "worker/model/model_spec.hpp"

#include <cstdint>
#include <string>
#include <vector>

/// A decoder-only transformer as a list of features. No part of the forward pass asks for the name
/// of a family.
namespace worker::model {

enum class NormKind : std::uint8_t { kLayerNorm = 0, kRmsNorm = 1 };
enum class Activation : std::uint8_t { kSilu = 0, kGelu = 1, kGeluTanh = 2 };
/// kGated: down(act(gate(x)) · up(x)); kPlain: down(act(up(x))).
enum class MlpKind : std::uint8_t { kPlain = 0, kGated = 1 };
/// kParallel: attention and MLP both read the layer's input.
enum class Residual : std::uint8_t { kSequential = 0, kParallel = 1 };
enum class RopeScaling : std::uint8_t {
    kNone = 0,
    kLinear = 1,
    kDynamic = 2,
    kLlama3 = 3,
    kYarn = 4
};
/// How the tensors of the file are called and laid out.
enum class WeightNames : std::uint8_t { kLlama = 0, kGpt2 = 1, kNeox = 2 };

struct RopeConfig {
    std::uint32_t dims = 0;  // of each head that turn; 0: learned positions instead
    double theta = 10000.0;
    RopeScaling scaling = RopeScaling::kNone;
    double factor = 1.0;
    std::uint32_t trained_context = 0;  // tokens, before any scaling
    double low_frequency = 1.0;         // llama3
    double high_frequency = 4.0;        // llama3
    double beta_fast = 32.0;            // yarn
    double beta_slow = 1.0;             // yarn
    bool truncate = true;               // yarn: whole dimensions bound the ramp
    double magnitude = 1.0;             // yarn: cosines and sines are multiplied by it
    friend bool operator==(const RopeConfig&, const RopeConfig&) = default;
};

struct DecoderConfig {
    WeightNames names = WeightNames::kLlama;
    std::uint32_t vocab = 0;
    std::uint32_t width = 0;
    std::uint32_t depth = 0;  // layers
    std::uint32_t heads = 0;
    std::uint32_t kv_heads = 0;
    std::uint32_t head_dim = 0;
    std::uint32_t ffn = 0;
    std::uint32_t context = 0;  // tokens, with scaling
    NormKind norm = NormKind::kRmsNorm;
    double norm_epsilon = 1e-6;
    Activation activation = Activation::kSilu;
    MlpKind mlp = MlpKind::kGated;
    Residual residual = Residual::kSequential;
    bool qkv_bias = false;
    bool attention_out_bias = false;
    bool mlp_bias = false;
    bool qk_norm = false;    // RMS norm of each query and key head
    bool tied_head = false;  // the head is the embedding table
    RopeConfig rope;
    /// One a layer: a query sees this many keys, its own included; 0 sees all before it.
    std::vector<std::uint32_t> windows;

    [[nodiscard]] std::uint32_t query_width() const noexcept { return heads * head_dim; }
    [[nodiscard]] std::uint32_t kv_width() const noexcept { return kv_heads * head_dim; }
    [[nodiscard]] std::uint32_t qkv_width() const noexcept {
        return query_width() + 2 * kv_width();
    }
    friend bool operator==(const DecoderConfig&, const DecoderConfig&) = default;
};

/// The project's own "gpt": GPT-2's layers over `shape`.
[[nodiscard]] DecoderConfig decoder_config_of(const GptShape& shape);

/// Every bound and every relation between the fields. job_limit names a field that is too large,
/// data_invalid one that contradicts another.
[[nodiscard]] ledger::base::Result<void> check_decoder_config(const DecoderConfig& config);

/// Numbers in the model's tensors, a tied head counted once.
[[nodiscard]] std::uint64_t parameter_count(const DecoderConfig& config) noexcept;

}  // namespace worker::model
