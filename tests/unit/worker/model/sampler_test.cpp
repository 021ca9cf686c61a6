// SPDX-License-Identifier: Apache-2.0
#include "worker/model/sampler.hpp"

#include "worker/model/philox.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>
#include <string>
#include <vector>

using namespace worker::model;

namespace {

std::string streamed(std::string_view bytes, std::vector<std::string> stop = {}) {
    TextStream stream(byte_vocabulary()->stream(), std::move(stop));
    std::string out;
    for (const char c : bytes) {
        const auto step = stream.push(static_cast<std::uint8_t>(c));
        out += step.text;
        if (step.stopped) return out + "|";
    }
    return out + stream.flush();
}

const std::string kBad = "\xEF\xBF\xBD";

std::set<std::uint32_t> drawn(const SamplingParams& base, const std::vector<float>& logits) {
    std::set<std::uint32_t> out;
    for (std::uint64_t seed = 0; seed < 300; ++seed) {
        SamplingParams p = base;
        p.seed = seed;
        out.insert(Sampler(p).next(logits).token);
    }
    return out;
}

}  // namespace

TEST_CASE("text stream: whole characters pass, broken ones become U+FFFD") {
    CHECK(streamed("plain") == "plain");
    CHECK(streamed("gr\xC3\xBC\xC3\x9F \xE6\xB0\xB4 \xF0\x9F\x8C\x8A") ==
          "gr\xC3\xBC\xC3\x9F \xE6\xB0\xB4 \xF0\x9F\x8C\x8A");
    CHECK(streamed("\xC3") == kBad);
    CHECK(streamed("\xC3(") == kBad + "(");
    CHECK(streamed("\x80") == kBad);
    CHECK(streamed("\xC0\xAF") == kBad + kBad);
    CHECK(streamed("\xED\xA0\x80") == kBad + kBad + kBad);  // a surrogate
    CHECK(streamed("\xF4\x90\x80\x80") == kBad + kBad + kBad + kBad);
    CHECK(streamed("\xE6\xB0x") == kBad + "x");
    CHECK(streamed("\xFF\xFE") == kBad + kBad);
}

TEST_CASE("text stream: a character is held back until it is whole") {
    TextStream stream(byte_vocabulary()->stream(), {});
    CHECK(stream.push(0xF0).text.empty());
    CHECK(stream.push(0x9F).text.empty());
    CHECK(stream.push(0x8C).text.empty());
    CHECK(stream.push(0x8A).text == "\xF0\x9F\x8C\x8A");
}

TEST_CASE("text stream: stop strings end the text, their beginnings are held back") {
    CHECK(streamed("one END two", {"END"}) == "one |");
    CHECK(streamed("one EN two", {"END"}) == "one EN two");
    CHECK(streamed("aaab", {"aab"}) == "a|");
    CHECK(streamed("abcd", {"cd", "bc"}) == "a|");
    CHECK(streamed("one EN", {"END"}) == "one EN");
    TextStream stream(byte_vocabulary()->stream(), {"END"});
    CHECK(stream.push('E').text.empty());
    CHECK(stream.push('x').text == "Ex");
}

TEST_CASE("sampler: temperature 0 takes the best, the first among equals") {
    SamplingParams p;
    p.temperature = 0;
    CHECK(Sampler(p).next(std::vector<float>{0.F, 3.F, 3.F, 1.F}).token == 1);
}

TEST_CASE("sampler: limits keep the tokens they name") {
    const std::vector<float> logits{0.F, 1.F, 2.F, -1.F};  // shares .087 .237 .644 .032
    SamplingParams p;
    CHECK(drawn(p, logits) == std::set<std::uint32_t>{0, 1, 2, 3});
    p.top_k = 2;
    CHECK(drawn(p, logits) == std::set<std::uint32_t>{1, 2});
    p = {};
    p.top_p = 0.7;
    CHECK(drawn(p, logits) == std::set<std::uint32_t>{1, 2});
    p.top_p = 0;
    CHECK(drawn(p, logits) == std::set<std::uint32_t>{2});
    p = {};
    p.min_p = 0.2;
    CHECK(drawn(p, logits) == std::set<std::uint32_t>{1, 2});
    p.min_p = 1.0;
    CHECK(drawn(p, logits) == std::set<std::uint32_t>{2});
}

TEST_CASE("sampler: penalties move a used token down") {
    SamplingParams p;
    p.temperature = 0;
    p.frequency_penalty = 1.0;
    Sampler sampler(p);
    const std::vector<float> logits{2.5F, 1.0F, 0.F};
    CHECK(sampler.next(logits).token == 0);
    CHECK(sampler.next(logits).token == 0);
    CHECK(sampler.next(logits).token == 1);
    CHECK(sampler.next(logits).token == 0);  // 0.5 against 0.0 and 0.0
}

TEST_CASE("sampler: a large vocabulary is ranked as if it were sorted whole") {
    const Philox random(5, Philox::Stream::kShuffle);
    std::vector<float> logits;
    for (std::uint64_t i = 0; i < 3000; ++i)
        logits.push_back(static_cast<float>(random.below(40, i, 0)) * 0.25F);  // many equals
    std::vector<std::uint32_t> sorted(logits.size());
    std::iota(sorted.begin(), sorted.end(), 0U);
    std::stable_sort(sorted.begin(), sorted.end(),
                     [&](auto a, auto b) { return logits[a] > logits[b]; });
    std::vector<double> before{0.0};  // mass of the tokens before each rank
    for (const std::uint32_t token : sorted)
        before.push_back(before.back() + std::exp(static_cast<double>(logits[token]) - 9.75));
    const double total = before.back();
    for (const double top_p : {1.0, 0.9, 0.3})
        for (std::uint64_t seed = 0; seed < 200; ++seed) {
            SamplingParams p;
            p.seed = seed;
            p.top_p = top_p;
            std::size_t kept = 1;
            while (kept < sorted.size() && before[kept] < top_p * total)
                ++kept;
            const double place = Philox(seed, Philox::Stream::kSample).unit(0, 0) * before[kept];
            std::size_t rank = 0;
            while (rank + 1 < kept && place >= before[rank + 1])
                ++rank;
            CHECK(Sampler(p).next(logits).token == sorted[rank]);
        }
}

TEST_CASE("sampler: shares follow the softmax") {
    const std::vector<float> logits{0.F, 1.0986123F};  // one to three
    int ones = 0;
    for (std::uint64_t seed = 0; seed < 4000; ++seed) {
        SamplingParams p;
        p.seed = seed;
        ones += Sampler(p).next(logits).token == 1 ? 1 : 0;
    }
    CHECK(ones > 2900);
    CHECK(ones < 3100);
}

TEST_CASE("sampler: a repetition penalty is of the prompt and the text, biases come before it") {
    SamplingParams p;
    p.temperature = 0;
    p.repetition_penalty = 2.0;
    const std::vector<float> logits{3.0F, 2.0F, -1.0F, -1.5F};
    const std::vector<std::uint32_t> prompt{0, 0};
    Sampler sampler(p, prompt);
    CHECK(sampler.next(logits).token == 1);  // 1.5, 2
    CHECK(sampler.next(logits).token == 0);  // 1.5, 1
    p.logit_bias = {{0, -100.0}, {1, -100.0}};
    Sampler biased(p, prompt);
    CHECK(biased.next(logits).token == 2);
    CHECK(biased.next(logits).token == 3);  // -2, -1.5
}

TEST_CASE("sampler: only what a mask allows is chosen, and log probabilities are without it") {
    TokenMasks::Mask mask;
    mask.bits = {0b1010};
    mask.count = 2;
    const std::vector<float> logits{9.F, 1.F, 2.F, 0.F};
    std::set<std::uint32_t> seen;
    for (std::uint64_t seed = 0; seed < 200; ++seed) {
        SamplingParams p;
        p.seed = seed;
        p.logprobs = 1;
        const auto made = Sampler(p).next(logits, &mask);
        seen.insert(made.token);
        CHECK(made.top.front().token == 0);
        CHECK(*made.logprob < -6);
    }
    CHECK(seen == std::set<std::uint32_t>{1, 3});
}
