// SPDX-License-Identifier: Apache-2.0
#include "worker/text/json_writer.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdlib>

namespace worker::text {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

namespace {

void append_quoted(std::string& out, std::string_view text) {
    out += '"';
    for (const char c : text) {
        switch (c) {
            case '"':
                out += "\\\"";
                break;
            case '\\':
                out += "\\\\";
                break;
            case '\n':
                out += "\\n";
                break;
            case '\r':
                out += "\\r";
                break;
            case '\t':
                out += "\\t";
                break;
            case '\b':
                out += "\\b";
                break;
            case '\f':
                out += "\\f";
                break;
            default:
                if (static_cast<unsigned char>(c) < 0x20)
                    out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
                else
                    out += c;
        }
    }
    out += '"';
}

/// Writes one document. It calls itself once a level, and a Value has at most kDepthMax of them.
class Writer {
 public:
    Writer(const JsonLayout& layout, std::size_t size_max) : layout_(layout), size_max_(size_max) {}

    Result<void> write(const Value& value, std::size_t level) {
        if (out.size() > size_max_) return fail(ErrorCode::job_limit, "the JSON text is too long");
        switch (value.kind()) {
            case Value::Kind::kNull:
                out += "null";
                break;
            case Value::Kind::kBoolean:
                out += *value.boolean() ? "true" : "false";
                break;
            case Value::Kind::kInteger:
                out += std::to_string(*value.integer());
                break;
            case Value::Kind::kNumber:
                out += json_number(*value.number());
                break;
            case Value::Kind::kText:
                append_quoted(out, *value.text());
                break;
            case Value::Kind::kList:
                return write_list(*value.list(), level);
            case Value::Kind::kDict:
                return write_dict(*value.dict(), level);
            default:
                return fail(ErrorCode::unsupported, "JSON has no form for this value");
        }
        return {};
    }
    std::string out;

 private:
    static std::string json_number(double number) {
        if (std::isnan(number)) return "NaN";
        if (std::isinf(number)) return number > 0 ? "Infinity" : "-Infinity";
        return number_text(number);
    }
    void separate(bool first, std::size_t level) {
        if (layout_.indent == 0) {
            if (!first) out += layout_.item_separator;
            return;
        }
        // With an indent the blank behind the separator would end the line.
        if (!first)
            out += layout_.item_separator == ", " ? std::string(",") : layout_.item_separator;
        end_line(level);
    }
    void end_line(std::size_t level) {
        if (layout_.indent == 0) return;
        out += '\n';
        out.append(layout_.indent * level, ' ');
    }
    Result<void> write_list(const List& items, std::size_t level) {
        out += '[';
        for (std::size_t i = 0; i < items.size(); ++i) {
            separate(i == 0, level + 1);
            TRY(write(items[i], level + 1));
        }
        if (!items.empty()) end_line(level);
        out += ']';
        return {};
    }
    Result<void> write_dict(const Dict& members, std::size_t level) {
        std::vector<const std::pair<std::string, Value>*> order;
        for (const auto& member : members.members())
            order.push_back(&member);
        if (layout_.sort_keys)
            std::sort(order.begin(), order.end(),
                      [](const auto* a, const auto* b) { return a->first < b->first; });
        out += '{';
        for (std::size_t i = 0; i < order.size(); ++i) {
            separate(i == 0, level + 1);
            append_quoted(out, order[i]->first);
            out += layout_.key_separator;
            TRY(write(order[i]->second, level + 1));
        }
        if (!order.empty()) end_line(level);
        out += '}';
        return {};
    }

    const JsonLayout& layout_;
    std::size_t size_max_;
};

}  // namespace

std::string number_text(double number) {
    if (std::isnan(number)) return "nan";
    if (std::isinf(number)) return number > 0 ? "inf" : "-inf";
    // The fewest digits that name the number, then Python's choice between 0.0001 and 1e-05.
    std::array<char, 64> buffer{};
    const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), number,
                                   std::chars_format::scientific)
                         .ptr;
    const std::string text(buffer.data(), end);
    const int exponent = std::atoi(text.c_str() + text.find('e') + 1);
    if (exponent < -4 || exponent >= 16) return text;
    const auto fixed_end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), number,
                                         std::chars_format::fixed)
                               .ptr;
    std::string fixed(buffer.data(), fixed_end);
    if (fixed.find('.') == std::string::npos) fixed += ".0";
    return fixed;
}

Result<std::string> to_json(const Value& value, const JsonLayout& layout, std::size_t size_max) {
    Writer writer(layout, size_max);
    TRY(writer.write(value, 0));
    if (writer.out.size() > size_max)
        return fail(ErrorCode::job_limit, "the JSON text is too long");
    return std::move(writer.out);
}

}  // namespace worker::text
