// SPDX-License-Identifier: Apache-2.0
#include "worker/model/optimizer.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <vector>

using namespace worker::model;

TEST_CASE("optimizer: follows AdamW as published, in double") {
    std::vector<float> value{1.0F, -2.0F, 0.5F};
    std::vector<float> first(3);
    std::vector<float> second(3);
    std::vector<double> x(value.begin(), value.end());
    std::vector<double> m(3);
    std::vector<double> v(3);
    for (std::uint64_t step = 1; step <= 20; ++step) {
        std::vector<float> gradient;
        for (const float w : value)
            gradient.push_back(2.0F * w + 0.1F * static_cast<float>(step));
        AdamWSettings s;
        s.learning_rate = 0.01F;
        s.weight_decay = 0.1F;
        s.step = step;
        s.gradient_scale = 0.5F;
        adamw(value.data(), first.data(), second.data(), gradient.data(), 3, s);
        for (std::size_t i = 0; i < 3; ++i) {
            const double g = 0.5 * static_cast<double>(gradient[i]);
            m[i] = 0.9 * m[i] + 0.1 * g;
            v[i] = 0.95 * v[i] + 0.05 * g * g;
            const double mh = m[i] / (1 - std::pow(0.9, static_cast<double>(step)));
            const double vh = v[i] / (1 - std::pow(0.95, static_cast<double>(step)));
            x[i] = x[i] * (1 - 0.01 * 0.1) - 0.01 * mh / (std::sqrt(vh) + 1e-8);
        }
    }
    for (std::size_t i = 0; i < 3; ++i)
        CHECK(static_cast<double>(value[i]) == doctest::Approx(x[i]).epsilon(1e-5));
}

TEST_CASE("optimizer: rounding to bf16 is to nearest even and keeps NaN") {
    const std::vector<float> in{1.0F, 1.00390625F, 1.01171875F, -0.0F, INFINITY, NAN};
    std::vector<std::uint16_t> out(in.size());
    round_to_bf16(in.data(), out.data(), in.size());
    CHECK(out[0] == 0x3F80);
    CHECK(out[1] == 0x3F80);  // half way, to even
    CHECK(out[2] == 0x3F82);  // half way, to even
    CHECK(out[3] == 0x8000);
    CHECK(out[4] == 0x7F80);
    CHECK(out[5] == 0x7FC0);
}

TEST_CASE("optimizer: the sum of squares is right for any length") {
    for (const std::size_t count : {0UL, 1UL, 63UL, 64UL, 65UL, 4095UL, 4097UL, 10000UL}) {
        const std::vector<float> values(count, 0.5F);
        CHECK(sum_of_squares(values.data(), count) ==
              doctest::Approx(0.25 * static_cast<double>(count)));
        std::vector<std::uint16_t> half(count);
        round_to_bf16(values.data(), half.data(), count);
        CHECK(sum_of_squares_bf16(half.data(), count) ==
              doctest::Approx(0.25 * static_cast<double>(count)));
    }
}

namespace {

/// SGD as torch.optim documents it, in double.
void plain_sgd(std::vector<double>& x, std::vector<double>& velocity, const std::vector<float>& g,
               const SgdSettings& s) {
    for (std::size_t i = 0; i < x.size(); ++i) {
        const double mu = static_cast<double>(s.momentum);
        double step = static_cast<double>(s.gradient_scale) * static_cast<double>(g[i]) +
                      static_cast<double>(s.weight_decay) * x[i];
        velocity[i] = mu * velocity[i] + step;
        step = s.nesterov ? step + mu * velocity[i] : velocity[i];
        x[i] -= static_cast<double>(s.learning_rate) * step;
    }
}

}  // namespace

TEST_CASE("optimizer: SGD follows its published form, with and without momentum, in both types") {
    for (const int variant : {0, 1, 2}) {
        CAPTURE(variant);
        SgdSettings s{0.02F, 0.1F, variant == 0 ? 0.0F : 0.9F, variant == 2, 0.5F};
        std::vector<float> value{1.0F, -2.0F, 0.5F};
        std::vector<float> velocity(3);
        std::vector<float> half_value = value;
        std::vector<float> half_velocity(3);
        std::vector<double> x(value.begin(), value.end());
        std::vector<double> v(3);
        for (int step = 0; step < 20; ++step) {
            // Gradients that bf16 holds exactly, so that both forms see the same ones.
            const std::vector<float> gradient{1.0F, -0.5F, 0.25F * static_cast<float>(step)};
            std::vector<std::uint16_t> half(3);
            std::vector<std::uint16_t> rounded(3);
            round_to_bf16(gradient.data(), half.data(), 3);
            sgd(value.data(), variant == 0 ? nullptr : velocity.data(), gradient.data(), 3, s);
            sgd_bf16(half_value.data(), variant == 0 ? nullptr : half_velocity.data(), half.data(),
                     rounded.data(), 3, s);
            plain_sgd(x, v, gradient, s);
            std::vector<std::uint16_t> expected(3);
            round_to_bf16(half_value.data(), expected.data(), 3);
            CHECK(rounded == expected);
        }
        CHECK(half_value == value);
        for (std::size_t i = 0; i < 3; ++i)
            CHECK(static_cast<double>(value[i]) == doctest::Approx(x[i]).epsilon(1e-5));
    }
}

TEST_CASE("optimizer: the rate warms up, peaks and follows its schedule") {
    LoopSpec loop;
    loop.learning_rate = 1.0;
    loop.warmup_steps = 10;
    loop.steps = 100;
    const auto rate = [&](std::uint64_t step) { return learning_rate_at(loop, step); };
    CHECK(rate(0) == doctest::Approx(0.1));
    CHECK(rate(9) == doctest::Approx(1.0));
    CHECK(rate(10) == doctest::Approx(1.0));
    CHECK(rate(55) == doctest::Approx(0.55));
    CHECK(rate(100) == doctest::Approx(0.1));
    loop.min_rate_share = 0.0;
    CHECK(rate(55) == doctest::Approx(0.5));
    loop.schedule = Schedule::kLinear;
    CHECK(rate(0) == doctest::Approx(0.1));
    CHECK(rate(28) == doctest::Approx(0.8));
    CHECK(rate(100) == doctest::Approx(0.0));
    loop.schedule = Schedule::kConstant;
    CHECK(rate(99) == 1.0);
    loop.warmup_steps = 0;
    loop.steps = 1;
    loop.schedule = Schedule::kCosine;
    CHECK(rate(0) == doctest::Approx(1.0));
}

TEST_CASE("optimizer: a spec without schedule keeps the bits it had: a cosine to a tenth") {
    LoopSpec loop;
    loop.learning_rate = 0.003;
    loop.warmup_steps = 2;
    loop.steps = 12;
    for (std::uint64_t step = 2; step < 12; ++step) {
        const double done = static_cast<double>(step - 2) / 10.0;
        CHECK(learning_rate_at(loop, step) ==
              0.003 * (0.1 + 0.45 * (1.0 + std::cos(3.14159265358979323846 * done))));
    }
}
