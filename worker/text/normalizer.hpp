// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"
#include "worker/text/regex.hpp"
#include "worker/text/value.hpp"

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

namespace worker::text {

/// The field "normalizer" of a tokenizer file: what is done to a text before it is split.
class Normalizer {
 public:
    /// Nothing is done when `part` is null. Errors: data_invalid, unsupported, job_limit.
    [[nodiscard]] static ledger::base::Result<Normalizer> parse(const Value* part);

    /// `text` is valid UTF-8, and so is the answer. Error: job_limit (a pattern, or grown too
    /// long).
    [[nodiscard]] ledger::base::Result<std::string> apply(std::string text,
                                                          RegexScratch& scratch) const;
    [[nodiscard]] bool empty() const noexcept { return steps_.empty(); }

 private:
    enum class Form : std::uint8_t { kNfc, kNfd, kNfkc, kNfkd };
    struct Compose {
        Form form;
    };
    struct Prepend {
        std::string what;
    };
    struct Replace {
        Pattern pattern;
        std::string content;
    };
    struct Lowercase {};
    struct Strip {
        bool left;
        bool right;
    };
    struct ToByteAlphabet {};
    using Step = std::variant<Compose, Prepend, Replace, Lowercase, Strip, ToByteAlphabet>;

    [[nodiscard]] static ledger::base::Result<Step> parse_step(const Value& step);
    [[nodiscard]] static ledger::base::Result<std::string> run(const Step& step, std::string text,
                                                               RegexScratch& scratch);
    std::vector<Step> steps_;
};

/// Every match replaced by `content`. Error: job_limit.
[[nodiscard]] ledger::base::Result<std::string> replace_all(const Pattern& pattern,
                                                            std::string_view content,
                                                            std::string_view text,
                                                            RegexScratch& scratch);

}  // namespace worker::text
