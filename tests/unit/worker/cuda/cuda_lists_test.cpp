// SPDX-License-Identifier: Apache-2.0
// Needs a CUDA device. The oracle of each draw is the sampler over the whole row.
#include "tests/unit/worker/cuda/device_lists.hpp"
#include "tests/unit/worker/model/random_rows.hpp"
#include "worker/model/token_draw.hpp"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

using namespace worker::model;
using namespace worker::model::test;
namespace kernels = worker::kernels;

namespace {

constexpr std::uint64_t kSeed = 20261127;
constexpr float kInfinite = std::numeric_limits<float>::infinity();

std::span<const float> row_of(const std::vector<float>& rows, std::size_t vocab, std::size_t i) {
    return std::span(rows).subspan(i * vocab, vocab);
}

/// A list keeps its word: what it says of the listed, the floor, the sums and the named is so.
void check_list(const Shortlist& list, std::span<const float> row, const ShortlistWish& wish) {
    REQUIRE(list.vocab == row.size());
    REQUIRE(list.logits.size() == wish.named.size());
    for (std::size_t i = 0; i < wish.named.size(); ++i)
        REQUIRE(list.logits[i] == row[wish.named[i]]);
    if (list.listed.empty()) return;
    std::vector<kernels::ListedLogit> expected;
    double elsewhere = 0;
    double plain = 0;
    for (std::uint32_t token = 0; token < row.size(); ++token) {
        const double below = static_cast<double>(row[token]) - static_cast<double>(list.floor);
        if (row[token] >= list.floor) {
            expected.push_back({token, row[token]});
        } else {
            if (wish.temperature > 0) elsewhere += std::exp(below / wish.temperature);
            if (wish.with_plain) plain += std::exp(below);
        }
    }
    std::vector<kernels::ListedLogit> got(list.listed.begin(), list.listed.end());
    std::sort(got.begin(), got.end(), [](auto a, auto b) { return a.token < b.token; });
    REQUIRE(got == expected);
    CHECK(std::abs(list.elsewhere - elsewhere) <= 1e-11 * elsewhere);
    CHECK(std::abs(list.elsewhere_plain - plain) <= 1e-11 * plain);
}

bool same(const SampledToken& got, const SampledToken& expected) {
    bool out = got.token == expected.token &&
               got.logprob.has_value() == expected.logprob.has_value() &&
               got.top.size() == expected.top.size();
    if (out && got.logprob) out = std::abs(*got.logprob - *expected.logprob) < 1e-8;
    for (std::size_t i = 0; out && i < got.top.size(); ++i)
        out = got.top[i].token == expected.top[i].token &&
              std::abs(got.top[i].logprob - expected.top[i].logprob) < 1e-8;
    return out;
}

}  // namespace

TEST_CASE("cuda lists: rows that cannot be listed say so") {
    constexpr std::size_t kVocab = 3000;
    const std::vector<ShortlistWish> wishes(5, ShortlistWish{1.0, true, {}});
    std::vector<float> rows(5 * kVocab, 1.0F);  // the first: all are equal
    for (std::size_t i = 0; i < kVocab; ++i)
        for (const std::size_t row : {1UL, 2UL, 3UL, 4UL})
            rows[row * kVocab + i] = static_cast<float>(i);
    rows[1 * kVocab + 77] = std::numeric_limits<float>::quiet_NaN();
    rows[2 * kVocab + 2999] = kInfinite;
    rows[3 * kVocab] = -kInfinite;
    with_device_lists(rows, wishes, [&](std::span<const Shortlist> lists) {
        for (std::size_t i = 0; i < 4; ++i)
            CHECK(lists[i].listed.empty());
        CHECK(lists[4].listed.size() >= 256);
    });
    std::vector<std::uint32_t> many(kernels::kNamedMax + 1);
    const std::vector<ShortlistWish> too_many{{1.0, true, many}};
    with_device_lists(row_of(rows, kVocab, 4), too_many,
                      [&](std::span<const Shortlist> lists) { CHECK(lists[0].listed.empty()); });
}

TEST_CASE("cuda lists: hold what they say, and draws are those of the whole rows") {
    fmt::print("cuda lists: seed {}\n", kSeed);
    Numbers numbers(kSeed);
    constexpr std::size_t kRows = 64;
    std::size_t decided = 0;
    std::size_t undecided = 0;
    std::size_t unlisted = 0;
    for (const std::size_t vocab :
         {1UL, 197UL, 512UL, 513UL, 1023UL, 1025UL, 5000UL, 32000UL, 151936UL}) {
        INFO(vocab);
        std::vector<Sampler> shorter;
        std::vector<Sampler> whole;
        for (std::size_t i = 0; i < kRows; ++i) {
            const SamplingParams params = random_params(numbers, vocab);
            std::vector<std::uint32_t> prompt;
            for (std::uint32_t j = numbers.below(100); j > 0; --j)
                prompt.push_back(numbers.below(static_cast<std::uint32_t>(vocab)));
            shorter.emplace_back(params, prompt);
            whole.emplace_back(params, prompt);
        }
        for (int step = 0; step < (vocab > 10000 ? 2 : 6); ++step) {
            std::vector<float> rows;
            std::vector<ShortlistWish> wishes;
            for (std::size_t i = 0; i < kRows; ++i) {
                const std::vector<float> row = random_row(numbers, vocab);
                rows.insert(rows.end(), row.begin(), row.end());
                wishes.push_back(shorter[i].wish());
            }
            with_device_lists(rows, wishes, [&](std::span<const Shortlist> lists) {
                REQUIRE(lists.size() == kRows);
                for (std::size_t i = 0; i < kRows; ++i) {
                    INFO("row ", i, " step ", step);
                    const auto row = row_of(rows, vocab, i);
                    check_list(lists[i], row, wishes[i]);
                    unlisted += lists[i].listed.empty() ? 1U : 0U;
                    const SampledToken expected = whole[i].next(row);
                    const auto got = shorter[i].next(lists[i]);
                    ++(got ? decided : undecided);
                    REQUIRE(same(got ? *got : shorter[i].next(row), expected));
                }
            });
        }
    }
    fmt::print("cuda lists: {} draws decided, {} not, {} rows without a list\n", decided, undecided,
               unlisted);
    CHECK(decided > undecided / 2);
    CHECK(unlisted < undecided);
}

TEST_CASE("cuda lists: a row's list has the same bits beside any others") {
    Numbers numbers(kSeed + 1);
    constexpr std::size_t kVocab = 32000;
    const std::vector<float> first = random_row(numbers, kVocab);
    const std::vector<ShortlistWish> one{{0.7, true, {}}};
    std::vector<kernels::ListedLogit> alone;
    double elsewhere = 0;
    double plain = 0;
    with_device_lists(first, one, [&](std::span<const Shortlist> lists) {
        alone.assign(lists[0].listed.begin(), lists[0].listed.end());
        elsewhere = lists[0].elsewhere;
        plain = lists[0].elsewhere_plain;
    });
    REQUIRE(!alone.empty());
    std::vector<float> rows;
    for (int i = 0; i < 200; ++i) {
        const std::vector<float> row = i == 150 ? first : random_row(numbers, kVocab);
        rows.insert(rows.end(), row.begin(), row.end());
    }
    const std::vector<ShortlistWish> wishes(200, one[0]);
    with_device_lists(rows, wishes, [&](std::span<const Shortlist> lists) {
        const auto listed = lists[150].listed;
        CHECK(std::equal(listed.begin(), listed.end(), alone.begin(), alone.end()));
        CHECK(lists[150].elsewhere == elsewhere);
        CHECK(lists[150].elsewhere_plain == plain);
    });
}
