// SPDX-License-Identifier: Apache-2.0
#include "worker/text/normalizer.hpp"

#include "worker/text/byte_alphabet.hpp"
#include "worker/text/fields.hpp"
#include "worker/text/limits.hpp"
#include "worker/text/utf8.hpp"

#include <fmt/format.h>
#include <unicode/bytestream.h>
#include <unicode/normalizer2.h>
#include <unicode/uchar.h>

#include <algorithm>

namespace worker::text {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

namespace {

constexpr std::size_t kGrownBytesMax = 4 * limits::kTextBytes;

bool is_ascii(std::string_view text) {
    return std::all_of(text.begin(), text.end(),
                       [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

Result<std::string> compose(const icu::Normalizer2* form, UErrorCode error, std::string text) {
    if (form == nullptr || U_FAILURE(error))
        return fail(ErrorCode::unavailable, "the tables of Unicode normalization do not load");
    if (is_ascii(text)) return text;
    std::string out;
    icu::StringByteSink<std::string> sink(&out);
    form->normalizeUTF8(0, icu::StringPiece(text.data(), static_cast<std::int32_t>(text.size())),
                        sink, nullptr, error);
    if (U_FAILURE(error)) return fail(ErrorCode::job_limit, "the text does not normalize");
    return out;
}

std::string lower(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    for (std::size_t at = 0; at < text.size();) {
        const Utf8Step step = char_at(text, at);
        at += step.size;
        if (step.point == 0x130)
            out += "i\u0307";  // the one character whose lower case is two
        else
            append_utf8(out, static_cast<char32_t>(u_tolower(static_cast<UChar32>(step.point))));
    }
    return out;
}

std::string strip(std::string_view text, bool left, bool right) {
    while (left && !text.empty() && is_space(char_at(text, 0).point))
        text.remove_prefix(char_size(text.front()));
    while (right && !text.empty() && is_space(char_at(text, last_char(text)).point))
        text = text.substr(0, last_char(text));
    return std::string(text);
}

}  // namespace

Result<std::string> replace_all(const Pattern& pattern, std::string_view content,
                                std::string_view text, RegexScratch& scratch) {
    TRY_ASSIGN(const std::vector<Range> found, pattern.find_all(text, scratch));
    if (text.size() + found.size() * content.size() > kGrownBytesMax)
        return fail(ErrorCode::job_limit, "the text grows too long when normalized");
    std::string out;
    std::size_t at = 0;
    for (const Range& match : found) {
        out.append(text, at, match.begin - at);
        out.append(content);
        at = match.end;
    }
    out.append(text, at);
    return out;
}

Result<Normalizer::Step> Normalizer::parse_step(const Value& step) {
    TRY_ASSIGN(const std::string type, text_field(step, "type"));
    if (type == "NFC") return Step(Compose{Form::kNfc});
    if (type == "NFD") return Step(Compose{Form::kNfd});
    if (type == "NFKC") return Step(Compose{Form::kNfkc});
    if (type == "NFKD") return Step(Compose{Form::kNfkd});
    if (type == "Lowercase") return Step(Lowercase{});
    if (type == "ByteLevel") return Step(ToByteAlphabet{});
    if (type == "Prepend") {
        TRY_ASSIGN(std::string what, text_field(step, "prepend"));
        if (what.size() > kPatternBytesMax)
            return fail(ErrorCode::job_limit, "prepend is too long");
        return Step(Prepend{std::move(what)});
    }
    if (type == "Replace") {
        TRY_ASSIGN(Pattern pattern, pattern_field(step));
        TRY_ASSIGN(std::string content, text_field(step, "content"));
        return Step(Replace{std::move(pattern), std::move(content)});
    }
    if (type == "Strip") {
        TRY_ASSIGN(const bool left, flag_field(step, "strip_left", true));
        TRY_ASSIGN(const bool right, flag_field(step, "strip_right", true));
        return Step(Strip{left, right});
    }
    return unsupported_part("normalizer", type);
}

Result<Normalizer> Normalizer::parse(const Value* part) {
    Normalizer out;
    TRY_ASSIGN(const std::vector<Value> steps, steps_of(part, "normalizers"));
    for (const Value& step : steps) {
        TRY_ASSIGN(Step parsed, parse_step(step));
        out.steps_.push_back(std::move(parsed));
    }
    return out;
}

Result<std::string> Normalizer::run(const Step& step, std::string text, RegexScratch& scratch) {
    if (const auto* named = std::get_if<Compose>(&step)) {
        UErrorCode error = U_ZERO_ERROR;
        switch (named->form) {
            case Form::kNfc:
                return compose(icu::Normalizer2::getNFCInstance(error), error, std::move(text));
            case Form::kNfd:
                return compose(icu::Normalizer2::getNFDInstance(error), error, std::move(text));
            case Form::kNfkc:
                return compose(icu::Normalizer2::getNFKCInstance(error), error, std::move(text));
            case Form::kNfkd:
                return compose(icu::Normalizer2::getNFKDInstance(error), error, std::move(text));
        }
    }
    if (const auto* prepend = std::get_if<Prepend>(&step))
        return text.empty() ? std::move(text) : prepend->what + text;
    if (const auto* replace = std::get_if<Replace>(&step))
        return replace_all(replace->pattern, replace->content, text, scratch);
    if (std::holds_alternative<Lowercase>(step)) return lower(text);
    if (const auto* ends = std::get_if<Strip>(&step)) return strip(text, ends->left, ends->right);
    std::string out;
    for (const char c : text)
        out += byte_alphabet()[static_cast<unsigned char>(c)];
    return out;
}

Result<std::string> Normalizer::apply(std::string text, RegexScratch& scratch) const {
    for (const Step& step : steps_) {
        TRY_ASSIGN(text, run(step, std::move(text), scratch));
        if (text.size() > kGrownBytesMax)
            return fail(ErrorCode::job_limit, "the text grows too long when normalized");
    }
    return text;
}

}  // namespace worker::text
