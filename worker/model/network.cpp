// SPDX-License-Identifier: Apache-2.0
#include "worker/model/network.hpp"

#include "ledger/base/check.hpp"

#include <ATen/ATen.h>

#include <cmath>
#include <cstddef>
#include <limits>

namespace worker::model {

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

struct AttentionSize {
    std::int64_t batch;
    std::int64_t tokens;
    std::int64_t heads;
    std::int64_t width;
};

/// qkv is [batch·tokens, 3·width]; gives [batch·tokens, width].
at::Tensor causal_attention(const at::Tensor& qkv, const AttentionSize& size,
                            const at::Tensor& mask) {
    const std::int64_t head = size.width / size.heads;
    const auto parts =
        qkv.view({size.batch, size.tokens, 3, size.heads, head}).permute({2, 0, 3, 1, 4});
    const std::int64_t streams = size.batch * size.heads;
    const auto part = [&](std::int64_t i) {
        return parts[i].reshape({streams, size.tokens, head});
    };
    const double scale = 1.0 / std::sqrt(static_cast<double>(head));
    // One pass gives mask + scale · q·kᵀ.
    const auto scores = at::baddbmm(mask, part(0), part(1).transpose(1, 2), 1.0, scale);
    const auto mixed = at::bmm(at::softmax(scores, -1), part(2));
    return mixed.view({size.batch, size.heads, size.tokens, head})
        .transpose(1, 2)
        .reshape({size.batch * size.tokens, size.width});
}

at::Tensor gpt_logits(const GptShape& gpt, std::span<const at::Tensor> parameters,
                      const at::Tensor& input) {
    Cursor p(parameters);
    const AttentionSize size{input.size(0), input.size(1), gpt.heads, gpt.width};
    const at::Tensor& wte = p.next();
    const at::Tensor& wpe = p.next();
    const auto mask =
        at::full({size.tokens, size.tokens}, -std::numeric_limits<float>::infinity(), wte.options())
            .triu_(1);
    auto x = (at::embedding(wte, input) + wpe.slice(0, 0, size.tokens))
                 .view({size.batch * size.tokens, size.width})
                 .to(at::kFloat);
    for (std::uint32_t i = 0; i < gpt.depth; ++i) {
        const auto qkv = linear(layer_norm(x, p), p);
        x = x + linear(causal_attention(qkv, size, mask), p);
        const auto hidden = at::gelu(linear(layer_norm(x, p), p));
        x = x + linear(hidden, p);
    }
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

}  // namespace

at::Tensor network_logits(const ModelSpec& model, std::span<const at::Tensor> parameters,
                          const at::Tensor& input) {
    if (const auto* gpt = std::get_if<GptShape>(&model)) return gpt_logits(*gpt, parameters, input);
    return cnn_logits(parameters, input);
}

}  // namespace worker::model
