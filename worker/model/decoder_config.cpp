// SPDX-License-Identifier: Apache-2.0
#include "worker/model/decoder_config.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

namespace worker::model {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

namespace {

Result<void> in_range(std::string_view name, std::uint64_t value, std::uint64_t max) {
    if (value == 0) return fail(ErrorCode::data_invalid, fmt::format("{} must not be 0", name));
    if (value > max)
        return fail(ErrorCode::job_limit,
                    fmt::format("{} is {}, at most {} is run", name, value, max));
    return {};
}

}  // namespace

DecoderConfig decoder_config_of(const GptShape& shape) {
    DecoderConfig out;
    out.names = WeightNames::kGpt2;
    out.vocab = shape.vocab;
    out.width = shape.width;
    out.depth = shape.depth;
    out.heads = shape.heads;
    out.kv_heads = shape.heads;
    out.head_dim = shape.width / shape.heads;
    out.ffn = 4 * shape.width;
    out.context = shape.context;
    out.norm = NormKind::kLayerNorm;
    out.norm_epsilon = 1e-5;
    out.activation = Activation::kGelu;
    out.mlp = MlpKind::kPlain;
    out.qkv_bias = true;
    out.attention_out_bias = true;
    out.mlp_bias = true;
    out.tied_head = true;
    out.windows.assign(shape.depth, 0);
    return out;
}

Result<void> check_decoder_config(const DecoderConfig& c) {
    TRY(in_range("vocab_size", c.vocab, 1U << 20U));
    TRY(in_range("hidden_size", c.width, 1U << 16U));
    TRY(in_range("num_hidden_layers", c.depth, 512));
    TRY(in_range("num_attention_heads", c.heads, 1024));
    TRY(in_range("num_key_value_heads", c.kv_heads, 1024));
    TRY(in_range("head_dim", c.head_dim, 1024));
    TRY(in_range("intermediate_size", c.ffn, 1U << 19U));
    TRY(in_range("max_position_embeddings", c.context, 1U << 24U));
    if (c.heads % c.kv_heads != 0)
        return fail(ErrorCode::data_invalid,
                    fmt::format("num_key_value_heads {} does not divide num_attention_heads {}",
                                c.kv_heads, c.heads));
    if (c.rope.dims % 2 != 0 || c.rope.dims > c.head_dim)
        return fail(
            ErrorCode::data_invalid,
            fmt::format("{} rotary dimensions do not fit head_dim {}", c.rope.dims, c.head_dim));
    if (c.mlp == MlpKind::kPlain && c.activation == Activation::kSilu)
        return fail(ErrorCode::unsupported, "silu without a gate is not supported");
    if (c.windows.size() != c.depth)
        return fail(ErrorCode::data_invalid, "layer_types does not have num_hidden_layers items");
    return {};
}

std::uint64_t parameter_count(const DecoderConfig& c) noexcept {
    const std::uint64_t width = c.width;
    const std::uint64_t norm = c.norm == NormKind::kLayerNorm ? 2 * width : width;
    const std::uint64_t up = c.mlp == MlpKind::kGated ? 2 * std::uint64_t{c.ffn} : c.ffn;
    std::uint64_t layer = width * c.qkv_width() + std::uint64_t{c.query_width()} * width +
                          width * up + c.ffn * width + 2 * norm;
    if (c.qkv_bias) layer += c.qkv_width();
    if (c.attention_out_bias) layer += width;
    if (c.mlp_bias) layer += up + width;
    if (c.qk_norm) layer += 2 * std::uint64_t{c.head_dim};
    const std::uint64_t places = c.rope.dims == 0 ? c.context * width : 0;
    return c.depth * layer + norm + places + (c.tied_head ? 1U : 2U) * c.vocab * width;
}

}  // namespace worker::model
