// SPDX-License-Identifier: Apache-2.0
#include "worker/kernels/row_ops.hpp"

#include "tests/unit/worker/kernels/fixture.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <limits>
#include <numbers>

using namespace worker::kernels;
using kernel_tests::kSeed;
using kernel_tests::normals;

namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr std::size_t kSizes[] = {1, 2, 7, 8, 15, 16, 17, 64, 100, 2048};

/// A range of inputs, dense around zero and out to where the functions are flat.
std::vector<float> sweep() {
    std::vector<float> out;
    for (int i = -4000; i <= 4000; ++i)
        out.push_back(static_cast<float>(i) * 0.005F);
    for (const float far : {25.0F, 60.0F, 88.5F, 100.0F, 1e4F, 1e20F}) {
        out.push_back(far);
        out.push_back(-far);
    }
    return out;
}

void near(float got, double want, double relative, double absolute) {
    CAPTURE(got);
    CAPTURE(want);
    REQUIRE(std::abs(static_cast<double>(got) - want) <= relative * std::abs(want) + absolute);
}

}  // namespace

TEST_CASE("row_ops: norms agree with sums in double") {
    for (const std::size_t size : kSizes)
        for (const double scale : {1.0, 1e-3, 1e15, 1e25}) {
            CAPTURE(size);
            const auto x = normals(kSeed + size, size, scale);
            const auto weight = normals(kSeed + 1, size);
            const auto bias = normals(kSeed + 2, size);
            const auto count = static_cast<double>(size);
            double sum = 0.0;
            double squares = 0.0;
            for (const float value : x) {
                sum += static_cast<double>(value);
                squares += static_cast<double>(value) * static_cast<double>(value);
            }
            const double mean = sum / count;
            double variance = 0.0;
            for (const float value : x)
                variance +=
                    (static_cast<double>(value) - mean) * (static_cast<double>(value) - mean);
            std::vector<float> rms(size);
            std::vector<float> layer(size);
            std::vector<float> bare(size);
            const float epsilon = 1e-5F;
            rms_norm(x.data(), weight.data(), size, epsilon, rms.data());
            layer_norm(x.data(), weight.data(), bias.data(), size, epsilon, layer.data());
            layer_norm(x.data(), weight.data(), nullptr, size, epsilon, bare.data());
            for (std::size_t i = 0; i < size; ++i) {
                const double w = weight[i];
                const double value = x[i];
                near(rms[i], value / std::sqrt(squares / count + 1e-5) * w, 1e-6, 1e-30);
                const double normed = (value - mean) / std::sqrt(variance / count + 1e-5) * w;
                // x - mean cancels where x is near the mean.
                const double off = 1e-6 + 1e-6 * std::abs(w);
                near(bare[i], normed, 1e-6, off);
                near(layer[i], normed + static_cast<double>(bias[i]), 1e-6, off);
            }
        }
}

TEST_CASE("row_ops: pointwise functions agree with the library's in double") {
    const auto x = sweep();
    auto erf_gelu = x;
    auto tanh_gelu = x;
    gelu(erf_gelu.data(), x.size());
    std::vector<float> erf_gelu_apart(x.size());
    gelu(x.data(), x.size(), erf_gelu_apart.data());
    CHECK(kernel_tests::same_bits(erf_gelu_apart, erf_gelu));
    std::vector<float> slope(x.size());
    gelu_gradient(x.data(), std::vector<float>(x.size(), 2.0F).data(), x.size(), slope.data());
    gelu_tanh(tanh_gelu.data(), x.size());
    std::vector<float> gated(x.size());
    const auto up = normals(kSeed, x.size());
    silu_mul(x.data(), up.data(), x.size(), gated.data());
    auto sum = x;
    add(sum.data(), up.data(), x.size());
    for (std::size_t i = 0; i < x.size(); ++i) {
        CAPTURE(x[i]);
        const double v = x[i];
        near(erf_gelu[i], 0.5 * v * (1.0 + std::erf(v / std::numbers::sqrt2)), 1e-6,
             2e-7 * std::min(std::abs(v), 10.0));
        near(slope[i],
             1.0 + std::erf(v / std::numbers::sqrt2) +
                 v * std::exp(-0.5 * v * v) * std::sqrt(2.0 / std::numbers::pi),
             1e-6, 6e-7);
        const double u = std::sqrt(2.0 / std::numbers::pi) * (v + 0.044715 * v * v * v);
        // 1 + tanh loses its digits in double too: the equal form with exp does not.
        near(tanh_gelu[i], v / (1.0 + std::exp(-2.0 * u)), 2e-5, 1e-7);
        near(gated[i], v / (1.0 + std::exp(-v)) * static_cast<double>(up[i]), 2e-6, 1e-30);
        CHECK(sum[i] == x[i] + up[i]);
    }
}

TEST_CASE("row_ops: a number's function does not depend on where in the row it stands") {
    const auto x = normals(kSeed, 67, 3.0);
    auto whole = x;
    gelu(whole.data(), whole.size());
    for (std::size_t i = 0; i < x.size(); ++i) {
        float alone = x[i];
        gelu(&alone, 1);
        REQUIRE(alone == whole[i]);
    }
}

TEST_CASE("row_ops: softmax agrees with the definition") {
    for (const std::size_t size : kSizes)
        for (const double scale : {0.1, 3.0, 200.0}) {
            auto x = normals(kSeed + size, size, scale);
            const double top = *std::max_element(x.begin(), x.end());
            double total = 0.0;
            std::vector<double> want;
            for (const float value : x) {
                want.push_back(std::exp(static_cast<double>(value) - top));
                total += want.back();
            }
            softmax(x.data(), size);
            for (std::size_t i = 0; i < size; ++i)
                near(x[i], want[i] / total, 2e-6, 1e-37);
        }
}

TEST_CASE("row_ops: NaN stays NaN") {
    for (const std::size_t size : {1U, 7U, 16U, 33U}) {
        for (std::size_t place = 0; place < size; ++place) {
            auto x = normals(kSeed, size);
            x[place] = kNan;
            const std::vector<float> ones(size, 1.0F);
            const auto check_all = [&](const std::vector<float>& y) {
                for (const float value : y)
                    REQUIRE(std::isnan(value));
            };
            std::vector<float> y(size);
            rms_norm(x.data(), ones.data(), size, 1e-6F, y.data());
            check_all(y);
            layer_norm(x.data(), ones.data(), ones.data(), size, 1e-6F, y.data());
            check_all(y);
            y = x;
            softmax(y.data(), size);
            check_all(y);
            y = x;
            gelu(y.data(), size);
            CHECK(std::isnan(y[place]));
            y = x;
            gelu_tanh(y.data(), size);
            CHECK(std::isnan(y[place]));
            silu_mul(x.data(), ones.data(), size, y.data());
            CHECK(std::isnan(y[place]));
            silu_mul(ones.data(), x.data(), size, y.data());
            CHECK(std::isnan(y[place]));
        }
    }
    std::vector<float> x(9, 1.0F);
    x[4] = std::numeric_limits<float>::infinity();
    softmax(x.data(), x.size());
    CHECK(std::isnan(x[4]));
}

TEST_CASE("row_ops: rope turns pairs by the angle and leaves the rest") {
    const std::size_t heads = 3;
    const std::size_t head_size = 20;
    const std::size_t rotary = 12;
    std::vector<double> frequencies;
    for (std::size_t i = 0; i < rotary / 2; ++i)
        frequencies.push_back(std::pow(10000.0, -2.0 * static_cast<double>(i) / 12.0));
    for (const double magnitude : {1.0, 1.25})
        for (const std::size_t position : {0U, 1U, 5000U}) {
            std::vector<float> cosines(rotary / 2);
            std::vector<float> sines(rotary / 2);
            rope_angles(position, frequencies, magnitude, cosines.data(), sines.data());
            for (const RopeForm form : {RopeForm::kHalves, RopeForm::kPairs}) {
                const auto before = normals(kSeed, heads * head_size);
                auto x = before;
                rope(x.data(), heads, head_size, rotary, cosines.data(), sines.data(), form);
                for (std::size_t h = 0; h < heads; ++h) {
                    for (std::size_t i = 0; i < rotary / 2; ++i) {
                        const std::size_t first =
                            h * head_size + (form == RopeForm::kHalves ? i : 2 * i);
                        const std::size_t second =
                            first + (form == RopeForm::kHalves ? rotary / 2 : 1);
                        const double angle = static_cast<double>(position) * frequencies[i];
                        const double a = before[first];
                        const double b = before[second];
                        near(x[first], magnitude * (a * std::cos(angle) - b * std::sin(angle)),
                             1e-6, 1e-6);
                        near(x[second], magnitude * (b * std::cos(angle) + a * std::sin(angle)),
                             1e-6, 1e-6);
                    }
                    for (std::size_t i = rotary; i < head_size; ++i)
                        CHECK(x[h * head_size + i] == before[h * head_size + i]);
                }
            }
        }
}
