// SPDX-License-Identifier: Apache-2.0
#include "worker/model/fused_ops.hpp"

#include "worker/kernels/row_ops.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

namespace worker::model {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

bool has_kernels(const at::Tensor& x) {
    return x.is_cpu() && x.scalar_type() == at::kFloat;
}

/// Where the heads of [batch · tokens, …] lie.
class Heads {
 public:
    Heads(const AttentionSize& size, kernels::Sight sight)
        : heads_(static_cast<std::size_t>(size.heads)),
          width_(static_cast<std::size_t>(size.width)),
          count_(static_cast<std::size_t>(size.batch) * heads_) {
        shape_.tokens = static_cast<std::size_t>(size.tokens);
        shape_.head_size = width_ / heads_;
        shape_.row = 3 * width_;
        shape_.out_row = width_;
        shape_.scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(shape_.head_size)));
        shape_.sight = sight;
    }

    [[nodiscard]] const kernels::HeadShape& shape() const { return shape_; }
    [[nodiscard]] std::size_t in_at(std::size_t i) const { return place(i, shape_.row); }
    [[nodiscard]] std::size_t out_at(std::size_t i) const { return place(i, shape_.out_row); }
    [[nodiscard]] std::size_t statistics_at(std::size_t i) const { return 2 * i * shape_.tokens; }
    [[nodiscard]] std::size_t statistics_size() const { return statistics_at(count_); }
    [[nodiscard]] kernels::HeadInputs inputs(const float* qkv, std::size_t i) const {
        const float* query = qkv + in_at(i);
        return {query, query + width_, query + 2 * width_};
    }
    [[nodiscard]] kernels::HeadGradients gradients(float* qkv, std::size_t i) const {
        float* query = qkv + in_at(i);
        return {query, query + width_, query + 2 * width_};
    }

    /// Calls `body(head, scratch)` for each head, on torch's threads.
    template <typename Body>
    void each(const Body& body) const {
        const std::size_t floats = kernels::self_attention_scratch(shape_.tokens, shape_.head_size);
        at::parallel_for(0, static_cast<std::int64_t>(count_), 1,
                         [&](std::int64_t begin, std::int64_t end) {
                             std::vector<float> scratch(floats);
                             for (auto i = begin; i < end; ++i)
                                 body(static_cast<std::size_t>(i), scratch.data());
                         });
    }

 private:
    [[nodiscard]] std::size_t place(std::size_t i, std::size_t row) const {
        return i / heads_ * shape_.tokens * row + i % heads_ * shape_.head_size;
    }

    std::size_t heads_;
    std::size_t width_;
    std::size_t count_;
    kernels::HeadShape shape_;
};

struct SelfAttention : torch::autograd::Function<SelfAttention> {
    static at::Tensor forward(AutogradContext* context, const at::Tensor& qkv,
                              const AttentionSize& size, kernels::Sight sight) {
        const Heads heads(size, sight);
        auto out = at::empty({size.batch * size.tokens, size.width}, qkv.options());
        auto statistics =
            at::empty({static_cast<std::int64_t>(heads.statistics_size())}, qkv.options());
        const float* in = qkv.data_ptr<float>();
        float* to = out.data_ptr<float>();
        float* kept = statistics.data_ptr<float>();
        heads.each([&](std::size_t i, float* scratch) {
            kernels::self_attention(heads.shape(), heads.inputs(in, i), to + heads.out_at(i),
                                    kept + heads.statistics_at(i), scratch);
        });
        context->save_for_backward({qkv, statistics});
        context->saved_data["batch"] = size.batch;
        context->saved_data["tokens"] = size.tokens;
        context->saved_data["heads"] = size.heads;
        context->saved_data["width"] = size.width;
        context->saved_data["sight"] = static_cast<std::int64_t>(sight);
        return out;
    }

    static variable_list backward(AutogradContext* context, const variable_list& gradients) {
        const auto number = [&](const char* name) { return context->saved_data[name].toInt(); };
        const AttentionSize size{number("batch"), number("tokens"), number("heads"),
                                 number("width")};
        const Heads heads(size, static_cast<kernels::Sight>(number("sight")));
        const auto saved = context->get_saved_variables();
        const auto slopes = gradients[0].contiguous();
        auto out = at::empty_like(saved[0]);
        const float* in = saved[0].data_ptr<float>();
        const float* kept = saved[1].data_ptr<float>();
        const float* from = slopes.data_ptr<float>();
        float* to = out.data_ptr<float>();
        heads.each([&](std::size_t i, float* scratch) {
            kernels::self_attention_gradient(heads.shape(), heads.inputs(in, i),
                                             kept + heads.statistics_at(i), from + heads.out_at(i),
                                             heads.gradients(to, i), scratch);
        });
        return {out, at::Tensor(), at::Tensor()};
    }
};

/// The same with torch's operations.
at::Tensor plain_attention(const at::Tensor& qkv, const AttentionSize& size, kernels::Sight sight) {
    const std::int64_t head = size.width / size.heads;
    const auto parts =
        qkv.view({size.batch, size.tokens, 3, size.heads, head}).permute({2, 0, 3, 1, 4});
    const std::int64_t streams = size.batch * size.heads;
    const auto part = [&](std::int64_t i) {
        return parts[i].reshape({streams, size.tokens, head});
    };
    const double scale = 1.0 / std::sqrt(static_cast<double>(head));
    const auto keys = part(1).transpose(1, 2);
    at::Tensor scores;
    if (sight == kernels::Sight::kBackward) {
        const auto mask = at::full({size.tokens, size.tokens},
                                   -std::numeric_limits<float>::infinity(), qkv.options())
                              .triu_(1);
        scores = at::baddbmm(mask, part(0), keys, 1.0, scale);  // in one pass
    } else {
        scores = at::bmm(part(0) * scale, keys);
    }
    const auto mixed = at::bmm(at::softmax(scores, -1), part(2));
    return mixed.view({size.batch, size.heads, size.tokens, head})
        .transpose(1, 2)
        .reshape({size.batch * size.tokens, size.width});
}

constexpr std::int64_t kGrain = 1 << 15;

struct ExactGelu : torch::autograd::Function<ExactGelu> {
    static at::Tensor forward(AutogradContext* context, const at::Tensor& x) {
        auto out = at::empty_like(x);
        const float* from = x.data_ptr<float>();
        float* to = out.data_ptr<float>();
        at::parallel_for(0, x.numel(), kGrain, [&](std::int64_t begin, std::int64_t end) {
            kernels::gelu(from + begin, static_cast<std::size_t>(end - begin), to + begin);
        });
        context->save_for_backward({x});
        return out;
    }

    static variable_list backward(AutogradContext* context, const variable_list& gradients) {
        const auto x = context->get_saved_variables()[0];
        const auto slopes = gradients[0].contiguous();
        auto out = at::empty_like(x);
        const float* from = x.data_ptr<float>();
        const float* slope = slopes.data_ptr<float>();
        float* to = out.data_ptr<float>();
        at::parallel_for(0, x.numel(), kGrain, [&](std::int64_t begin, std::int64_t end) {
            kernels::gelu_gradient(from + begin, slope + begin,
                                   static_cast<std::size_t>(end - begin), to + begin);
        });
        return {out};
    }
};

}  // namespace

at::Tensor self_attention(const at::Tensor& qkv, const AttentionSize& size, kernels::Sight sight) {
    if (!has_kernels(qkv)) return plain_attention(qkv, size, sight);
    return SelfAttention::apply(qkv.contiguous(), size, sight);
}

at::Tensor exact_gelu(const at::Tensor& x) {
    return has_kernels(x) ? ExactGelu::apply(x.contiguous()) : at::gelu(x);
}

}  // namespace worker::model
