// SPDX-License-Identifier: Apache-2.0
// The oracle of each draw from a list is the draw from the whole row.
#include "worker/model/shortlist.hpp"

#include "tests/unit/worker/model/random_rows.hpp"
#include "worker/model/token_draw.hpp"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <vector>

using namespace worker::model;
using namespace worker::model::test;
namespace kernels = worker::kernels;

namespace {

constexpr std::uint64_t kSeed = 20261127;

/// A list as any decoder may make it, with what it points to.
struct MadeList {
    std::vector<kernels::ListedLogit> listed;
    std::vector<float> named;
    Shortlist list;
};

/// The `best` likeliest and their equals, from the end. The sums are off by `error` of themselves.
MadeList make_list(const std::vector<float>& row, const ShortlistWish& wish, std::size_t best,
                   double error) {
    MadeList out;
    std::vector<float> sorted = row;
    std::sort(sorted.begin(), sorted.end(), std::greater<>());
    out.list.vocab = static_cast<std::uint32_t>(row.size());
    out.list.floor =
        best >= row.size() ? -std::numeric_limits<float>::infinity() : sorted[best - 1];
    const auto floor = static_cast<double>(out.list.floor);
    for (std::size_t i = row.size(); i-- > 0;) {
        const auto logit = static_cast<double>(row[i]);
        if (row[i] >= out.list.floor) {
            out.listed.push_back({static_cast<std::uint32_t>(i), row[i]});
            continue;
        }
        if (wish.temperature > 0)
            out.list.elsewhere += std::exp((logit - floor) / wish.temperature);
        if (wish.with_plain) out.list.elsewhere_plain += std::exp(logit - floor);
    }
    out.list.elsewhere *= 1 + error;
    for (const std::uint32_t token : wish.named)
        out.named.push_back(row[token]);
    out.list.listed = out.listed;
    out.list.logits = out.named;
    return out;
}

void check_same(const SampledToken& got, const SampledToken& expected) {
    REQUIRE(got.token == expected.token);
    REQUIRE(got.logprob.has_value() == expected.logprob.has_value());
    if (!got.logprob) return;
    CHECK(std::abs(*got.logprob - *expected.logprob) < 1e-8);
    REQUIRE(got.top.size() == expected.top.size());
    for (std::size_t i = 0; i < got.top.size(); ++i) {
        REQUIRE(got.top[i].token == expected.top[i].token);
        CHECK(std::abs(got.top[i].logprob - expected.top[i].logprob) < 1e-8);
    }
}

/// Keeps rows where the samplers do not see them.
class FakeDecoder final : public ForwardPass {
 public:
    explicit FakeDecoder(std::vector<std::vector<float>> rows) : rows_(std::move(rows)) {}
    std::span<const float> logits(std::span<const DecoderRow> /*rows*/) override { return {}; }
    std::span<const float> hidden(std::span<const DecoderRow> /*rows*/) override { return {}; }
    std::span<const Shortlist> shorten(std::span<const DecoderRow> /*rows*/,
                                       std::span<const ShortlistWish> wishes) override {
        made_.clear();
        lists_.clear();
        for (std::size_t i = 0; i < wishes.size(); ++i)
            made_.push_back(make_list(rows_[i], wishes[i], 30, 0));
        for (const MadeList& one : made_)
            lists_.push_back(one.list);
        return lists_;
    }
    std::span<const float> row(std::size_t wanted) override {
        brought.push_back(wanted);
        return rows_[wanted];
    }
    std::vector<std::size_t> brought;

 private:
    std::vector<std::vector<float>> rows_;
    std::vector<MadeList> made_;
    std::vector<Shortlist> lists_;
};

}  // namespace

TEST_CASE("shortlist: an empty list decides nothing") {
    Sampler sampler(SamplingParams{});
    Shortlist list;
    list.vocab = 5;
    CHECK(!sampler.next(list).has_value());
}

TEST_CASE("shortlist: a draw at a bound's edge is left to the whole row") {
    // One listed token of two alike: the draw falls on one or the other.
    const std::vector<float> row{1.0F, 1.0F - 1e-6F};
    std::size_t decided = 0;
    for (std::uint64_t seed = 0; seed < 400; ++seed) {
        SamplingParams p;
        p.seed = seed;
        Sampler sampler(p);
        const MadeList made = make_list(row, sampler.wish(), 1, 0);
        const auto token = sampler.next(made.list);
        Sampler whole(p);
        const SampledToken expected = whole.next(row);
        if (token) CHECK(token->token == 0);
        CHECK(token.has_value() == (expected.token == 0));
        decided += token ? 1U : 0U;
    }
    CHECK(decided > 100);
    CHECK(decided < 300);
}

TEST_CASE("shortlist: what a penalty lowers below the floor is not decided") {
    const std::vector<float> row{5.0F, 4.0F, 3.9F, 0.0F};
    SamplingParams p;
    p.temperature = 0;
    p.logit_bias = {{0, -1.5}};
    Sampler sampler(p);
    CHECK(!sampler.next(make_list(row, sampler.wish(), 1, 0).list).has_value());
    CHECK(sampler.next(make_list(row, sampler.wish(), 2, 0).list)->token == 1);
    p.logit_bias = {{3, 4.5}};  // not listed, but named
    CHECK(!Sampler(p).next(make_list(row, Sampler(p).wish(), 1, 0).list)->logprob.has_value());
    p.logit_bias = {{3, 5.5}};
    Sampler raised(p);
    CHECK(raised.next(make_list(row, raised.wish(), 1, 0).list)->token == 3);
}

TEST_CASE("shortlist: a decided draw is the whole row's, whatever is asked") {
    Numbers numbers(kSeed);
    fmt::print("shortlist: seed {}\n", kSeed);
    std::map<bool, std::size_t> decided;
    std::size_t in_common = 0;
    for (std::size_t round = 0; round < 1500; ++round) {
        const std::size_t vocab = 1 + numbers.below(numbers.one_in(4) ? 40 : 1500);
        const SamplingParams params = random_params(numbers, vocab);
        std::vector<std::uint32_t> prompt;
        for (std::uint32_t i = numbers.below(50); i > 0; --i)
            prompt.push_back(numbers.below(static_cast<std::uint32_t>(vocab)));
        Sampler shorter(params, prompt);
        Sampler whole(params, prompt);
        for (int step = 0; step < 8; ++step) {
            INFO("round ", round, " step ", step);
            const std::vector<float> row = random_row(numbers, vocab);
            const std::size_t best = 1 + numbers.below(numbers.one_in(2) ? 400 : 30);
            const double error = (numbers.unit() - 0.5) * Shortlist::kSumError;
            const MadeList made = make_list(row, shorter.wish(), best, error);
            const SampledToken expected = whole.next(row);
            const auto got = shorter.next(made.list);
            ++decided[got.has_value()];
            if (got) check_same(*got, expected);
            if (got && params.temperature > 0 && params.top_k == 0 && params.min_p == 0)
                ++in_common;
            if (!got) check_same(shorter.next(row), expected);
        }
    }
    fmt::print("shortlist: {} draws decided, {} by the sum's bounds, {} left to the whole row\n",
               decided[true], in_common, decided[false]);
    CHECK(decided[true] > decided[false]);
    CHECK(in_common > 500);
    CHECK(decided[false] > 500);
}

TEST_CASE("shortlist: a sum that is off by more than it says does not pass for the row's") {
    // The test above can fail: with a wrong sum it finds other tokens.
    Numbers numbers(kSeed + 1);
    std::size_t others = 0;
    for (std::size_t round = 0; round < 2000; ++round) {
        SamplingParams params;
        params.seed = round;
        const std::vector<float> row = random_row(numbers, 300);
        Sampler shorter(params);
        const MadeList made = make_list(row, shorter.wish(), 100, 0.05);
        const auto got = shorter.next(made.list);
        if (got && got->token != Sampler(params).next(row).token) ++others;
    }
    CHECK(others > 0);
}

TEST_CASE("shortlist: numbers that are none, and infinite ones, draw as well") {
    const float kInfinite = std::numeric_limits<float>::infinity();
    const float kNan = std::numeric_limits<float>::quiet_NaN();
    for (const double temperature : {0.0, 1.0}) {
        SamplingParams p;
        p.temperature = temperature;
        p.logprobs = 3;
        CHECK(Sampler(p).next(std::vector<float>{kNan, -kInfinite, 0.5F, kNan}).token == 2);
        CHECK(Sampler(p).next(std::vector<float>{1.0F, kInfinite, 0.5F}).token == 1);
        CHECK(Sampler(p).next(std::vector<float>(5, kNan)).token < 5);
        TokenMasks::Mask mask;
        mask.bits = {0b100};
        mask.count = 1;
        CHECK(Sampler(p).next(std::vector<float>{1.0F, 2.0F, kNan}, &mask).token == 2);
    }
}

TEST_CASE("token draw: rows come whole only where the list does not decide, null ones never") {
    Numbers numbers(kSeed + 2);
    constexpr std::size_t kRows = 40;
    std::vector<std::vector<float>> rows;
    std::vector<Sampler> shorter;
    std::vector<Sampler> whole;
    for (std::size_t i = 0; i < kRows; ++i) {
        rows.push_back(random_row(numbers, 700));
        const SamplingParams params = random_params(numbers, 700);
        shorter.emplace_back(params);
        whole.emplace_back(params);
    }
    FakeDecoder decoder(rows);
    kernels::Pool pool(2);
    for (int step = 0; step < 5; ++step) {
        std::vector<Sampler*> samplers;
        for (Sampler& sampler : shorter)
            samplers.push_back(&sampler);
        samplers[3] = nullptr;
        TokenDraw draw(samplers);
        decoder.brought.clear();
        const auto lists = decoder.shorten({}, draw.wishes());
        const auto got = draw.draw(decoder, lists, pool);
        REQUIRE(got.size() == kRows);
        for (std::size_t i = 0; i < kRows; ++i)
            if (i != 3) check_same(got[i], whole[i].next(rows[i]));
        CHECK(decoder.brought.size() == draw.whole_rows());
        CHECK(draw.whole_rows() < kRows / 2);
        CHECK(std::find(decoder.brought.begin(), decoder.brought.end(), 3) ==
              decoder.brought.end());
    }
    // A decoder whose logits are here anyway makes no lists.
    std::vector<Sampler*> samplers;
    for (Sampler& sampler : shorter)
        samplers.push_back(&sampler);
    TokenDraw draw(samplers);
    const auto got = draw.draw(decoder, {}, pool);
    for (std::size_t i = 0; i < kRows; ++i)
        if (i != 3) check_same(got[i], whole[i].next(rows[i]));
    CHECK(draw.whole_rows() == kRows);
}
