// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace worker::text {

/// Bytes [begin, end) of a text.
struct Range {
    std::size_t begin = 0;
    std::size_t end = 0;
    friend bool operator==(const Range&, const Range&) = default;
};

inline constexpr std::size_t kPatternBytesMax = 8 * 1024;

/// Memory to match with, for one thread; making it costs more than most matches.
class RegexScratch {
 public:
    RegexScratch();
    ~RegexScratch();
    RegexScratch(const RegexScratch&) = delete;
    RegexScratch& operator=(const RegexScratch&) = delete;
    RegexScratch(RegexScratch&&) = delete;
    RegexScratch& operator=(RegexScratch&&) = delete;

 private:
    friend class Regex;
    struct Memory;
    std::unique_ptr<Memory> memory_;
};

/// A pattern of a tokenizer file, compiled once; safe to use from many threads.
/// \s, \d and \w mean what they mean in the files' own library: White_Space, Nd, and letters,
/// marks, decimal digits and connectors. What would mean something else here is refused.
class Regex {
 public:
    /// Errors: data_invalid (not a pattern), unsupported (\W in a class, \h, nested classes),
    /// job_limit.
    [[nodiscard]] static ledger::base::Result<Regex> compile(std::string_view pattern);

    /// Every match in `text`, which is valid UTF-8, from left to right. Empty ones count, but not
    /// right after another. Error: job_limit when a match takes more steps or memory than is
    /// allowed.
    [[nodiscard]] ledger::base::Result<std::vector<Range>> find_all(std::string_view text,
                                                                    RegexScratch& scratch) const;

 private:
    struct Code;
    explicit Regex(std::shared_ptr<const Code> code) : code_(std::move(code)) {}
    std::shared_ptr<const Code> code_;
};

/// What a Split or Replace looks for: a pattern or a plain text.
class Pattern {
 public:
    explicit Pattern(Regex regex) : what_(std::move(regex)) {}
    explicit Pattern(std::string literal) : what_(std::move(literal)) {}

    /// As Regex::find_all.
    [[nodiscard]] ledger::base::Result<std::vector<Range>> find_all(std::string_view text,
                                                                    RegexScratch& scratch) const;
    /// Null for a pattern.
    [[nodiscard]] const std::string* literal() const { return std::get_if<std::string>(&what_); }

 private:
    std::variant<Regex, std::string> what_;
};

}  // namespace worker::text
