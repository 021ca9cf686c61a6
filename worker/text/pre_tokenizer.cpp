// SPDX-License-Identifier: Apache-2.0
#include "worker/text/pre_tokenizer.hpp"

#include "worker/text/byte_alphabet.hpp"
#include "worker/text/fields.hpp"
#include "worker/text/limits.hpp"
#include "worker/text/normalizer.hpp"

#include <algorithm>

namespace worker::text {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

namespace {

// GPT-2's words: contractions, then letters, numbers or other marks with one space before, then
// spaces.
constexpr std::string_view kByteLevelWords =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr std::string_view kWordsAndMarks =
    R"([\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]+|[^\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}\s]+)";

struct Piece {
    Range range;
    bool matched = false;
};

/// The matches and what lies between them, none left out.
std::vector<Piece> pieces_of(std::string_view word, const std::vector<Range>& matches,
                             bool invert) {
    std::vector<Piece> out;
    std::size_t at = 0;
    for (const Range& match : matches) {
        if (match.begin > at) out.push_back({{at, match.begin}, invert});
        out.push_back({match, !invert});
        at = match.end;
    }
    if (at < word.size()) out.push_back({{at, word.size()}, invert});
    return out;
}

}  // namespace

Result<PrependScheme> prepend_scheme_field(const Value& of) {
    TRY_ASSIGN(const bool legacy, flag_field(of, "add_prefix_space", true));
    TRY_ASSIGN(const std::string scheme,
               text_field_or(of, "prepend_scheme", legacy ? "always" : "never"));
    if (scheme == "always") return PrependScheme::kAlways;
    if (scheme == "first") return PrependScheme::kFirst;
    if (scheme == "never") return PrependScheme::kNever;
    return unsupported_part("prepend_scheme", scheme);
}

Result<PreTokenizer::Behavior> PreTokenizer::behavior_field(const Value& part, Behavior otherwise) {
    TRY_ASSIGN(const std::string name, text_field_or(part, "behavior", ""));
    if (name.empty()) return otherwise;
    if (name == "Isolated") return Behavior::kIsolated;
    if (name == "Removed") return Behavior::kRemoved;
    if (name == "Contiguous") return Behavior::kContiguous;
    if (name == "MergedWithPrevious") return Behavior::kMergedWithPrevious;
    if (name == "MergedWithNext") return Behavior::kMergedWithNext;
    return unsupported_part("behavior", name);
}

Result<void> PreTokenizer::add_regex(std::string_view pattern, Behavior behavior, bool invert) {
    TRY_ASSIGN(Regex regex, Regex::compile(pattern));
    steps_.emplace_back(Split{Pattern(std::move(regex)), behavior, invert});
    return {};
}

Result<void> PreTokenizer::add_metaspace(const Value& part) {
    TRY_ASSIGN(const std::string mark, text_field_or(part, "replacement", "\u2581"));
    TRY_ASSIGN(const PrependScheme scheme, prepend_scheme_field(part));
    TRY_ASSIGN(const bool split, flag_field(part, "split", true));
    if (mark.empty() || mark.size() > 4)
        return fail(ErrorCode::data_invalid, "replacement must be one character");
    steps_.emplace_back(Replace{Pattern(" "), mark});
    if (scheme != PrependScheme::kNever) steps_.emplace_back(Prefix{mark, scheme});
    if (split) steps_.emplace_back(Split{Pattern(mark), Behavior::kMergedWithNext, false});
    return {};
}

Result<void> PreTokenizer::add(const Value& part) {
    TRY_ASSIGN(const std::string type, text_field(part, "type"));
    if (type == "ByteLevel") {
        TRY_ASSIGN(const bool prefix, flag_field(part, "add_prefix_space", true));
        TRY_ASSIGN(const bool regex, flag_field(part, "use_regex", true));
        if (prefix) steps_.emplace_back(Prefix{" ", PrependScheme::kAlways});
        if (regex) TRY(add_regex(kByteLevelWords, Behavior::kIsolated, false));
        steps_.emplace_back(ToByteAlphabet{});
        return {};
    }
    if (type == "Split") {
        TRY_ASSIGN(Pattern pattern, pattern_field(part));
        TRY_ASSIGN(const Behavior behavior, behavior_field(part, Behavior::kIsolated));
        TRY_ASSIGN(const bool invert, flag_field(part, "invert", false));
        steps_.emplace_back(Split{std::move(pattern), behavior, invert});
        return {};
    }
    if (type == "Digits") {
        TRY_ASSIGN(const bool each, flag_field(part, "individual_digits", false));
        return add_regex(R"(\p{N})", each ? Behavior::kIsolated : Behavior::kContiguous, false);
    }
    if (type == "Metaspace") return add_metaspace(part);
    if (type == "Whitespace") return add_regex(kWordsAndMarks, Behavior::kRemoved, true);
    if (type == "WhitespaceSplit") return add_regex(R"(\s)", Behavior::kRemoved, false);
    if (type == "Punctuation") {
        TRY_ASSIGN(const Behavior behavior, behavior_field(part, Behavior::kIsolated));
        return add_regex(R"([\p{P}!-/:-@\[-`{-~])", behavior, false);
    }
    return unsupported_part("pre-tokenizer", type);
}

Result<PreTokenizer> PreTokenizer::parse(const Value* part) {
    PreTokenizer out;
    TRY_ASSIGN(const std::vector<Value> parts, steps_of(part, "pretokenizers"));
    for (const Value& one : parts)
        TRY(out.add(one));
    return out;
}

Result<void> PreTokenizer::run(const Split& split, Words& words, RegexScratch& scratch) {
    std::vector<Range> out;
    bool first_kept = false;
    for (const Range& range : words.ranges) {
        const std::string_view word =
            std::string_view(words.text).substr(range.begin, range.end - range.begin);
        TRY_ASSIGN(const std::vector<Range> matches, split.pattern.find_all(word, scratch));
        const std::size_t before = out.size();
        bool last_matched = false;
        bool open = false;  // the last range of `out` takes in what follows
        for (const Piece& piece : pieces_of(word, matches, split.invert)) {
            const Range whole{range.begin + piece.range.begin, range.begin + piece.range.end};
            bool join = false;
            switch (split.behavior) {
                case Behavior::kIsolated:
                    break;
                case Behavior::kRemoved:
                    break;
                case Behavior::kContiguous:
                    join = piece.matched == last_matched;
                    break;
                case Behavior::kMergedWithPrevious:
                    join = piece.matched && !last_matched;
                    break;
                case Behavior::kMergedWithNext:
                    join = open && !piece.matched;
                    break;
            }
            if (split.behavior == Behavior::kRemoved && piece.matched) continue;
            if (join && out.size() > before)
                out.back().end = whole.end;
            else
                out.push_back(whole);
            last_matched = piece.matched;
            open = piece.matched;
        }
        if (&range == &words.ranges.front())
            first_kept = out.size() > before && out[before].begin == range.begin;
    }
    std::erase_if(out, [](const Range& range) { return range.begin == range.end; });
    words.at_start = words.at_start && first_kept;
    words.ranges = std::move(out);
    return {};
}

void PreTokenizer::run(const Prefix& prefix, Words& words) {
    Words out;
    out.at_start = words.at_start;
    for (const Range& range : words.ranges) {
        const std::string_view word =
            std::string_view(words.text).substr(range.begin, range.end - range.begin);
        const bool wanted = prefix.scheme == PrependScheme::kAlways ||
                            (&range == &words.ranges.front() && words.at_start);
        const std::size_t begin = out.text.size();
        if (wanted && !word.starts_with(prefix.what)) out.text += prefix.what;
        out.text += word;
        out.ranges.push_back({begin, out.text.size()});
    }
    words = std::move(out);
}

Result<void> PreTokenizer::run(const Replace& replace, Words& words, RegexScratch& scratch) {
    Words out;
    out.at_start = words.at_start;
    for (const Range& range : words.ranges) {
        const std::string_view word =
            std::string_view(words.text).substr(range.begin, range.end - range.begin);
        TRY_ASSIGN(const std::string replaced,
                   replace_all(replace.pattern, replace.content, word, scratch));
        const std::size_t begin = out.text.size();
        out.text += replaced;
        out.ranges.push_back({begin, out.text.size()});
    }
    words = std::move(out);
    return {};
}

void PreTokenizer::run(const ToByteAlphabet&, Words& words) {
    Words out;
    out.at_start = words.at_start;
    out.text.reserve(words.text.size() * 5 / 4);
    out.ranges.reserve(words.ranges.size());
    for (const Range& range : words.ranges) {
        const std::size_t begin = out.text.size();
        for (std::size_t i = range.begin; i < range.end; ++i)
            out.text += byte_alphabet()[static_cast<unsigned char>(words.text[i])];
        out.ranges.push_back({begin, out.text.size()});
    }
    words = std::move(out);
}

Result<Words> PreTokenizer::apply(std::string text, bool at_start, RegexScratch& scratch) const {
    Words words{std::move(text), {}, at_start};
    if (!words.text.empty()) words.ranges.push_back({0, words.text.size()});
    for (const Step& step : steps_) {
        // Each prefix may add to every word: the sum stays within what a text may take.
        if (words.text.size() > 8 * limits::kTextBytes)
            return fail(ErrorCode::job_limit, "the text grows too long when split");
        if (const auto* split = std::get_if<Split>(&step)) {
            TRY(run(*split, words, scratch));
        } else if (const auto* prefix = std::get_if<Prefix>(&step)) {
            run(*prefix, words);
        } else if (const auto* replace = std::get_if<Replace>(&step)) {
            TRY(run(*replace, words, scratch));
        } else {
            run(std::get<ToByteAlphabet>(step), words);
        }
    }
    return words;
}

}  // namespace worker::text
