// SPDX-License-Identifier: Apache-2.0
#include "worker/text/template_lexer.hpp"

#include "worker/text/limits.hpp"
#include "worker/text/utf8.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

namespace worker::text {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

namespace {

using Kind = TemplateToken::Kind;

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}
bool is_name_start(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}
bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\v' || c == '\f';
}

/// Jinja knows one kind of line end, and the last of them does not count.
std::string with_plain_lines(std::string_view source) {
    std::string out;
    for (std::size_t i = 0; i < source.size(); ++i) {
        if (source[i] != '\r') {
            out += source[i];
            continue;
        }
        out += '\n';
        if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    }
    if (!out.empty() && out.back() == '\n') out.pop_back();
    return out;
}

class Lexer {
 public:
    explicit Lexer(std::string_view source) : source_(with_plain_lines(source)) {}

    Result<std::vector<TemplateToken>> run() {
        while (at_ < source_.size()) {
            TRY(text_and_tag());
        }
        push(Kind::kEnd, "");
        return std::move(tokens_);
    }

 private:
    Result<void> text_and_tag();
    Result<void> inside(std::string_view closing, Kind end);
    Result<void> token();
    Result<void> quoted();
    void number();
    [[nodiscard]] std::optional<char32_t> escape();
    [[nodiscard]] std::optional<char32_t> hex(std::size_t digits);
    [[nodiscard]] bool open_bracket(char c);
    void after_tag(char trim, bool is_output);

    [[nodiscard]] std::string_view rest() const { return std::string_view(source_).substr(at_); }
    [[nodiscard]] char peek(std::size_t offset = 0) const {
        return at_ + offset < source_.size() ? source_[at_ + offset] : '\0';
    }
    void step(std::size_t count) {
        for (; count > 0 && at_ < source_.size(); --count)
            line_ += source_[at_++] == '\n' ? 1U : 0U;
    }
    void push(Kind kind, std::string text) { tokens_.push_back({kind, std::move(text), line_}); }
    [[nodiscard]] tl::unexpected<ledger::base::Error> wrong(std::string_view what) const {
        return fail(ErrorCode::data_invalid, fmt::format("template line {}: {}", line_, what));
    }

    std::string source_;
    std::size_t at_ = 0;
    std::uint32_t line_ = 1;
    bool line_start_ = true;  // nothing but this text stands on its first line
    std::vector<TemplateToken> tokens_;
    std::string brackets_;  // open in this tag
};

Result<void> Lexer::text_and_tag() {
    std::size_t tag = at_;
    while (true) {
        tag = source_.find('{', tag);
        if (tag == std::string::npos || tag + 1 == source_.size()) {
            tag = source_.size();
            break;
        }
        const char next = source_[tag + 1];
        if (next == '{' || next == '%' || next == '#') break;
        ++tag;
    }
    std::string_view text = rest().substr(0, tag - at_);
    const bool found = tag < source_.size();
    const char type = found ? source_[tag + 1] : '\0';
    const char trim = found && tag + 2 < source_.size() ? source_[tag + 2] : '\0';
    if (found && trim == '-') {
        while (!text.empty() && is_blank(text.back()))
            text.remove_suffix(1);
    } else if (found && type != '{' && trim != '+') {
        const std::size_t line_end = text.rfind('\n');
        const std::size_t from = line_end == std::string_view::npos ? 0 : line_end + 1;
        const std::string_view indent = text.substr(from);
        if ((from > 0 || line_start_) && std::all_of(indent.begin(), indent.end(), is_blank))
            text = text.substr(0, from);
    }
    if (!text.empty()) push(Kind::kText, std::string(text));
    step(tag - at_);
    if (!found) return {};
    step(2 + (trim == '-' || trim == '+' ? 1U : 0U));
    if (type == '#') {
        const std::size_t end = source_.find("#}", at_);
        if (end == std::string::npos) return wrong("a comment does not end");
        const char last = end > at_ ? source_[end - 1] : '\0';
        step(end + 2 - at_);
        after_tag(last, false);
        return {};
    }
    push(type == '{' ? Kind::kOutputBegin : Kind::kBlockBegin, "");
    return type == '{' ? inside("}}", Kind::kOutputEnd) : inside("%}", Kind::kBlockEnd);
}

void Lexer::after_tag(char trim, bool is_output) {
    line_start_ = false;
    if (trim == '-') {
        while (at_ < source_.size() && is_blank(source_[at_]))
            step(1);
    } else if (!is_output && trim != '+' && peek() == '\n') {
        step(1);
        line_start_ = true;
    }
}

Result<void> Lexer::inside(std::string_view closing, Kind end) {
    brackets_.clear();
    while (at_ < source_.size()) {
        if (is_blank(peek())) {
            step(1);
            continue;
        }
        const char sign = peek();
        const bool signed_end = (sign == '-' || (sign == '+' && end == Kind::kBlockEnd)) &&
                                rest().substr(1).starts_with(closing);
        if (brackets_.empty() && (signed_end || rest().starts_with(closing))) {
            push(end, "");
            step(closing.size() + (signed_end ? 1U : 0U));
            after_tag(signed_end ? sign : '\0', end == Kind::kOutputEnd);
            return {};
        }
        TRY(token());
    }
    return wrong("a tag does not end");
}

bool Lexer::open_bracket(char c) {
    if (c == '(' || c == '[' || c == '{') brackets_ += c;
    if (c != ')' && c != ']' && c != '}') return true;
    const char opening = c == ')' ? '(' : c == ']' ? '[' : '{';
    if (brackets_.empty() || brackets_.back() != opening) return false;
    brackets_.pop_back();
    return true;
}

Result<void> Lexer::token() {
    const char c = peek();
    if (c == '"' || c == '\'') return quoted();
    if (is_digit(c)) {
        number();
        return {};
    }
    if (is_name_start(c)) {
        std::size_t size = 1;
        while (is_name_start(peek(size)) || is_digit(peek(size)))
            ++size;
        push(Kind::kName, std::string(rest().substr(0, size)));
        step(size);
        return {};
    }
    constexpr std::array<std::string_view, 25> kOperators = {
        "==", "!=", "<=", ">=", "//", "**", "<", ">", "=", "+", "-", "*", "/",
        "%",  "~",  "|",  ".",  ",",  ":",  "(", ")", "[", "]", "{", "}"};
    for (const std::string_view op : kOperators) {
        if (!rest().starts_with(op)) continue;
        if (!open_bracket(c)) return wrong("a bracket does not match");
        push(Kind::kOperator, std::string(op));
        step(op.size());
        return {};
    }
    return wrong(
        fmt::format("the character {} has no meaning here", rest().substr(0, char_size(c))));
}

void Lexer::number() {
    std::size_t size = 1;
    const auto digits = [&] {
        while (is_digit(peek(size)) || (peek(size) == '_' && is_digit(peek(size + 1))))
            ++size;
    };
    digits();
    bool whole = true;
    if (peek(size) == '.' && is_digit(peek(size + 1))) {
        whole = false;
        ++size;
        digits();
    }
    const std::size_t sign = peek(size + 1) == '+' || peek(size + 1) == '-' ? 2 : 1;
    if ((peek(size) == 'e' || peek(size) == 'E') && is_digit(peek(size + sign))) {
        whole = false;
        size += sign;
        digits();
    }
    std::string text(rest().substr(0, size));
    std::erase(text, '_');
    push(whole ? Kind::kInteger : Kind::kNumber, std::move(text));
    step(size);
}

std::optional<char32_t> Lexer::hex(std::size_t digits) {
    const std::string_view text = rest().substr(0, digits);
    std::uint32_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
    if (text.size() != digits || error != std::errc() || end != text.data() + digits)
        return std::nullopt;
    step(digits);
    if (value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF)) return std::nullopt;
    return value;
}

/// The character behind a backslash, which is read; nothing for an escape that is not known.
std::optional<char32_t> Lexer::escape() {
    const char c = peek();
    step(1);
    switch (c) {
        case 'n':
            return U'\n';
        case 't':
            return U'\t';
        case 'r':
            return U'\r';
        case 'b':
            return U'\b';
        case 'f':
            return U'\f';
        case 'v':
            return U'\v';
        case 'a':
            return U'\a';
        case '0':
            return U'\0';
        case '\\':
        case '\'':
        case '"':
            return static_cast<char32_t>(c);
        case 'x':
            return hex(2);
        case 'u':
            return hex(4);
        case 'U':
            return hex(8);
        default:
            return std::nullopt;
    }
}

Result<void> Lexer::quoted() {
    const char quote = peek();
    step(1);
    std::string text;
    while (peek() != quote) {
        if (at_ >= source_.size()) return wrong("a string does not end");
        if (peek() != '\\') {
            text += peek();
            step(1);
            continue;
        }
        step(1);
        if (peek() == '\n') {
            step(1);
            continue;
        }
        const std::size_t from = at_;
        const bool known =
            std::string_view("ntrbfva0\\'\"xuU").find(peek()) != std::string_view::npos;
        if (!known) {
            text += '\\';  // stays, as in Python
            continue;
        }
        const auto point = escape();
        if (!point) return wrong(fmt::format("the escape \\{}", source_.substr(from, 1)));
        append_utf8(text, *point);
    }
    step(1);
    push(Kind::kString, std::move(text));
    return {};
}

}  // namespace

Result<std::vector<TemplateToken>> lex_template(std::string_view source) {
    if (source.size() > limits::kTemplateBytes)
        return fail(ErrorCode::job_limit,
                    fmt::format("a template is longer than {} bytes", limits::kTemplateBytes));
    if (!is_utf8(source)) return fail(ErrorCode::data_invalid, "a template is not UTF-8");
    return Lexer(source).run();
}

}  // namespace worker::text
