// SPDX-License-Identifier: Apache-2.0
#include "worker/model/network.hpp"

#include "ledger/base/check.hpp"
#include "worker/model/fused_ops.hpp"

#include <ATen/ATen.h>

#include <cstddef>
#include <cstdint>

namespace worker::model {

using kernels::Sight;

namespace {

/// Hands out parameters in layout order.
class Cursor {
 public:
    explicit Cursor(std::span<const at::Tensor> parameters) : parameters_(parameters) {}
    const at::Tensor& next() {
        MR_CHECK(next_ < parameters_.size());
        return parameters_[next_++];
    }
    void end() const { MR_CHECK(next_ == parameters_.size()); }

 private:
    std::span<const at::Tensor> parameters_;
    std::size_t next_ = 0;
};

/// The residual stream and its norms stay in fp32; what a product reads has the parameters' type.
at::Tensor layer_norm(const at::Tensor& x, Cursor& parameters) {
    const at::Tensor& weight = parameters.next();
    const at::Tensor& bias = parameters.next();
    return at::layer_norm(x, {x.size(-1)}, weight.to(at::kFloat), bias.to(at::kFloat), 1e-5)
        .to(weight.scalar_type());
}

at::Tensor linear(const at::Tensor& x, Cursor& parameters) {
    const at::Tensor& weight = parameters.next();  // [in, out]
    const at::Tensor& bias = parameters.next();
    return at::addmm(bias, x, weight);
}

/// Pre-norm, exact GELU; x is [batch·tokens, width] in fp32.
at::Tensor transformer_layer(const at::Tensor& in, const AttentionSize& size, Sight sight,
                             Cursor& p) {
    const auto qkv = linear(layer_norm(in, p), p);
    const auto x = in + linear(self_attention(qkv, size, sight), p);
    const auto hidden = exact_gelu(linear(layer_norm(x, p), p));
    return x + linear(hidden, p);
}

at::Tensor gpt_logits(const GptShape& gpt, std::span<const at::Tensor> parameters,
                      const at::Tensor& input) {
    Cursor p(parameters);
    const AttentionSize size{input.size(0), input.size(1), gpt.heads, gpt.width};
    const at::Tensor& wte = p.next();
    const at::Tensor& wpe = p.next();
    auto x = (at::embedding(wte, input) + wpe.slice(0, 0, size.tokens))
                 .view({size.batch * size.tokens, size.width})
                 .to(at::kFloat);
    for (std::uint32_t i = 0; i < gpt.depth; ++i)
        x = transformer_layer(x, size, Sight::kBackward, p);
    x = layer_norm(x, p);
    p.end();
    return at::mm(x, wte.t()).to(at::kFloat);
}

/// 2 × 2 maxima. On a GPU the gradient of max_pool2d has no deterministic form; that of amax has.
at::Tensor pool(const at::Tensor& x) {
    if (x.is_cpu()) return at::max_pool2d(x, 2);
    const std::int64_t height = x.size(2) / 2;
    const std::int64_t width = x.size(3) / 2;
    return x.slice(2, 0, 2 * height)
        .slice(3, 0, 2 * width)
        .reshape({x.size(0), x.size(1), height, 2, width, 2})
        .amax({3, 5});
}

at::Tensor cnn_logits(std::span<const at::Tensor> parameters, const at::Tensor& input) {
    Cursor p(parameters);
    auto x = input;
    for (int layer = 0; layer < 2; ++layer) {
        const at::Tensor& weight = p.next();
        const at::Tensor& bias = p.next();
        x = pool(at::conv2d(x, weight, bias, 1, 1).relu_());
    }
    const at::Tensor& weight = p.next();
    const at::Tensor& bias = p.next();
    p.end();
    return at::linear(x.flatten(1), weight, bias).to(at::kFloat);
}

constexpr std::int64_t kGroupChannels = 8;

at::Tensor conv(const at::Tensor& x, Cursor& p, std::int64_t stride) {
    const at::Tensor& weight = p.next();
    const std::int64_t padding = weight.size(2) / 2;
    return at::conv2d(x, weight, {}, stride, padding);
}

/// In fp32, given back in the parameters' type.
at::Tensor group_norm(const at::Tensor& x, Cursor& p) {
    const at::Tensor& weight = p.next();
    const at::Tensor& bias = p.next();
    return at::group_norm(x.to(at::kFloat), x.size(1) / kGroupChannels, weight.to(at::kFloat),
                          bias.to(at::kFloat), 1e-5)
        .to(weight.scalar_type());
}

at::Tensor resnet_logits(const ResnetShape& net, std::span<const at::Tensor> parameters,
                         const at::Tensor& input) {
    Cursor p(parameters);
    auto x = conv(input, p, 1);
    x = group_norm(x, p).relu();
    for (std::uint32_t stage = 0; stage < net.stages; ++stage)
        for (std::uint32_t block = 0; block < net.blocks; ++block) {
            const std::int64_t stride = stage > 0 && block == 0 ? 2 : 1;
            auto y = conv(x, p, stride);
            y = group_norm(y, p).relu();
            y = conv(y, p, 1);
            y = group_norm(y, p);
            if (stride != 1) {
                x = conv(x, p, stride);
                x = group_norm(x, p);
            }
            x = (x + y).relu();
        }
    x = linear(x.mean({2, 3}), p);
    p.end();
    return x.to(at::kFloat);
}

at::Tensor vit_logits(const VitShape& vit, std::span<const at::Tensor> parameters,
                      const at::Tensor& input) {
    Cursor p(parameters);
    const std::int64_t rows = vit.image.height / vit.patch;
    const std::int64_t columns = vit.image.width / vit.patch;
    const AttentionSize size{input.size(0), rows * columns, vit.heads, vit.dim};
    const std::int64_t colors = vit.image.colors;
    const auto patches = input.view({size.batch, colors, rows, vit.patch, columns, vit.patch})
                             .permute({0, 2, 4, 1, 3, 5})
                             .reshape({size.batch * size.tokens, colors * vit.patch * vit.patch});
    const auto embedded = linear(patches, p).view({size.batch, size.tokens, size.width});
    auto x = (embedded + p.next()).view({size.batch * size.tokens, size.width}).to(at::kFloat);
    for (std::uint32_t i = 0; i < vit.depth; ++i)
        x = transformer_layer(x, size, Sight::kEverything, p);
    x = layer_norm(x, p).view({size.batch, size.tokens, size.width});
    x = linear(x.mean(1), p);
    p.end();
    return x.to(at::kFloat);
}

at::Tensor mlp_logits(const MlpShape& mlp, std::span<const at::Tensor> parameters,
                      const at::Tensor& input) {
    Cursor p(parameters);
    auto x = input.flatten(1);
    for (std::uint32_t i = 0; i < mlp.depth; ++i)
        x = linear(x, p).relu();
    x = linear(x, p);
    p.end();
    return x.to(at::kFloat);
}

}  // namespace

at::Tensor network_logits(const ModelSpec& model, std::span<const at::Tensor> parameters,
                          const at::Tensor& input) {
    if (const auto* gpt = std::get_if<GptShape>(&model)) return gpt_logits(*gpt, parameters, input);
    if (const auto* net = std::get_if<ResnetShape>(&model))
        return resnet_logits(*net, parameters, input);
    if (const auto* vit = std::get_if<VitShape>(&model)) return vit_logits(*vit, parameters, input);
    if (const auto* mlp = std::get_if<MlpShape>(&model)) return mlp_logits(*mlp, parameters, input);
    return cnn_logits(parameters, input);
}

}  // namespace worker::model
