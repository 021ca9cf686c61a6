// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"
#include "worker/model/inference.hpp"

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace worker::model {

/// invalid_field names the parameter that is out of its range.
[[nodiscard]] ledger::base::Result<void> check_sampling(const SamplingParams& params);

struct SampledToken {
    std::uint32_t token = 0;
    std::optional<double> logprob;
    std::vector<TokenLogprob> top;
};

/// Chooses tokens of one request. The draw for position i depends on the seed, i and the logits
/// only, so it is the same in any batch.
class Sampler {
 public:
    explicit Sampler(SamplingParams params) : params_(std::move(params)) {}
    [[nodiscard]] SampledToken next(std::span<const float> logits);

 private:
    SamplingParams params_;
    std::uint32_t position_ = 0;
    std::vector<std::uint32_t> counts_;  // of generated tokens, for the penalties
    std::vector<double> scores_;
    std::vector<std::uint32_t> order_;
};

/// A byte token for people: "a", or "\xe2" for a byte that is not text alone.
[[nodiscard]] std::string token_label(std::uint32_t token);

/// Turns bytes into complete UTF-8 and finds stop strings in it. Text that may be the start of a
/// character or of a stop string is kept back until it is decided.
class TextStream {
 public:
    explicit TextStream(std::vector<std::string> stop) : stop_(std::move(stop)) {}

    struct Out {
        std::string text;
        bool stopped = false;
    };
    [[nodiscard]] Out push(std::uint8_t byte);
    /// What was kept back, with U+FFFD for a character that never ended.
    [[nodiscard]] std::string flush();

 private:
    void decode();
    [[nodiscard]] Out release();

    std::vector<std::string> stop_;
    std::string bytes_;  // the start of a character
    std::string held_;   // decoded, not yet released
};

}  // namespace worker::model
