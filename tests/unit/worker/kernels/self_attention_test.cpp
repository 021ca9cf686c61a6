// SPDX-License-Identifier: Apache-2.0
#include "worker/kernels/self_attention.hpp"

#include "tests/unit/worker/kernels/fixture.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

using namespace worker::kernels;
using kernel_tests::kSeed;
using kernel_tests::normals;
using kernel_tests::same_bits;

namespace {

using Matrix = std::vector<double>;

/// A head with its neighbours: queries, keys and values side by side in rows of three heads each,
/// of which the middle one is used.
struct Case {
    Case(std::size_t tokens, std::size_t size, Sight sight, double spread = 1.0) {
        shape = {tokens, size, 9 * size, 3 * size, 0.6F / std::sqrt(static_cast<float>(size)),
                 sight};
        numbers = normals(kSeed + 31 * tokens + size, tokens * shape.row, spread);
        slopes = normals(kSeed + tokens, tokens * shape.out_row);
    }
    [[nodiscard]] HeadInputs inputs() const {
        const float* first = numbers.data() + shape.head_size;
        return {first, first + 3 * shape.head_size, first + 6 * shape.head_size};
    }
    HeadShape shape;
    std::vector<float> numbers;
    std::vector<float> slopes;
};

struct Answer {
    Matrix out;
    Matrix query;
    Matrix key;
    Matrix value;
};

double at(const float* from, std::size_t stride, std::size_t token, std::size_t i) {
    return static_cast<double>(from[token * stride + i]);
}

/// The same by definition, in double.
Answer by_definition(const Case& c) {
    const HeadShape& s = c.shape;
    const HeadInputs in = c.inputs();
    const std::size_t size = s.head_size;
    const double scale = static_cast<double>(s.scale);
    Answer a;
    a.out = a.query = a.key = a.value = Matrix(s.tokens * size);
    for (std::size_t t = 0; t < s.tokens; ++t) {
        const std::size_t count = s.sight == Sight::kBackward ? t + 1 : s.tokens;
        Matrix weights(count);
        Matrix pulls(count);
        double top = -1e300;
        for (std::size_t j = 0; j < count; ++j) {
            for (std::size_t i = 0; i < size; ++i)
                weights[j] += scale * at(in.query, s.row, t, i) * at(in.key, s.row, j, i);
            top = std::max(top, weights[j]);
        }
        double total = 0;
        for (double& w : weights)
            total += w = std::exp(w - top);
        double pull = 0;
        for (std::size_t j = 0; j < count; ++j) {
            weights[j] /= total;
            for (std::size_t i = 0; i < size; ++i) {
                const double g = at(c.slopes.data() + size, s.out_row, t, i);
                a.out[t * size + i] += weights[j] * at(in.value, s.row, j, i);
                a.value[j * size + i] += weights[j] * g;
                pulls[j] += g * at(in.value, s.row, j, i);
            }
            pull += weights[j] * pulls[j];
        }
        for (std::size_t j = 0; j < count; ++j) {
            const double slope = scale * weights[j] * (pulls[j] - pull);
            for (std::size_t i = 0; i < size; ++i) {
                a.query[t * size + i] += slope * at(in.key, s.row, j, i);
                a.key[j * size + i] += slope * at(in.query, s.row, t, i);
            }
        }
    }
    return a;
}

/// What the kernels gave, in rows like the inputs', and what they should not have touched.
struct Got {
    std::vector<float> out;
    std::vector<float> gradients;
};

constexpr float kUntouched = 12345.0F;

Got run(const Case& c) {
    const HeadShape& s = c.shape;
    Got got{std::vector<float>(c.slopes.size(), kUntouched),
            std::vector<float>(c.numbers.size(), kUntouched)};
    const std::size_t count = self_attention_scratch(s.tokens, s.head_size);
    // Whatever was there before must not matter: not even what is not a number.
    std::vector<float> scratch(count + 1, std::nanf(""));
    scratch[count] = kUntouched;
    std::vector<float> statistics(2 * s.tokens);
    self_attention(s, c.inputs(), got.out.data() + s.head_size, statistics.data(), scratch.data());
    std::fill_n(scratch.begin(), count, std::nanf(""));
    float* first = got.gradients.data() + s.head_size;
    self_attention_gradient(s, c.inputs(), statistics.data(), c.slopes.data() + s.head_size,
                            {first, first + 3 * s.head_size, first + 6 * s.head_size},
                            scratch.data());
    REQUIRE(scratch[count] == kUntouched);
    return got;
}

/// Within 1e-5 of the largest; beside the head nothing may have changed.
void compare(const std::vector<float>& rows, std::size_t stride, std::size_t offset,
             const Matrix& want, const HeadShape& shape) {
    double largest = 1e-3;
    for (const double w : want)
        largest = std::max(largest, std::abs(w));
    double worst = 0;
    for (std::size_t t = 0; t < shape.tokens; ++t)
        for (std::size_t i = 0; i < shape.head_size; ++i) {
            const double error =
                std::abs(at(rows.data() + offset, stride, t, i) - want[t * shape.head_size + i]);
            worst = std::isnan(error) ? error : std::max(worst, error);
        }
    CAPTURE(offset);
    REQUIRE(worst <= 1e-5 * largest);
}

void check(const Case& c) {
    const HeadShape& s = c.shape;
    CAPTURE(s.tokens);
    CAPTURE(s.head_size);
    CAPTURE(static_cast<int>(s.sight));
    const Got got = run(c);
    const Answer want = by_definition(c);
    const std::size_t size = s.head_size;
    compare(got.out, s.out_row, size, want.out, s);
    compare(got.gradients, s.row, size, want.query, s);
    compare(got.gradients, s.row, 4 * size, want.key, s);
    compare(got.gradients, s.row, 7 * size, want.value, s);
    for (std::size_t i = 0; i < got.gradients.size(); ++i)
        if (i / size % 3 != 1) REQUIRE(got.gradients[i] == kUntouched);
    for (std::size_t i = 0; i < got.out.size(); ++i)
        if (i / size % 3 != 1) REQUIRE(got.out[i] == kUntouched);
}

}  // namespace

TEST_CASE("self_attention: outputs and gradients agree with their definition in double") {
    for (const Sight sight : {Sight::kBackward, Sight::kEverything}) {
        for (const std::size_t tokens : {1U, 2U, 3U, 7U, 8U, 9U, 16U, 17U, 63U, 64U, 65U, 130U})
            for (const std::size_t size : {1U, 4U, 8U, 15U, 40U})
                check(Case(tokens, size, sight));
        check(Case(70, 64, sight));
        check(Case(40, 129, sight));
    }
}

TEST_CASE("self_attention: scores far apart neither overflow nor vanish") {
    for (const Sight sight : {Sight::kBackward, Sight::kEverything})
        check(Case(50, 32, sight, 6.0));
}

TEST_CASE("self_attention: the same head gives the same bits") {
    const Case c(65, 40, Sight::kBackward);
    const Got a = run(c);
    const Got b = run(c);
    CHECK(same_bits(a.out, b.out));
    CHECK(same_bits(a.gradients, b.gradients));
}

TEST_CASE("self_attention: a number that is not one reaches the tokens that see it") {
    Case c(20, 8, Sight::kBackward);
    c.numbers[10 * c.shape.row + 4 * c.shape.head_size] = std::nanf("");  // a key of token 10
    const Got got = run(c);
    for (std::size_t t = 10; t < 20; ++t)
        CHECK(std::isnan(got.out[t * c.shape.out_row + c.shape.head_size]));
    for (std::size_t t = 0; t < 8; ++t)
        CHECK_FALSE(std::isnan(got.out[t * c.shape.out_row + c.shape.head_size]));
}
