// SPDX-License-Identifier: Apache-2.0
#include "worker/text/template_values.hpp"

#include "worker/text/json_writer.hpp"
#include "worker/text/utf8.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

namespace worker::text {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;
using Kind = Value::Kind;

namespace {

constexpr std::size_t kItemUnits = 16;  // a Value's place in a list

/// A text in quotes, as Python shows it inside a list.
std::string quoted(std::string_view text) {
    const bool use_double =
        text.find('\'') != std::string_view::npos && text.find('"') == std::string_view::npos;
    const char quote = use_double ? '"' : '\'';
    std::string out(1, quote);
    for (const char c : text) {
        if (c == '\n')
            out += "\\n";
        else if (c == '\r')
            out += "\\r";
        else if (c == '\t')
            out += "\\t";
        else if (c == '\\' || c == quote)
            (out += '\\') += c;
        else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F)
            out += fmt::format("\\x{:02x}", static_cast<unsigned>(c));
        else
            out += c;
    }
    return out += quote;
}

/// Writes a value into `out`; calls itself once a level, of which a Value has at most kDepthMax.
Result<void> append_shown(std::string& out, const Value& value, bool inside, Budget& budget) {
    const std::size_t before = out.size();
    switch (value.kind()) {
        case Kind::kUndefined:
            out += inside ? "Undefined" : "";
            break;
        case Kind::kNull:
            out += "None";
            break;
        case Kind::kBoolean:
            out += *value.boolean() ? "True" : "False";
            break;
        case Kind::kInteger:
            out += std::to_string(*value.integer());
            break;
        case Kind::kNumber:
            out += number_text(*value.number());
            break;
        case Kind::kText:
            out += inside ? quoted(*value.text()) : *value.text();
            break;
        case Kind::kList:
            out += '[';
            for (const Value& item : *value.list()) {
                if (&item != &value.list()->front()) out += ", ";
                TRY(append_shown(out, item, true, budget));
            }
            out += ']';
            break;
        case Kind::kDict:
            out += '{';
            for (const auto& member : value.dict()->members()) {
                if (&member != &value.dict()->members().front()) out += ", ";
                out += quoted(member.first) + ": ";
                TRY(append_shown(out, member.second, true, budget));
            }
            out += '}';
            break;
        default:
            return fail(ErrorCode::unsupported, fmt::format("{} as text", kind_name(value)));
    }
    return budget.spend(1 + out.size() - before);
}

std::optional<std::int64_t> whole(const Value& value) {
    if (const auto* number = value.integer()) return *number;
    if (const auto* flag = value.boolean()) return *flag ? 1 : 0;
    return std::nullopt;
}

bool is_number(const Value& value) {
    return whole(value) || value.number() != nullptr;
}

tl::unexpected<ledger::base::Error> no_such(std::string_view what, const Value& a, const Value& b) {
    return fail(ErrorCode::data_invalid, fmt::format("{} {} {}", kind_name(a), what, kind_name(b)));
}

/// Python's // and %: towards minus infinity, the rest with the divisor's sign.
Result<Value> divide_whole(std::string_view op, std::int64_t a, std::int64_t b) {
    if (b == 0) return fail(ErrorCode::data_invalid, "a division by zero");
    if (b == -1) {
        if (op == "%") return Value(std::int64_t{0});
        if (a == std::numeric_limits<std::int64_t>::min())
            return fail(ErrorCode::data_invalid, "a number is too large");
        return Value(-a);
    }
    const std::int64_t rest = a % b;
    const bool adjust = rest != 0 && (rest < 0) != (b < 0);
    return op == "%" ? Value(adjust ? rest + b : rest) : Value(adjust ? a / b - 1 : a / b);
}

Result<Value> calculate_whole(std::string_view op, std::int64_t a, std::int64_t b) {
    std::int64_t out = 0;
    bool over = false;
    if (op == "//" || op == "%") return divide_whole(op, a, b);
    if (op == "+") over = __builtin_add_overflow(a, b, &out);
    if (op == "-") over = __builtin_sub_overflow(a, b, &out);
    if (op == "*") over = __builtin_mul_overflow(a, b, &out);
    if (over) return fail(ErrorCode::data_invalid, "a number is too large");
    return Value(out);
}

Result<Value> calculate_numbers(std::string_view op, const Value& left, const Value& right) {
    const auto whole_a = whole(left);
    const auto whole_b = whole(right);
    if (whole_a && whole_b && op != "/" && op != "**")
        return calculate_whole(op, *whole_a, *whole_b);
    TRY_ASSIGN(const double a, number_of(left));
    TRY_ASSIGN(const double b, number_of(right));
    if ((op == "/" || op == "//" || op == "%") && b == 0.0)
        return fail(ErrorCode::data_invalid, "a division by zero");
    if (op == "+") return Value(a + b);
    if (op == "-") return Value(a - b);
    if (op == "*") return Value(a * b);
    if (op == "/") return Value(a / b);
    if (op == "//") return Value(std::floor(a / b));
    if (op == "%") return Value(a - b * std::floor(a / b));
    const double raised = std::pow(a, b);
    if (whole_a && whole_b && *whole_b >= 0) {
        if (std::abs(raised) >= 9007199254740992.0)
            return fail(ErrorCode::data_invalid, "a number is too large");
        return Value(static_cast<std::int64_t>(raised));
    }
    return Value(raised);
}

Result<Value> repeat(const std::string& text, std::int64_t times, Budget& budget) {
    std::string out;
    if (times <= 0 || text.empty()) return Value(std::move(out));
    const auto count = static_cast<std::size_t>(times);
    if (count > std::numeric_limits<std::size_t>::max() / text.size())
        return fail(ErrorCode::job_limit, "a text grows too long");
    TRY(budget.spend(count * text.size()));
    for (std::size_t i = 0; i < count; ++i)
        out += text;
    return Value(std::move(out));
}

/// The places [start, stop) with `step` that Python's slice takes of `size` items.
std::vector<std::size_t> places(std::size_t size, const std::optional<std::int64_t>& start,
                                const std::optional<std::int64_t>& stop, std::int64_t step) {
    const auto count = static_cast<std::int64_t>(size);
    const auto clamp = [&](const std::optional<std::int64_t>& asked, std::int64_t otherwise) {
        if (!asked) return otherwise;
        const std::int64_t place =
            *asked < 0 ? std::max<std::int64_t>(*asked, -count - 1) + count : *asked;
        return step > 0 ? std::clamp<std::int64_t>(place, 0, count)
                        : std::clamp<std::int64_t>(place, -1, count - 1);
    };
    const std::int64_t first = clamp(start, step > 0 ? 0 : count - 1);
    const std::int64_t last = clamp(stop, step > 0 ? count : -1);
    // A step beyond the size takes one item at most, and must not overflow the sum.
    const std::int64_t stride = std::clamp<std::int64_t>(step, -count - 1, count + 1);
    std::vector<std::size_t> out;
    for (std::int64_t i = first; stride > 0 ? i < last : i > last; i += stride)
        out.push_back(static_cast<std::size_t>(i));
    return out;
}

}  // namespace

Result<void> Budget::spend(std::size_t units) {
    if (units > left_) {
        left_ = 0;
        return fail(ErrorCode::job_limit, "the template takes too many steps");
    }
    left_ -= units;
    return {};
}

const Value* Arguments::get(std::size_t place, std::string_view name) const {
    if (place < values.size()) return &values[place];
    for (const auto& [keyword, value] : keywords) {
        if (keyword == name) return &value;
    }
    return nullptr;
}

std::string_view kind_name(const Value& value) {
    switch (value.kind()) {
        case Kind::kNull:
            return "none";
        case Kind::kBoolean:
            return "a truth value";
        case Kind::kInteger:
            return "an integer";
        case Kind::kNumber:
            return "a number";
        case Kind::kText:
            return "a string";
        case Kind::kList:
            return "a list";
        case Kind::kDict:
            return "a mapping";
        case Kind::kUndefined:
            return "an undefined value";
        case Kind::kNamespace:
            return "a namespace";
        case Kind::kMacro:
            return "a macro";
        case Kind::kLoop:
            return "a loop";
    }
    return "a value";
}

bool is_true(const Value& value) {
    switch (value.kind()) {
        case Kind::kNull:
        case Kind::kUndefined:
            return false;
        case Kind::kBoolean:
            return *value.boolean();
        case Kind::kInteger:
            return *value.integer() != 0;
        case Kind::kNumber:
            return *value.number() != 0.0;
        case Kind::kText:
            return !value.text()->empty();
        case Kind::kList:
            return !value.list()->empty();
        case Kind::kDict:
            return value.dict()->size() > 0;
        default:
            return true;
    }
}

// Calls itself once a level. Shared lists make a value far larger than its memory: every node is
// paid.
Result<bool> are_equal(const Value& a, const Value& b, Budget& budget) {
    TRY(budget.spend(1));
    if (const auto x = whole(a), y = whole(b); x && y) return *x == *y;
    if (is_number(a) && is_number(b)) return *number_of(a) == *number_of(b);
    if (a.kind() != b.kind()) return false;
    if (a.text() != nullptr) {
        TRY(budget.spend(a.text()->size()));
        return *a.text() == *b.text();
    }
    if (a.handle() != nullptr) return *a.handle() == *b.handle();
    if (const List* left = a.list()) {
        if (left->size() != b.list()->size()) return false;
        for (std::size_t i = 0; i < left->size(); ++i) {
            TRY_ASSIGN(const bool same, are_equal((*left)[i], (*b.list())[i], budget));
            if (!same) return false;
        }
    }
    if (const Dict* left = a.dict()) {
        if (left->size() != b.dict()->size()) return false;
        for (const auto& [name, member] : left->members()) {
            const Value* other = b.find(name);
            if (other == nullptr) return false;
            TRY_ASSIGN(const bool same, are_equal(member, *other, budget));
            if (!same) return false;
        }
    }
    return true;  // both are none, or nothing differs
}

Result<std::string> to_text(const Value& value, Budget& budget) {
    std::string out;
    TRY(append_shown(out, value, false, budget));
    return out;
}

Result<double> number_of(const Value& value) {
    if (const auto number = whole(value)) return static_cast<double>(*number);
    if (const double* number = value.number()) return *number;
    return fail(ErrorCode::data_invalid,
                fmt::format("{} where a number is needed", kind_name(value)));
}

Result<bool> is_less(const Value& a, const Value& b) {
    if (const auto x = whole(a), y = whole(b); x && y) return *x < *y;
    if (is_number(a) && is_number(b)) return *number_of(a) < *number_of(b);
    if (a.text() != nullptr && b.text() != nullptr) return *a.text() < *b.text();
    return no_such("compared with", a, b);
}

Result<bool> contains(const Value& of, const Value& item, Budget& budget) {
    if (const std::string* text = of.text()) {
        if (item.text() == nullptr) return no_such("looked up in", item, of);
        TRY(budget.spend(text->size()));
        return text->find(*item.text()) != std::string::npos;
    }
    if (const List* list = of.list()) {
        for (const Value& one : *list) {
            TRY_ASSIGN(const bool same, are_equal(one, item, budget));
            if (same) return true;
        }
        return false;
    }
    if (of.dict() != nullptr) return item.text() != nullptr && of.find(*item.text()) != nullptr;
    if (of.is(Kind::kUndefined)) return false;
    return no_such("looked up in", item, of);
}

Result<List> items_of(const Value& value, Budget& budget) {
    List out;
    if (const List* list = value.list()) {
        TRY(budget.spend(kItemUnits * list->size()));
        return *list;
    }
    if (const Dict* dict = value.dict()) {
        TRY(budget.spend(kItemUnits * dict->size()));
        for (const auto& [name, member] : dict->members())
            out.emplace_back(name);
        return out;
    }
    if (const std::string* text = value.text()) {
        TRY(budget.spend(kItemUnits * text->size()));
        for (std::size_t at = 0; at < text->size(); at += char_size((*text)[at]))
            out.emplace_back(text->substr(at, char_size((*text)[at])));
        return out;
    }
    if (value.is(Kind::kUndefined)) return out;
    return fail(ErrorCode::data_invalid, fmt::format("a loop over {}", kind_name(value)));
}

Result<std::size_t> length_of(const Value& value) {
    if (const std::string* text = value.text()) return count_chars(*text);
    if (const List* list = value.list()) return list->size();
    if (const Dict* dict = value.dict()) return dict->size();
    if (value.is(Kind::kUndefined)) return std::size_t{0};
    return fail(ErrorCode::data_invalid, fmt::format("the length of {}", kind_name(value)));
}

Result<Value> item_of(const Value& of, const Value& key, Budget& budget) {
    if (of.is(Kind::kUndefined))
        return fail(ErrorCode::data_invalid, "an undefined value has no members");
    if (of.dict() != nullptr) {
        const Value* found = key.text() == nullptr ? nullptr : of.find(*key.text());
        return found == nullptr ? Value::undefined() : *found;
    }
    const auto place = whole(key);
    if (!place || (of.list() == nullptr && of.text() == nullptr)) return Value::undefined();
    TRY_ASSIGN(const std::size_t size, length_of(of));
    if (of.text() != nullptr) TRY(budget.spend(of.text()->size()));
    const auto count = static_cast<std::int64_t>(size);
    const std::int64_t index = *place < 0 ? *place + count : *place;
    if (index < 0 || index >= count) return Value::undefined();
    if (const List* list = of.list()) return (*list)[static_cast<std::size_t>(index)];
    std::size_t at = 0;
    for (std::int64_t i = 0; i < index; ++i)
        at += char_size((*of.text())[at]);
    return Value(of.text()->substr(at, char_size((*of.text())[at])));
}

Result<Value> slice_of(const Value& of, const Value& start, const Value& stop, const Value& step,
                       Budget& budget) {
    for (const Value* part : {&start, &stop, &step}) {
        if (!part->is(Kind::kNull) && !whole(*part))
            return fail(ErrorCode::data_invalid, fmt::format("a slice by {}", kind_name(*part)));
    }
    if (of.list() == nullptr && of.text() == nullptr)
        return fail(ErrorCode::data_invalid, fmt::format("a slice of {}", kind_name(of)));
    const std::int64_t stride = whole(step).value_or(1);
    if (stride == 0) return fail(ErrorCode::data_invalid, "a slice with step 0");
    TRY_ASSIGN(const List items, items_of(of, budget));
    List out;
    for (const std::size_t place : places(items.size(), whole(start), whole(stop), stride))
        out.push_back(items[place]);
    if (of.list() != nullptr) return Value::make_list(std::move(out));
    std::string text;
    for (const Value& item : out)
        text += *item.text();
    return Value(std::move(text));
}

Result<Value> calculate(std::string_view op, const Value& a, const Value& b, Budget& budget) {
    if (op == "~") {
        TRY_ASSIGN(std::string left, to_text(a, budget));
        TRY_ASSIGN(const std::string right, to_text(b, budget));
        return Value(std::move(left) + right);
    }
    if (is_number(a) && is_number(b)) return calculate_numbers(op, a, b);
    if (op == "+" && a.text() != nullptr && b.text() != nullptr) {
        TRY(budget.spend(a.text()->size() + b.text()->size()));
        return Value(*a.text() + *b.text());
    }
    if (op == "+" && a.list() != nullptr && b.list() != nullptr) {
        TRY(budget.spend(kItemUnits * (a.list()->size() + b.list()->size())));
        List out = *a.list();
        out.insert(out.end(), b.list()->begin(), b.list()->end());
        return Value::make_list(std::move(out));
    }
    if (op == "*" && a.text() != nullptr && whole(b)) return repeat(*a.text(), *whole(b), budget);
    if (op == "*" && b.text() != nullptr && whole(a)) return repeat(*b.text(), *whole(a), budget);
    return no_such(op, a, b);
}

}  // namespace worker::text
