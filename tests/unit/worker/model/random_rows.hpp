// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/model/inference.hpp"
#include "worker/model/philox.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

/// Rows of logits and ways to draw from them, from a seed alone.
namespace worker::model::test {

/// Numbers of one stream, one after the other.
class Numbers {
 public:
    explicit Numbers(std::uint64_t seed) : random_(seed, Philox::Stream::kShuffle) {}
    std::uint32_t below(std::uint32_t bound) {
        return static_cast<std::uint32_t>(random_.below(bound, place_++, 0));
    }
    double unit() { return random_.unit(place_++, 0); }
    bool one_in(std::uint32_t bound) { return below(bound) == 0; }

 private:
    Philox random_;
    std::uint64_t place_ = 0;
};

/// As a model's, flat, steep, of a few equal values, or with a far leader.
inline std::vector<float> random_row(Numbers& numbers, std::size_t vocab) {
    const std::uint32_t kind = numbers.below(6);
    const double spread = kind == 0 ? 0.1 : kind == 1 ? 12.0 : 3.0;
    std::vector<float> out(vocab);
    for (float& value : out) {
        double sum = 0;
        for (int i = 0; i < 4; ++i)
            sum += numbers.unit();
        value = static_cast<float>((sum - 2.0) * 1.7 * spread);
        if (kind == 2) value = std::round(value * 2) / 2;  // ties, -0 and 0 among them
    }
    if (kind == 3) out[numbers.below(static_cast<std::uint32_t>(vocab))] += 20.0F;
    return out;
}

/// Any mix of what a request may ask.
inline SamplingParams random_params(Numbers& numbers, std::size_t vocab) {
    const auto token = [&] { return numbers.below(static_cast<std::uint32_t>(vocab)); };
    SamplingParams out;
    out.seed = numbers.below(1U << 30U);
    const double temperatures[] = {0, 0.01, 0.3, 0.7, 1.0, 2.0};
    out.temperature = temperatures[numbers.below(6)];
    if (numbers.one_in(2)) out.top_p = numbers.one_in(8) ? 0.0 : numbers.unit();
    if (numbers.one_in(3)) out.top_k = 1 + numbers.below(numbers.one_in(2) ? 60 : 600);
    if (numbers.one_in(3)) out.min_p = numbers.one_in(4) ? 1.0 : numbers.unit() * 0.2;
    if (numbers.one_in(3)) out.presence_penalty = numbers.unit() * 4 - 2;
    if (numbers.one_in(3)) out.frequency_penalty = numbers.unit() * 4 - 2;
    if (numbers.one_in(3)) out.repetition_penalty = 0.5 + numbers.unit() * 1.5;
    if (numbers.one_in(4))
        for (int i = 0; i < 5; ++i)
            out.logit_bias.push_back({token(), numbers.unit() * 200 - 100});
    if (numbers.one_in(4)) out.logprobs = numbers.below(21);
    return out;
}

}  // namespace worker::model::test
