// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"
#include "worker/text/regex.hpp"
#include "worker/text/value.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace worker::text {

/// A text cut into words: ranges of `text`, in order, none empty.
struct Words {
    std::string text;
    std::vector<Range> ranges;
    bool at_start = false;  ///< the first word begins where the whole text begins
};

/// When Metaspace puts its character in front of a word.
enum class PrependScheme : std::uint8_t { kAlways, kFirst, kNever };

/// The fields "prepend_scheme" and, in older files, "add_prefix_space" of a Metaspace part.
[[nodiscard]] ledger::base::Result<PrependScheme> prepend_scheme_field(const Value& of);

/// The field "pre_tokenizer" of a tokenizer file: cuts text into the words that the model sees.
class PreTokenizer {
 public:
    /// One word for the whole text when `part` is null. Errors: data_invalid, unsupported,
    /// job_limit.
    [[nodiscard]] static ledger::base::Result<PreTokenizer> parse(const Value* part);

    /// `text` is valid UTF-8; `at_start` says whether nothing stands before it. Error: job_limit.
    [[nodiscard]] ledger::base::Result<Words> apply(std::string text, bool at_start,
                                                    RegexScratch& scratch) const;

 private:
    enum class Behavior : std::uint8_t {
        kIsolated,
        kRemoved,
        kContiguous,
        kMergedWithPrevious,
        kMergedWithNext,
    };
    struct Split {
        Pattern pattern;
        Behavior behavior;
        bool invert;
    };
    struct Prefix {
        std::string what;
        PrependScheme scheme;
    };
    struct Replace {
        Pattern pattern;
        std::string content;
    };
    struct ToByteAlphabet {};
    using Step = std::variant<Split, Prefix, Replace, ToByteAlphabet>;

    [[nodiscard]] ledger::base::Result<void> add(const Value& part);
    [[nodiscard]] ledger::base::Result<void> add_regex(std::string_view pattern, Behavior behavior,
                                                       bool invert);
    [[nodiscard]] ledger::base::Result<void> add_metaspace(const Value& part);
    [[nodiscard]] static ledger::base::Result<Behavior> behavior_field(const Value& part,
                                                                       Behavior otherwise);
    [[nodiscard]] static ledger::base::Result<void> run(const Split& split, Words& words,
                                                        RegexScratch& scratch);
    static void run(const Prefix& prefix, Words& words);
    [[nodiscard]] static ledger::base::Result<void> run(const Replace& replace, Words& words,
                                                        RegexScratch& scratch);
    static void run(const ToByteAlphabet& step, Words& words);

    std::vector<Step> steps_;
};

}  // namespace worker::text
