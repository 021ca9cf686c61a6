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

TEST_CASE("optimizer: the rate warms up, peaks and falls to a tenth") {
    CHECK(learning_rate_at(1.0, 0, 10, 100) == doctest::Approx(0.1));
    CHECK(learning_rate_at(1.0, 9, 10, 100) == doctest::Approx(1.0));
    CHECK(learning_rate_at(1.0, 10, 10, 100) == doctest::Approx(1.0));
    CHECK(learning_rate_at(1.0, 55, 10, 100) == doctest::Approx(0.55));
    CHECK(learning_rate_at(1.0, 100, 10, 100) == doctest::Approx(0.1));
    CHECK(learning_rate_at(1.0, 0, 0, 1) == doctest::Approx(1.0));
}
