// SPDX-License-Identifier: Apache-2.0
#include "worker/kernels/linear.hpp"

#include "tests/unit/worker/kernels/fixture.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <limits>

using namespace worker::kernels;
using kernel_tests::kSeed;
using kernel_tests::normals;

namespace {

constexpr std::array kFormats{WeightFormat::kF32, WeightFormat::kBf16, WeightFormat::kInt8,
                              WeightFormat::kInt4};
struct Sides {
    std::size_t n;
    std::size_t k;
};
constexpr std::array<Sides, 7> kSides{Sides{1, 1}, {3, 7},     {16, 32}, {17, 33},
                                      {70, 101},   {129, 256}, {48, 515}};

bool rounds_inputs(WeightFormat format) {
    return format == WeightFormat::kInt8 || format == WeightFormat::kInt4;
}

std::vector<float> product(const std::vector<float>& x, std::size_t rows, const WeightMatrix& w,
                           const float* bias, Pool& pool) {
    std::vector<float> y(rows * w.n(), -77.0F);
    linear(x.data(), rows, w, bias, y.data(), pool);
    return y;
}

/// Sums in double over the weights as kept, and how far off rounding may be.
struct Oracle {
    double value = 0.0;
    double slack = 0.0;
};
Oracle oracle(const float* x, const std::vector<float>& w, WeightFormat format) {
    Oracle out;
    for (std::size_t i = 0; i < w.size(); ++i) {
        const double term = static_cast<double>(x[i]) * static_cast<double>(w[i]);
        out.value += term;
        out.slack += 2e-6 * std::abs(term);
        if (!rounds_inputs(format)) continue;
        const std::size_t group = i / WeightMatrix::kGroup * WeightMatrix::kGroup;
        const std::size_t end = std::min(w.size(), group + WeightMatrix::kGroup);
        double largest = 0.0;
        for (std::size_t g = group; g < end; ++g)
            largest = std::max(largest, std::abs(static_cast<double>(x[g])));
        out.slack += std::abs(static_cast<double>(w[i])) * largest / 127.0 * 0.5001;
    }
    return out;
}

}  // namespace

TEST_CASE("linear: agrees with sums in double for every format, size and thread count") {
    for (const std::size_t threads : {1U, 2U}) {
        Pool pool(threads);
        for (const WeightFormat format : kFormats)
            for (const auto [n, k] : kSides)
                for (const std::size_t rows : {1U, 2U, 3U, 4U, 5U, 9U, 40U}) {
                    CAPTURE(to_string(format));
                    CAPTURE(n);
                    CAPTURE(k);
                    CAPTURE(rows);
                    CAPTURE(kSeed);
                    const auto w = kernel_tests::packed(normals(kSeed, n * k), n, k, format, pool);
                    const auto x = normals(kSeed + 1, rows * k);
                    const auto bias = normals(kSeed + 2, n);
                    const auto y = product(x, rows, w, bias.data(), pool);
                    std::vector<float> weights(k);
                    for (std::size_t j = 0; j < n; ++j) {
                        w.row(j, weights.data());
                        for (std::size_t r = 0; r < rows; ++r) {
                            const Oracle want = oracle(x.data() + r * k, weights, format);
                            const double wrong = static_cast<double>(y[r * n + j]) - want.value -
                                                 static_cast<double>(bias[j]);
                            REQUIRE(std::abs(wrong) <= want.slack + 1e-6);
                        }
                    }
                }
    }
}

TEST_CASE("linear: inputs that are whole steps give exact integer products") {
    Pool pool(2);
    const std::size_t n = 35;
    const std::size_t k = 160;
    const std::size_t rows = 7;
    std::mt19937_64 random(kSeed);
    for (const WeightFormat format : {WeightFormat::kInt8, WeightFormat::kInt4}) {
        const int most = format == WeightFormat::kInt8 ? 127 : 8;
        std::vector<float> weights(n * k);
        for (std::size_t i = 0; i < weights.size(); ++i) {
            const auto level =
                static_cast<int>(random() % (2 * static_cast<unsigned>(most))) - most;
            weights[i] = static_cast<float>(i % 32 == 3 ? -most : level);
        }
        std::vector<float> x(rows * k);
        for (std::size_t i = 0; i < x.size(); ++i)
            x[i] = static_cast<float>(i % 32 == 9 ? 127 : static_cast<int>(random() % 255) - 127);
        const auto w = kernel_tests::packed(weights, n, k, format, pool);
        const auto y = product(x, rows, w, nullptr, pool);
        for (std::size_t r = 0; r < rows; ++r)
            for (std::size_t j = 0; j < n; ++j) {
                double want = 0.0;
                for (std::size_t i = 0; i < k; ++i)
                    want += static_cast<double>(x[r * k + i] * weights[j * k + i]);
                REQUIRE(static_cast<double>(y[r * n + j]) == want);
            }
    }
}

TEST_CASE("linear: the largest products of every format do not overflow") {
    Pool pool(1);
    const std::size_t k = 4096;
    for (const WeightFormat format : kFormats)
        for (const float sign : {1.0F, -1.0F}) {
            const std::vector<float> weights(k, sign);
            const std::vector<float> x(k, -1.0F);
            const auto w = kernel_tests::packed(weights, 1, k, format, pool);
            const auto y = product(x, 1, w, nullptr, pool);
            CHECK(
                static_cast<double>(y[0]) ==
                doctest::Approx(static_cast<double>(-sign) * static_cast<double>(k)).epsilon(1e-5));
        }
}

TEST_CASE("linear: a row has the same bits alone, in any batch and on any number of threads") {
    Pool one(1);
    Pool two(2);
    Pool three(3);
    for (const WeightFormat format : kFormats)
        for (const auto [n, k] : {Sides{70, 101}, Sides{129, 256}, Sides{40, 2080}}) {
            CAPTURE(to_string(format));
            CAPTURE(kSeed);
            const std::size_t most = 40;
            const auto w = kernel_tests::packed(normals(kSeed, n * k), n, k, format, two);
            const auto x = normals(kSeed + 3, most * k);
            const auto bias = normals(kSeed + 4, n);
            const auto all = product(x, most, w, bias.data(), one);
            for (std::size_t rows = 1; rows <= most; ++rows) {
                const std::size_t first = (most - rows) / 2;
                const std::vector<float> part(
                    x.begin() + static_cast<std::ptrdiff_t>(first * k),
                    x.begin() + static_cast<std::ptrdiff_t>((first + rows) * k));
                const std::span<const float> want(all.data() + first * n, rows * n);
                REQUIRE(kernel_tests::same_bits(product(part, rows, w, bias.data(), one), want));
                REQUIRE(kernel_tests::same_bits(product(part, rows, w, bias.data(), two), want));
                REQUIRE(kernel_tests::same_bits(product(part, rows, w, bias.data(), three), want));
            }
        }
}

TEST_CASE("linear: a row that is not finite spoils its outputs and no other row's") {
    Pool pool(2);
    const std::size_t n = 33;
    const std::size_t k = 100;
    for (const WeightFormat format : kFormats)
        for (const float bad :
             {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
              -std::numeric_limits<float>::infinity()})
            for (const std::size_t place : {0U, 31U, 64U, 99U}) {
                const std::size_t rows = 5;
                const auto w = kernel_tests::packed(normals(kSeed, n * k), n, k, format, pool);
                auto x = normals(kSeed + 5, rows * k);
                const auto before = product(x, rows, w, nullptr, pool);
                x[2 * k + place] = bad;
                const auto y = product(x, rows, w, nullptr, pool);
                for (std::size_t r = 0; r < rows; ++r)
                    for (std::size_t j = 0; j < n; ++j) {
                        if (r == 2) {
                            REQUIRE_FALSE(std::isfinite(y[r * n + j]));
                        } else {
                            REQUIRE(y[r * n + j] == before[r * n + j]);
                        }
                    }
            }
}

TEST_CASE("linear: inputs of nothing and next to nothing give zero") {
    Pool pool(2);
    for (const WeightFormat format : kFormats) {
        const auto w = kernel_tests::packed(normals(kSeed, 20 * 64), 20, 64, format, pool);
        for (const float small : {0.0F, 1e-40F}) {
            const std::vector<float> x(64, small);
            for (const float value : product(x, 1, w, nullptr, pool))
                CHECK(std::abs(value) < 1e-30F);
        }
    }
}
