// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"
#include "worker/model/inference.hpp"
#include "worker/model/shortlist.hpp"
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
    /// are those without it. A logit that is not a number counts as minus infinity.
    [[nodiscard]] SampledToken next(std::span<const float> logits,
                                    const TokenMasks::Mask* allowed = nullptr);
    /// What to ask of the next row; its tokens until `next`.
    [[nodiscard]] ShortlistWish wish() const noexcept;
    /// The token that the whole row would give, if the list, made by `wish`, decides it; log
    /// probabilities are within 1e-8 of the whole row's. Nothing, and no change, if it does not.
    [[nodiscard]] std::optional<SampledToken> next(const Shortlist& list);

 private:
    /// What moves a token's score away from its logit.
    struct Change {
        double bias = 0;
        std::uint32_t count = 0;  // in the text, when a penalty counts
        bool repeats = false;     // the repetition penalty is on it
    };
    struct Entry {
        double score = 0;
        std::uint32_t token = 0;
    };
    struct Bounds {
        double low = 0;
        double high = 0;
    };

    [[nodiscard]] Change& change_of(std::uint32_t token);
    [[nodiscard]] double score(float logit, const Change& change) const noexcept;
    void load(std::span<const float> logits);
    void load(std::span<const kernels::ListedLogit> listed);
    void change_scores(const Shortlist& list);
    [[nodiscard]] const Entry* ranked(std::size_t rank);
    [[nodiscard]] std::optional<std::uint32_t> choose();
    [[nodiscard]] std::optional<std::uint32_t> likeliest() const;
    [[nodiscard]] std::optional<std::uint32_t> draw();
    [[nodiscard]] std::optional<Bounds> total_share(double best, std::size_t kept);
    [[nodiscard]] double share(double score, double best) const noexcept;
    [[nodiscard]] bool report(float logit, double elsewhere_plain, std::size_t vocab,
                              SampledToken& out);
    void take(std::uint32_t token);

    SamplingParams params_;
    std::uint32_t position_ = 0;
    std::vector<std::uint32_t> named_;  // the changes' tokens, ascending
    std::vector<Change> changes_;
    // Of the row under way:
    std::vector<Entry> entries_;  // the first sorted_ of them by falling score, then token
    std::size_t sorted_ = 0;
    std::size_t choosable_ = 0;  // tokens that may be chosen, the first ones by rank
    // Tokens without an entry score below floor_; their shares add up to elsewhere_ of one there.
    double floor_ = 0;
    double elsewhere_ = 0;
    double sum_error_ = 0;        // of the entries' shares, relative
    double elsewhere_error_ = 0;  // of elsewhere_
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
