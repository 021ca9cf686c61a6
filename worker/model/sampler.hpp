// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"
#include "worker/model/inference.hpp"
#include "worker/model/token_masks.hpp"
#include "worker/model/vocabulary.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace worker::model {

/// invalid_field names the parameter that is out of its range.
[[nodiscard]] ledger::base::Result<void> check_sampling(const SamplingParams& params);

/// A token and the logarithm of its share.
struct TokenShare {
    std::uint32_t token = 0;
    double logprob = 0;
};

struct SampledToken {
    std::uint32_t token = 0;
    std::optional<double> logprob;
    std::vector<TokenShare> top;  // likeliest first
};

/// Chooses tokens of one request. The draw for position i depends on the seed, i and the logits
/// only, so it is the same in any batch.
class Sampler {
 public:
    /// `prompt` counts for the repetition penalty only.
    explicit Sampler(SamplingParams params, std::span<const std::uint32_t> prompt = {});
    /// With a mask only its tokens are chosen, of which there is one at least; log probabilities
    /// are those without it.
    [[nodiscard]] SampledToken next(std::span<const float> logits,
                                    const TokenMasks::Mask* allowed = nullptr);

 private:
    void score(std::span<const float> logits);
    [[nodiscard]] std::uint32_t ranked(std::size_t rank);
    [[nodiscard]] std::uint32_t draw();

    SamplingParams params_;
    std::uint32_t position_ = 0;
    std::vector<std::uint32_t> counts_;  // of generated tokens, for the penalties
    std::vector<std::uint32_t> seen_;    // with a repetition penalty: tokens so far, each once
    std::vector<double> scores_;         // logits with penalties
    std::vector<std::uint32_t> order_;   // tokens, the first sorted_ of them by falling score
    std::size_t sorted_ = 0;
    std::size_t choosable_ = 0;  // tokens that may be chosen, the first ones by rank
};

/// Turns tokens into text and finds stop strings in it. Text that may be the start of a stop string
/// is kept back until it is decided.
class TextStream {
 public:
    TextStream(std::unique_ptr<TokenStream> tokens, std::vector<std::string> stop)
        : tokens_(std::move(tokens)), stop_(std::move(stop)) {}

    struct Out {
        std::string text;
        bool stopped = false;
    };
    [[nodiscard]] Out push(std::uint32_t token);
    /// What was kept back.
    [[nodiscard]] std::string flush();

 private:
    [[nodiscard]] Out release();

    std::unique_ptr<TokenStream> tokens_;
    std::vector<std::string> stop_;
    std::string held_;  // decoded, not yet released
};

}  // namespace worker::model
