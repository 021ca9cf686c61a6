// SPDX-License-Identifier: Apache-2.0
#include "worker/model/torch_decoder.hpp"

#include "ledger/base/check.hpp"
#include "worker/model/rope.hpp"

#include <ATen/ATen.h>

#include <cmath>
#include <limits>
#include <map>
#include <set>

namespace worker::model {

using at::Tensor;

struct TorchDecoder::State {
    DecoderConfig config;
    DecoderLayout layout;
    Tensor cosines;  // [length, rope.dims / 2] in fp32, when positions turn
    Tensor sines;
};

/// One forward pass over [rows, length] tokens; activations are [rows · length, …].
struct TorchDecoder::Pass {
    Pass(const State& state, std::span<const Tensor> weights_in, const LinearAdapters* adapters_in,
         const TokenRows& rows_in)
        : c(state.config),
          layout(state.layout),
          weights(weights_in),
          adapters(adapters_in),
          rows(rows_in.tokens.size(0)),
          length(rows_in.tokens.size(1)),
          narrow(weights_in[state.layout.embedding].scalar_type()),
          wide(narrow == at::kDouble ? at::kDouble : at::kFloat) {
        const Tensor places = rows_in.positions.view({rows * length});
        if (c.rope.dims > 0) {
            cosines = state.cosines.index_select(0, places).to(wide).unsqueeze(1);
            sines = state.sines.index_select(0, places).to(wide).unsqueeze(1);
        }
        make_masks(rows_in);
    }

    [[nodiscard]] const Tensor& at_slot(std::size_t slot) const { return weights[slot]; }

    /// Additive masks [rows, 1, length, length], one for each window that a layer has.
    void make_masks(const TokenRows& in) {
        const Tensor query = in.positions.unsqueeze(2);
        const Tensor key = in.positions.unsqueeze(1);
        Tensor hidden = in.segments.unsqueeze(2).ne(in.segments.unsqueeze(1));
        hidden = hidden.logical_or(key > query);
        for (const std::uint32_t window : std::set(c.windows.begin(), c.windows.end())) {
            const Tensor none =
                window == 0 ? hidden
                            : hidden.logical_or(key <= query - static_cast<std::int64_t>(window));
            masks[window] =
                at::zeros({rows, 1, length, length}, none.options().dtype(wide))
                    .masked_fill_(none.unsqueeze(1), -std::numeric_limits<double>::infinity());
        }
    }

    [[nodiscard]] Tensor rms_norm(const Tensor& x, const Tensor& weight) const {
        return x * at::rsqrt(x.square().mean(-1, true) + c.norm_epsilon) * weight.to(wide);
    }
    /// Wide in, narrow out: what the products read.
    [[nodiscard]] Tensor norm(const Tensor& x, const NormPlace& place) const {
        const Tensor& weight = at_slot(place.weight);
        if (c.norm == NormKind::kRmsNorm) return rms_norm(x, weight).to(narrow);
        return at::layer_norm(x, {x.size(-1)}, weight.to(wide), at_slot(place.bias).to(wide),
                              c.norm_epsilon)
            .to(narrow);
    }

    [[nodiscard]] Tensor linear(const Tensor& x, std::size_t index) const {
        const LinearPlace& place = layout.linears[index];
        const Tensor& weight = at_slot(place.weight);
        const Tensor matrix = layout.in_out ? weight : weight.t();  // [in, out]
        Tensor y = place.bias == DecoderLayout::kNoSlot ? at::mm(x, matrix)
                                                        : at::addmm(at_slot(place.bias), x, matrix);
        if (adapters == nullptr || adapters->places[index] == DecoderLayout::kNoSlot) return y;
        const Tensor& a = adapters->tensors[adapters->places[index]];
        const Tensor& b = adapters->tensors[adapters->places[index] + 1];
        return at::addmm(y, at::mm(x, a.t()), b.t(), 1.0, adapters->scale);
    }

    /// Turns the first rope.dims numbers of each head of x [tokens, heads, head_dim]; wide.
    [[nodiscard]] Tensor turn(const Tensor& x) const {
        const std::int64_t dims = c.rope.dims;
        if (dims == 0) return x;
        const Tensor left = x.narrow(-1, 0, dims / 2);
        const Tensor right = x.narrow(-1, dims / 2, dims / 2);
        return at::cat({left * cosines - right * sines, right * cosines + left * sines,
                        x.narrow(-1, dims, x.size(-1) - dims)},
                       -1);
    }

    struct Heads {
        Tensor query;  // [tokens, heads, head_dim]
        Tensor key;    // [tokens, kv_heads, head_dim]
        Tensor value;
    };
    [[nodiscard]] Heads project(const Tensor& x, const LayerPlaces& layer) const {
        const std::int64_t head = c.head_dim;
        if (c.names == WeightNames::kLlama) {
            const auto part = [&](std::size_t i) {
                return linear(x, layer.first_linear + i).view({rows * length, -1, head});
            };
            return {part(0), part(1), part(2)};
        }
        const Tensor fused = linear(x, layer.first_linear);
        if (c.names == WeightNames::kGpt2) {
            const Tensor parts = fused.view({rows * length, 3, -1, head});
            return {parts.select(1, 0), parts.select(1, 1), parts.select(1, 2)};
        }
        const Tensor parts = fused.view({rows * length, -1, 3, head});
        return {parts.select(2, 0), parts.select(2, 1), parts.select(2, 2)};
    }

    /// Heads that share keys are rows of one product.
    [[nodiscard]] Tensor attend(const Tensor& x, const LayerPlaces& layer,
                                std::uint32_t window) const {
        auto [query, key, value] = project(x, layer);
        query = query.to(wide);
        key = key.to(wide);
        if (layer.query_norm != DecoderLayout::kNoSlot) {
            query = rms_norm(query, at_slot(layer.query_norm));
            key = rms_norm(key, at_slot(layer.key_norm));
        }
        const std::int64_t head = c.head_dim;
        const std::int64_t groups = c.heads / c.kv_heads;
        const std::int64_t streams = rows * c.kv_heads;
        const auto by_stream = [&](const Tensor& y, std::int64_t heads) {
            return y.to(narrow)
                .view({rows, length, heads, head})
                .transpose(1, 2)
                .reshape({streams, heads / c.kv_heads * length, head});
        };
        const double scale = 1.0 / std::sqrt(static_cast<double>(head));
        const Tensor q = by_stream(turn(query) * scale, c.heads);
        const Tensor k = by_stream(turn(key), c.kv_heads);
        const Tensor v = by_stream(value.contiguous(), c.kv_heads);
        Tensor scores = at::bmm(q, k.transpose(1, 2)).to(wide);
        scores = scores.view({rows, c.heads, length, length}) + masks.at(window);
        const Tensor shares =
            at::softmax(scores, -1).to(narrow).view({streams, groups * length, length});
        return at::bmm(shares, v)
            .view({rows, c.heads, length, head})
            .transpose(1, 2)
            .reshape({rows * length, c.heads * head});
    }

    [[nodiscard]] Tensor activate(const Tensor& x) const {
        if (c.activation == Activation::kSilu) return at::silu(x);
        if (c.activation == Activation::kGelu) return at::gelu(x);
        return at::gelu(x.to(wide), "tanh").to(narrow);
    }
    [[nodiscard]] Tensor mlp(const Tensor& x, const LayerPlaces& layer) const {
        const std::size_t last = layer.first_linear + layer.linears - 1;
        if (c.mlp == MlpKind::kGated)
            return linear(activate(linear(x, last - 2)) * linear(x, last - 1), last);
        return linear(activate(linear(x, last - 1)), last);
    }

    const DecoderConfig& c;
    const DecoderLayout& layout;
    std::span<const Tensor> weights;
    const LinearAdapters* adapters;
    std::int64_t rows;
    std::int64_t length;
    at::ScalarType narrow;
    at::ScalarType wide;
    Tensor cosines;  // [tokens, 1, dims / 2]
    Tensor sines;
    std::map<std::uint32_t, Tensor> masks;  // by window
};

TorchDecoder::TorchDecoder(const DecoderConfig& config, const DecoderLayout& layout,
                           std::uint32_t length, const c10::Device& device)
    : state_(std::make_unique<State>(State{config, layout, {}, {}})) {
    const std::int64_t half = config.rope.dims / 2;
    if (half == 0) return;
    const Rope rope(config.rope);
    Tensor cosines = at::empty({length, half}, at::kFloat);
    Tensor sines = at::empty({length, half}, at::kFloat);
    for (std::uint32_t i = 0; i < length; ++i)
        rope.angles(i, cosines.data_ptr<float>() + i * half, sines.data_ptr<float>() + i * half);
    state_->cosines = cosines.to(device);
    state_->sines = sines.to(device);
}

TorchDecoder::~TorchDecoder() = default;

Tensor TorchDecoder::logits(std::span<const Tensor> weights, const LinearAdapters* adapters,
                            const TokenRows& rows, const Tensor& picked) const {
    const DecoderLayout& layout = state_->layout;
    MR_CHECK(weights.size() == layout.slots.size());
    const Pass pass(*state_, weights, adapters, rows);
    const Tensor tokens = rows.tokens.view({pass.rows * pass.length});
    Tensor x = at::embedding(weights[layout.embedding], tokens).to(pass.wide);
    if (layout.positions != DecoderLayout::kNoSlot)
        x = x +
            at::embedding(weights[layout.positions], rows.positions.view({pass.rows * pass.length}))
                .to(pass.wide);
    for (std::size_t i = 0; i < layout.layers.size(); ++i) {
        const LayerPlaces& layer = layout.layers[i];
        const std::size_t out =
            layer.first_linear + (state_->config.names == WeightNames::kLlama ? 3 : 1);
        const Tensor mixed = pass.linear(
            pass.attend(pass.norm(x, layer.before_attention), layer, state_->config.windows[i]),
            out);
        if (state_->config.residual == Residual::kParallel) {
            x = x + mixed + pass.mlp(pass.norm(x, layer.before_mlp), layer);
        } else {
            x = x + mixed;
            x = x + pass.mlp(pass.norm(x, layer.before_mlp), layer);
        }
    }
    x = pass.norm(x.index_select(0, picked), layout.last);
    return at::mm(x, weights[layout.head].t()).to(pass.wide);
}

}  // namespace worker::model
