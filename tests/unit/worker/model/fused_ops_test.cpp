// SPDX-License-Identifier: Apache-2.0
#include "worker/model/fused_ops.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <doctest/doctest.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/variable.h>

#include <cmath>
#include <limits>

using namespace worker::model;
using worker::kernels::Sight;

namespace {

constexpr std::uint64_t kSeed = 20261127;

at::Tensor leaf(const at::Tensor& values) {
    return values.detach().clone().set_requires_grad(true);
}

struct Passed {
    at::Tensor out;
    at::Tensor gradient;
};

template <typename Function>
Passed pass(const at::Tensor& input, const at::Tensor& slopes, Function function) {
    auto x = leaf(input);
    const auto out = function(x);
    torch::autograd::backward({out}, {slopes});
    return {out.detach(), x.grad()};
}

at::Tensor attention_in_double(const at::Tensor& qkv, const AttentionSize& size, Sight sight) {
    const std::int64_t head = size.width / size.heads;
    const auto parts =
        qkv.view({size.batch, size.tokens, 3, size.heads, head}).permute({2, 0, 3, 1, 4});
    auto scores =
        at::matmul(parts[0], parts[1].transpose(-2, -1)) / std::sqrt(static_cast<double>(head));
    if (sight == Sight::kBackward)
        scores = scores + at::full({size.tokens, size.tokens},
                                   -std::numeric_limits<double>::infinity(), qkv.options())
                              .triu_(1);
    return at::matmul(at::softmax(scores, -1), parts[2])
        .transpose(1, 2)
        .reshape({size.batch * size.tokens, size.width});
}

double apart(const at::Tensor& got, const at::Tensor& want) {
    return (got.to(at::kDouble) - want).abs().max().item<double>() /
           want.abs().max().item<double>();
}

}  // namespace

TEST_CASE("fused_ops: attention and its gradient agree with torch in double, on any threads") {
    at::manual_seed(kSeed);
    const int before = at::get_num_threads();
    for (const AttentionSize size : {AttentionSize{3, 21, 2, 16}, AttentionSize{1, 130, 5, 60}})
        for (const Sight sight : {Sight::kBackward, Sight::kEverything}) {
            const auto qkv = at::randn({size.batch * size.tokens, 3 * size.width});
            const auto slopes = at::randn({size.batch * size.tokens, size.width});
            const auto run = [&](const at::Tensor& x) { return self_attention(x, size, sight); };
            at::set_num_threads(1);
            const Passed one = pass(qkv, slopes, run);
            at::set_num_threads(3);
            const Passed three = pass(qkv, slopes, run);
            const Passed want =
                pass(qkv.to(at::kDouble), slopes.to(at::kDouble),
                     [&](const at::Tensor& x) { return attention_in_double(x, size, sight); });
            CHECK(one.out.equal(three.out));
            CHECK(one.gradient.equal(three.gradient));
            CHECK(apart(one.out, want.out) < 1e-6);
            CHECK(apart(one.gradient, want.gradient) < 1e-6);
        }
    at::set_num_threads(before);
}

TEST_CASE("fused_ops: attention in bf16 is torch's") {
    at::manual_seed(kSeed);
    const AttentionSize size{2, 9, 2, 16};
    const auto qkv = at::randn({18, 48});
    const auto slopes = at::randn({18, 16});
    for (const Sight sight : {Sight::kBackward, Sight::kEverything}) {
        const Passed got =
            pass(qkv.to(at::kBFloat16), slopes.to(at::kBFloat16),
                 [&](const at::Tensor& x) { return self_attention(x, size, sight); });
        const Passed want =
            pass(qkv.to(at::kDouble), slopes.to(at::kDouble),
                 [&](const at::Tensor& x) { return attention_in_double(x, size, sight); });
        CHECK((got.out.scalar_type() == at::kBFloat16));
        CHECK(apart(got.out, want.out) < 0.03);
        CHECK(apart(got.gradient, want.gradient) < 0.03);
    }
}

TEST_CASE("fused_ops: GELU and its gradient agree with torch in double, on any threads") {
    at::manual_seed(kSeed);
    const int before = at::get_num_threads();
    const auto x = at::randn({300, 331}) * 3;
    const auto slopes = at::randn({300, 331});
    at::set_num_threads(1);
    const Passed one = pass(x, slopes, [](const at::Tensor& in) { return exact_gelu(in); });
    at::set_num_threads(3);
    const Passed three = pass(x, slopes, [](const at::Tensor& in) { return exact_gelu(in); });
    at::set_num_threads(before);
    const Passed want = pass(x.to(at::kDouble), slopes.to(at::kDouble),
                             [](const at::Tensor& in) { return at::gelu(in); });
    CHECK(one.out.equal(three.out));
    CHECK(one.gradient.equal(three.gradient));
    CHECK(apart(one.out, want.out) < 1e-6);
    CHECK(apart(one.gradient, want.gradient) < 1e-6);
}
