// SPDX-License-Identifier: Apache-2.0
#include "worker/kernels/weight_matrix.hpp"

#include "tests/unit/worker/kernels/fixture.hpp"
#include "worker/kernels/number_formats.hpp"

#include <doctest/doctest.h>

#include <array>
#include <bit>
#include <limits>

using namespace worker::kernels;
using kernel_tests::kSeed;
using kernel_tests::normals;
using kernel_tests::source_of;
using ledger::base::ErrorCode;

namespace {

constexpr std::array kFormats{WeightFormat::kF32, WeightFormat::kBf16, WeightFormat::kInt8,
                              WeightFormat::kInt4};

/// The most that a weight may change when kept, given the largest of those that share its scale.
double step_of(WeightFormat format, double value, double largest) {
    switch (format) {
        case WeightFormat::kF32:
            return 0.0;
        case WeightFormat::kBf16:
            return std::abs(value) / 256.0;
        case WeightFormat::kInt8:
            return largest / 127.0 * 0.5001;
        case WeightFormat::kInt4:
            // Levels are -8 … 7 of largest / 8, and bf16 rounds that scale: at worst +8 becomes 7.
            return largest / 8.0 * 1.05;
    }
    return 0.0;
}

/// The same numbers as 16-bit ones.
std::vector<std::uint16_t> halves(const std::vector<float>& values) {
    std::vector<std::uint16_t> out;
    for (const float value : values)
        out.push_back(to_bf16(value));
    return out;
}

}  // namespace

TEST_CASE("weight_matrix: refuses what is no matrix") {
    Pool pool(2);
    const std::vector<float> values(12, 1.0F);
    const auto code = [&](std::span<const WeightSource> parts) {
        const auto out = WeightMatrix::pack(parts, WeightFormat::kInt8, pool);
        REQUIRE_FALSE(out.has_value());
        return out.error().code();
    };
    CHECK(code({}) == ErrorCode::data_invalid);
    std::array one{source_of(values, 0, 12)};
    CHECK(code(one) == ErrorCode::data_invalid);
    one[0] = source_of(values, 12, 0);
    CHECK(code(one) == ErrorCode::data_invalid);
    one[0] = source_of(values, 3, 5);
    CHECK(code(one) == ErrorCode::data_invalid);
    one[0] = source_of(values, std::numeric_limits<std::size_t>::max(), 2);
    CHECK(code(one) == ErrorCode::job_limit);
    one[0] = source_of(values, 2, WeightMatrix::kSideMax + 1);
    CHECK(code(one) == ErrorCode::job_limit);
    const std::array two{source_of(values, 3, 4), source_of(values, 4, 3)};
    CHECK(code(two) == ErrorCode::data_invalid);
}

TEST_CASE("weight_matrix: refuses weights that are no finite numbers in the format") {
    Pool pool(2);
    for (const WeightFormat format : kFormats)
        for (const float bad :
             {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
              -std::numeric_limits<float>::infinity()}) {
            auto values = normals(kSeed, std::size_t{40} * 33);
            values[17 * 33 + 32] = bad;
            const auto out = WeightMatrix::pack(source_of(values, 40, 33), format, pool);
            REQUIRE_FALSE(out.has_value());
            CHECK(out.error().code() == ErrorCode::data_invalid);
            CHECK(out.error().detail() == "a weight of output 17 is not a finite number");
        }
    // Numbers of the file that are kept as they are.
    for (const unsigned bad : {0x7F80U, 0xFF80U, 0x7FC1U}) {
        std::vector<std::uint16_t> bits(std::size_t{18} * 33, 0x3F80);
        bits[17 * 33 + 32] = static_cast<std::uint16_t>(bad);
        const auto out = WeightMatrix::pack(
            {std::as_bytes(std::span(bits)), SourceType::kBf16, SourceOrder::kOutIn, 18, 33},
            WeightFormat::kBf16, pool);
        REQUIRE_FALSE(out.has_value());
        CHECK(out.error().detail() == "a weight of output 17 is not a finite number");
    }
    // Finite in fp32, above the largest bf16.
    const std::vector<float> large{3.4e38F};
    CHECK_FALSE(WeightMatrix::pack(source_of(large, 1, 1), WeightFormat::kBf16, pool).has_value());
    CHECK(WeightMatrix::pack(source_of(large, 1, 1), WeightFormat::kF32, pool).has_value());
}

TEST_CASE("weight_matrix: keeps every weight within its format's step, in both orders") {
    for (const std::size_t threads : {1U, 2U}) {
        Pool pool(threads);
        for (const WeightFormat format : kFormats)
            for (const auto& [n, k] : {std::pair<std::size_t, std::size_t>{1, 1},
                                       {16, 32},
                                       {37, 71},
                                       {5, 130},
                                       {100, 33}}) {
                CAPTURE(to_string(format));
                CAPTURE(n);
                CAPTURE(k);
                const auto values = normals(kSeed + n, n * k);
                std::vector<float> turned(n * k);
                for (std::size_t j = 0; j < n; ++j)
                    for (std::size_t i = 0; i < k; ++i)
                        turned[i * n + j] = values[j * k + i];
                const auto matrix = kernel_tests::packed(values, n, k, format, pool);
                const auto other =
                    WeightMatrix::pack(source_of(turned, n, k, SourceOrder::kInOut), format, pool);
                REQUIRE(other.has_value());
                std::vector<float> row(k);
                std::vector<float> other_row(k);
                for (std::size_t j = 0; j < n; ++j) {
                    matrix.row(j, row.data());
                    other->row(j, other_row.data());
                    REQUIRE(row == other_row);
                    for (std::size_t i = 0; i < k; ++i) {
                        const std::size_t group =
                            format == WeightFormat::kInt4 ? WeightMatrix::kGroup : k;
                        double largest = 0.0;
                        for (std::size_t g = i / group * group;
                             g < std::min(k, i / group * group + group); ++g)
                            largest =
                                std::max(largest, std::abs(static_cast<double>(values[j * k + g])));
                        const double want = values[j * k + i];
                        REQUIRE(std::abs(static_cast<double>(row[i]) - want) <=
                                step_of(format, want, largest));
                    }
                }
            }
    }
}

TEST_CASE("weight_matrix: relative errors of normal weights are those the README names") {
    Pool pool(2);
    const std::size_t n = 64;
    const std::size_t k = 2048;
    const auto values = normals(kSeed, n * k, 0.02);
    const auto error = [&](WeightFormat format) {
        const auto matrix = kernel_tests::packed(values, n, k, format, pool);
        std::vector<float> row(k);
        double wrong = 0.0;
        double all = 0.0;
        for (std::size_t j = 0; j < n; ++j) {
            matrix.row(j, row.data());
            for (std::size_t i = 0; i < k; ++i) {
                const double want = values[j * k + i];
                const double off = static_cast<double>(row[i]) - want;
                wrong += off * off;
                all += want * want;
            }
        }
        return std::sqrt(wrong / all);
    };
    CHECK(error(WeightFormat::kF32) == 0.0);
    CHECK(error(WeightFormat::kBf16) < 0.0018);
    CHECK(error(WeightFormat::kInt8) < 0.009);
    CHECK(error(WeightFormat::kInt4) < 0.084);
    MESSAGE("int8 ", error(WeightFormat::kInt8), ", int4 ", error(WeightFormat::kInt4));
}

TEST_CASE("weight_matrix: stacked parts are one matrix, and 16-bit sources equal 32-bit ones") {
    Pool pool(2);
    const std::size_t k = 45;
    auto values = normals(kSeed, std::size_t{50} * k);
    for (float& value : values)
        value = from_bf16(to_bf16(value));
    const auto bits = halves(values);
    const WeightSource narrow{std::as_bytes(std::span(bits)), SourceType::kBf16,
                              SourceOrder::kOutIn, 50, k};
    const auto all = std::as_bytes(std::span(values));
    const std::array parts{
        WeightSource{all.first(7 * k * 4), SourceType::kF32, SourceOrder::kOutIn, 7, k},
        WeightSource{all.subspan(7 * k * 4), SourceType::kF32, SourceOrder::kOutIn, 43, k}};
    for (const WeightFormat format : kFormats) {
        const auto whole = kernel_tests::packed(values, 50, k, format, pool);
        const auto stacked = WeightMatrix::pack(parts, format, pool);
        const auto from_halves = WeightMatrix::pack(narrow, format, pool);
        REQUIRE(stacked.has_value());
        REQUIRE(from_halves.has_value());
        const std::size_t size = whole.panel_count() * whole.panel_bytes();
        CHECK(std::memcmp(whole.panels(), stacked->panels(), size) == 0);
        CHECK(std::memcmp(whole.panels(), from_halves->panels(), size) == 0);
    }
}

TEST_CASE("weight_matrix: 1.02 times the ideal memory at a real model's sides") {
    const auto ratio = [](std::size_t n, std::size_t k, WeightFormat format, double bits) {
        const double ideal = static_cast<double>(n * k) * bits / 8.0;
        return static_cast<double>(WeightMatrix::bytes(n, k, format)) / ideal;
    };
    for (const auto& [n, k] : {std::pair<std::size_t, std::size_t>{2560, 2048},
                               {5632, 2048},
                               {2048, 5632},
                               {50257, 768},
                               {32000, 576}}) {
        CHECK(ratio(n, k, WeightFormat::kF32, 32.0) <= 1.02);
        CHECK(ratio(n, k, WeightFormat::kBf16, 16.0) <= 1.02);
        CHECK(ratio(n, k, WeightFormat::kInt8, 8.0) <= 1.02);
        CHECK(ratio(n, k, WeightFormat::kInt4, 4.5) <= 1.02);
    }
}

TEST_CASE("number_formats: every fp16 and bf16 number by the definition") {
    for (std::uint32_t bits = 0; bits < 0x10000U; ++bits) {
        const auto half = static_cast<std::uint16_t>(bits);
        const int exponent = static_cast<int>(bits >> 10U & 31U);
        const double fraction = (bits & 1023U) / 1024.0;
        const double sign = bits >> 15U != 0 ? -1.0 : 1.0;
        const float got = from_f16(half);
        if (exponent == 31) {
            CHECK(std::isnan(got) == (fraction != 0.0));
            if (fraction == 0.0) CHECK(got == static_cast<float>(sign) * INFINITY);
        } else {
            const double want = exponent == 0 ? std::ldexp(fraction, -14)
                                              : std::ldexp(1.0 + fraction, exponent - 15);
            REQUIRE(static_cast<double>(got) == sign * want);
            REQUIRE(std::signbit(got) == (sign < 0.0));
        }
        const float wide = from_bf16(half);
        if (std::isnan(wide)) {
            CHECK(std::isnan(from_bf16(to_bf16(wide))));
        } else {
            REQUIRE(to_bf16(wide) == half);
        }
    }
    // Ties go to the even neighbour.
    CHECK(to_bf16(std::bit_cast<float>(0x3F80'8000U)) == 0x3F80U);
    CHECK(to_bf16(std::bit_cast<float>(0x3F81'8000U)) == 0x3F82U);
}
