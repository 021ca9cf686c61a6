// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/kernels/shortlist.hpp"

#include <cstdint>
#include <span>

namespace worker::model {

/// What a sampler asks of a row before it is there.
struct ShortlistWish {
    double temperature = 0;  // of `elsewhere`; 0: it is not needed
    bool with_plain = false;
    std::span<const std::uint32_t> named;  // tokens whose scores are not their logits
};

/// The part of a row of logits that most draws look at: its likeliest tokens, and sums over the
/// others. `Sampler` says whether it decides a draw. Views, until the decoder's next call.
struct Shortlist {
    std::uint32_t vocab = 0;  // tokens of the row
    /// Every token with a logit of `floor` or more, in any order and at least one. Empty: the
    /// decoder made no list of this row.
    std::span<const kernels::ListedLogit> listed;
    float floor = 0;
    /// Over the tokens that are not listed, within kSumError of its value: the sum of
    /// exp((logit - floor) / temperature).
    double elsewhere = 0;
    double elsewhere_plain = 0;     // the same at temperature 1, if wished
    std::span<const float> logits;  // of the named tokens, in their order

    /// Relative to all shares of the row: of these sums, and of the sampler's own in double over
    /// at most 2^20 tokens (each below 2^20 · 2^-53 and the rounding of exp and its argument).
    static constexpr double kSumError = 1e-9;
};

}  // namespace worker::model
