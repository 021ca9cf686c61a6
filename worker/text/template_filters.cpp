// SPDX-License-Identifier: Apache-2.0
// The filters and tests of templates.
#include "worker/text/json_writer.hpp"
#include "worker/text/limits.hpp"
#include "worker/text/template_values.hpp"
#include "worker/text/utf8.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>

namespace worker::text {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;
using Kind = Value::Kind;

namespace {

using Filter = Result<Value> (*)(const Value&, const Arguments&, Budget&);
using Test = Result<bool> (*)(const Value&, const Arguments&, Budget&);

/// A filter that is a method of strings by another name.
template <const char* kMethod>
Result<Value> by_method(const Value& value, const Arguments& arguments, Budget& budget) {
    TRY_ASSIGN(std::string text, to_text(value, budget));
    return call_method(kMethod, Value(std::move(text)), arguments, budget);
}
constexpr char kStrip[] = "strip";
constexpr char kUpper[] = "upper";
constexpr char kLower[] = "lower";
constexpr char kTitle[] = "title";
constexpr char kCapitalize[] = "capitalize";
constexpr char kReplaceMethod[] = "replace";

/// The member behind a path such as "function.name".
Result<Value> attribute_of(const Value& value, const Value& path, Budget& budget) {
    if (path.text() == nullptr) return item_of(value, path, budget);
    Value at = value;
    std::string_view rest = *path.text();
    while (true) {
        const std::size_t dot = rest.find('.');
        const std::string_view name = rest.substr(0, dot);
        TRY_ASSIGN(at, item_of(at, Value(name), budget));
        if (dot == std::string_view::npos) return at;
        rest.remove_prefix(dot + 1);
    }
}

Result<Value> filter_tojson(const Value& value, const Arguments& arguments, Budget& budget) {
    JsonLayout layout;
    if (const Value* indent = arguments.get(0, "indent"); indent != nullptr && indent->integer())
        layout.indent =
            static_cast<std::size_t>(std::clamp<std::int64_t>(*indent->integer(), 0, 16));
    if (const Value* sort = arguments.get(9, "sort_keys")) layout.sort_keys = is_true(*sort);
    if (const Value* ascii = arguments.get(9, "ensure_ascii"); ascii != nullptr && is_true(*ascii))
        return fail(ErrorCode::unsupported, "tojson with ensure_ascii");
    if (const Value* marks = arguments.get(9, "separators"); marks != nullptr && marks->list()) {
        if (marks->list()->size() != 2 || !marks->list()->front().text() ||
            !marks->list()->back().text())
            return fail(ErrorCode::data_invalid, "the separators of tojson");
        layout.item_separator = *marks->list()->front().text();
        layout.key_separator = *marks->list()->back().text();
    }
    TRY_ASSIGN(std::string out, to_json(value, layout, limits::kRenderBytes));
    TRY(budget.spend(out.size()));
    return Value(std::move(out));
}

Result<Value> filter_length(const Value& value, const Arguments&, Budget&) {
    TRY_ASSIGN(const std::size_t length, length_of(value));
    return Value(static_cast<std::int64_t>(length));
}

Result<Value> filter_first(const Value& value, const Arguments&, Budget& budget) {
    TRY_ASSIGN(const List items, items_of(value, budget));
    return items.empty() ? Value::undefined() : items.front();
}

Result<Value> filter_last(const Value& value, const Arguments&, Budget& budget) {
    TRY_ASSIGN(const List items, items_of(value, budget));
    return items.empty() ? Value::undefined() : items.back();
}

Result<Value> filter_join(const Value& value, const Arguments& arguments, Budget& budget) {
    const Value* mark = arguments.get(0, "d");
    const Value* attribute = arguments.get(1, "attribute");
    std::string between;
    if (mark != nullptr) {
        TRY_ASSIGN(between, to_text(*mark, budget));
    }
    TRY_ASSIGN(const List items, items_of(value, budget));
    std::string out;
    for (std::size_t i = 0; i < items.size(); ++i) {
        Value item = items[i];
        if (attribute != nullptr) {
            TRY_ASSIGN(item, attribute_of(item, *attribute, budget));
        }
        TRY_ASSIGN(const std::string text, to_text(item, budget));
        TRY(budget.spend(between.size()));
        if (i > 0) out += between;
        out += text;
    }
    return Value(std::move(out));
}

Result<Value> filter_default(const Value& value, const Arguments& arguments, Budget&) {
    const Value* otherwise = arguments.get(0, "default_value");
    const Value* also_false = arguments.get(1, "boolean");
    const bool replace = value.is(Kind::kUndefined) ||
                         (also_false != nullptr && is_true(*also_false) && !is_true(value));
    if (!replace) return value;
    return otherwise == nullptr ? Value("") : *otherwise;
}

Result<Value> filter_list(const Value& value, const Arguments&, Budget& budget) {
    TRY_ASSIGN(List items, items_of(value, budget));
    return Value::make_list(std::move(items));
}

Result<Value> filter_string(const Value& value, const Arguments&, Budget& budget) {
    TRY_ASSIGN(std::string text, to_text(value, budget));
    return Value(std::move(text));
}

Result<Value> filter_int(const Value& value, const Arguments& arguments, Budget&) {
    const Value* otherwise = arguments.get(0, "default");
    if (const std::string* text = value.text()) {
        std::int64_t number = 0;
        const char* end = text->data() + text->size();
        const auto parsed = std::from_chars(text->data(), end, number);
        if (parsed.ec == std::errc() && parsed.ptr == end) return Value(number);
    } else if (const auto number = number_of(value); number && std::abs(*number) < 9e15) {
        return Value(static_cast<std::int64_t>(*number));
    }
    return otherwise == nullptr ? Value(std::int64_t{0}) : *otherwise;
}

Result<Value> filter_float(const Value& value, const Arguments& arguments, Budget&) {
    const Value* otherwise = arguments.get(0, "default");
    if (const std::string* text = value.text()) {
        double number = 0;
        const char* end = text->data() + text->size();
        const auto parsed = std::from_chars(text->data(), end, number);
        if (parsed.ec == std::errc() && parsed.ptr == end) return Value(number);
    } else if (const auto number = number_of(value)) {
        return Value(*number);
    }
    return otherwise == nullptr ? Value(0.0) : *otherwise;
}

Result<Value> filter_abs(const Value& value, const Arguments&, Budget& budget) {
    TRY_ASSIGN(const double number, number_of(value));
    if (number >= 0) return value;
    return calculate("-", Value(std::int64_t{0}), value, budget);
}

Result<Value> filter_items(const Value& value, const Arguments&, Budget& budget) {
    return call_method("items", value.is(Kind::kUndefined) ? *Value::make_dict({}) : value, {},
                       budget);
}

/// Sorts by the keys; equal ones keep their order. Keys without an order are an error.
Result<void> sort_by(std::vector<std::pair<Value, Value>>& keyed, bool reverse, Budget& budget) {
    std::size_t once = 16 * keyed.size();
    for (const auto& [key, item] : keyed)
        once += key.text() == nullptr ? 0 : key.text()->size();
    for (std::size_t n = keyed.size(); n > 0; n /= 2)
        TRY(budget.spend(once));
    for (std::size_t i = 0; i + 1 < keyed.size(); ++i)
        TRY(is_less(keyed[i].first, keyed[i + 1].first));  // the same kind throughout
    std::stable_sort(keyed.begin(), keyed.end(), [reverse](const auto& a, const auto& b) {
        return reverse ? is_less(b.first, a.first).value_or(false)
                       : is_less(a.first, b.first).value_or(false);
    });
    return {};
}

/// The key Jinja sorts by: letters without their case unless asked otherwise.
Result<Value> sort_key(const Value& value, const Arguments& arguments, Budget& budget) {
    const Value* exact = arguments.get(1, "case_sensitive");
    if (value.text() == nullptr || (exact != nullptr && is_true(*exact))) return value;
    return call_method("lower", value, {}, budget);
}

Result<Value> filter_dictsort(const Value& value, const Arguments& arguments, Budget& budget) {
    if (value.dict() == nullptr) return fail(ErrorCode::data_invalid, "dictsort of no mapping");
    if (!arguments.values.empty() || !arguments.keywords.empty())
        return fail(ErrorCode::unsupported, "dictsort with arguments");
    std::vector<std::pair<Value, Value>> keyed;
    for (const auto& [name, member] : value.dict()->members()) {
        TRY_ASSIGN(Value key, sort_key(Value(name), arguments, budget));
        TRY_ASSIGN(Value pair, Value::make_list({Value(name), member}));
        keyed.emplace_back(std::move(key), std::move(pair));
    }
    TRY(sort_by(keyed, false, budget));
    List out;
    for (auto& [key, pair] : keyed)
        out.push_back(std::move(pair));
    return Value::make_list(std::move(out));
}

Result<Value> filter_sort(const Value& value, const Arguments& arguments, Budget& budget) {
    const Value* reverse = arguments.get(0, "reverse");
    const Value* attribute = arguments.get(2, "attribute");
    TRY_ASSIGN(List items, items_of(value, budget));
    std::vector<std::pair<Value, Value>> keyed;
    for (Value& item : items) {
        Value by = item;
        if (attribute != nullptr) {
            TRY_ASSIGN(by, attribute_of(item, *attribute, budget));
        }
        TRY_ASSIGN(by, sort_key(by, arguments, budget));
        keyed.emplace_back(std::move(by), std::move(item));
    }
    TRY(sort_by(keyed, reverse != nullptr && is_true(*reverse), budget));
    List out;
    for (auto& [key, item] : keyed)
        out.push_back(std::move(item));
    return Value::make_list(std::move(out));
}

Result<Value> filter_reverse(const Value& value, const Arguments&, Budget& budget) {
    return slice_of(value, Value(), Value(), Value(std::int64_t{-1}), budget);
}

Result<Value> filter_unique(const Value& value, const Arguments&, Budget& budget) {
    TRY_ASSIGN(const List items, items_of(value, budget));
    List out;
    for (const Value& item : items) {
        bool seen = false;
        for (const Value& kept : out) {
            TRY_ASSIGN(seen, are_equal(kept, item, budget));
            if (seen) break;
        }
        if (!seen) out.push_back(item);
    }
    return Value::make_list(std::move(out));
}

Result<Value> filter_map(const Value& value, const Arguments& arguments, Budget& budget) {
    const Value* attribute = arguments.get(9, "attribute");
    const Value* otherwise = arguments.get(9, "default");
    Arguments rest;
    if (attribute == nullptr) {
        if (arguments.values.empty() || arguments.values.front().text() == nullptr)
            return fail(ErrorCode::data_invalid, "map without a filter or an attribute");
        if (*arguments.values.front().text() == "map")
            return fail(ErrorCode::unsupported, "map of map");
        rest.values.assign(arguments.values.begin() + 1, arguments.values.end());
        rest.keywords = arguments.keywords;
    }
    TRY_ASSIGN(const List items, items_of(value, budget));
    List out;
    for (const Value& item : items) {
        if (attribute == nullptr) {
            TRY_ASSIGN(Value made,
                       apply_filter(*arguments.values.front().text(), item, rest, budget));
            out.push_back(std::move(made));
            continue;
        }
        TRY_ASSIGN(Value member, attribute_of(item, *attribute, budget));
        out.push_back(member.is(Kind::kUndefined) && otherwise != nullptr ? *otherwise : member);
    }
    return Value::make_list(std::move(out));
}

/// select, reject, selectattr and rejectattr.
Result<Value> pick(const Value& value, const Arguments& arguments, Budget& budget,
                   bool by_attribute, bool wanted) {
    const std::size_t first = by_attribute ? 1 : 0;
    if (arguments.values.size() < first)
        return fail(ErrorCode::data_invalid, "a selection without its attribute");
    Arguments rest;
    std::string test;
    if (arguments.values.size() > first) {
        if (arguments.values[first].text() == nullptr)
            return fail(ErrorCode::data_invalid, "a selection whose test is no name");
        test = *arguments.values[first].text();
        rest.values.assign(arguments.values.begin() + static_cast<std::ptrdiff_t>(first) + 1,
                           arguments.values.end());
    }
    TRY_ASSIGN(const List items, items_of(value, budget));
    List out;
    for (const Value& item : items) {
        Value tested = item;
        if (by_attribute) {
            TRY_ASSIGN(tested, attribute_of(item, arguments.values.front(), budget));
        }
        bool passes = is_true(tested);
        if (!test.empty()) {
            TRY_ASSIGN(passes, apply_test(test, tested, rest, budget));
        }
        if (passes == wanted) out.push_back(item);
    }
    return Value::make_list(std::move(out));
}

Result<Value> filter_select(const Value& value, const Arguments& arguments, Budget& budget) {
    return pick(value, arguments, budget, false, true);
}
Result<Value> filter_reject(const Value& value, const Arguments& arguments, Budget& budget) {
    return pick(value, arguments, budget, false, false);
}
Result<Value> filter_selectattr(const Value& value, const Arguments& arguments, Budget& budget) {
    return pick(value, arguments, budget, true, true);
}
Result<Value> filter_rejectattr(const Value& value, const Arguments& arguments, Budget& budget) {
    return pick(value, arguments, budget, true, false);
}

Result<Value> filter_sum(const Value& value, const Arguments&, Budget& budget) {
    TRY_ASSIGN(const List items, items_of(value, budget));
    Value total(std::int64_t{0});
    for (const Value& item : items) {
        TRY_ASSIGN(total, calculate("+", total, item, budget));
    }
    return total;
}

Result<Value> extreme(const Value& value, Budget& budget, bool largest) {
    TRY_ASSIGN(const List items, items_of(value, budget));
    if (items.empty()) return Value::undefined();
    Value best = items.front();
    for (const Value& item : items) {
        TRY(budget.spend(item.text() == nullptr ? 1 : item.text()->size()));
        TRY_ASSIGN(const bool better, largest ? is_less(best, item) : is_less(item, best));
        if (better) best = item;
    }
    return best;
}
Result<Value> filter_max(const Value& value, const Arguments&, Budget& budget) {
    return extreme(value, budget, true);
}
Result<Value> filter_min(const Value& value, const Arguments&, Budget& budget) {
    return extreme(value, budget, false);
}

Result<Value> filter_safe(const Value& value, const Arguments&, Budget&) {
    return value;
}

Result<Value> filter_indent(const Value& value, const Arguments& arguments, Budget& budget) {
    const Value* width = arguments.get(0, "width");
    const Value* first = arguments.get(1, "first");
    const Value* blank = arguments.get(2, "blank");
    TRY_ASSIGN(const std::string text, to_text(value, budget));
    std::string margin(4, ' ');
    if (width != nullptr && width->text() != nullptr) margin = *width->text();
    if (width != nullptr && width->integer() != nullptr)
        margin.assign(static_cast<std::size_t>(std::clamp<std::int64_t>(*width->integer(), 0, 256)),
                      ' ');
    std::string out;
    for (std::size_t at = 0; at <= text.size();) {
        const std::size_t end = std::min(text.find('\n', at), text.size());
        const bool starts = at == 0;
        const bool wanted = starts ? first != nullptr && is_true(*first)
                                   : end > at || (blank != nullptr && is_true(*blank));
        TRY(budget.spend(margin.size() + end - at + 1));
        if (wanted) out += margin;
        out.append(text, at, end - at);
        if (end < text.size()) out += '\n';
        at = end + 1;
    }
    return Value(std::move(out));
}

const std::map<std::string_view, Filter>& filters() {
    static const std::map<std::string_view, Filter> kFilters = {
        {"abs", filter_abs},
        {"capitalize", by_method<kCapitalize>},
        {"count", filter_length},
        {"d", filter_default},
        {"default", filter_default},
        {"dictsort", filter_dictsort},
        {"first", filter_first},
        {"float", filter_float},
        {"indent", filter_indent},
        {"int", filter_int},
        {"items", filter_items},
        {"join", filter_join},
        {"last", filter_last},
        {"length", filter_length},
        {"list", filter_list},
        {"lower", by_method<kLower>},
        {"map", filter_map},
        {"max", filter_max},
        {"min", filter_min},
        {"reject", filter_reject},
        {"rejectattr", filter_rejectattr},
        {"replace", by_method<kReplaceMethod>},
        {"reverse", filter_reverse},
        {"safe", filter_safe},
        {"select", filter_select},
        {"selectattr", filter_selectattr},
        {"sort", filter_sort},
        {"string", filter_string},
        {"sum", filter_sum},
        {"title", by_method<kTitle>},
        {"tojson", filter_tojson},
        {"trim", by_method<kStrip>},
        {"unique", filter_unique},
        {"upper", by_method<kUpper>},
    };
    return kFilters;
}

// ── tests ────────────────────────────────────────────────────────────────────────────────────────

template <Kind... kKinds>
Result<bool> is_kind(const Value& value, const Arguments&, Budget&) {
    return (value.is(kKinds) || ...);
}

Result<bool> test_defined(const Value& value, const Arguments&, Budget&) {
    return !value.is(Kind::kUndefined);
}

template <bool kWanted>
Result<bool> test_flag(const Value& value, const Arguments&, Budget&) {
    return value.boolean() != nullptr && *value.boolean() == kWanted;
}

Result<Value> rest_by(const Value& value, const Value& divisor, Budget& budget) {
    return calculate("%", value, divisor, budget);
}
template <std::int64_t kRest>
Result<bool> test_half(const Value& value, const Arguments&, Budget& budget) {
    TRY_ASSIGN(const Value rest, rest_by(value, Value(std::int64_t{2}), budget));
    return are_equal(rest, Value(kRest), budget);
}

Result<bool> test_divisible(const Value& value, const Arguments& arguments, Budget& budget) {
    const Value* by = arguments.get(0, "num");
    if (by == nullptr) return fail(ErrorCode::data_invalid, "divisibleby without a number");
    TRY_ASSIGN(const Value rest, rest_by(value, *by, budget));
    return are_equal(rest, Value(std::int64_t{0}), budget);
}

/// The comparisons by name.
template <char kFirst, char kSecond>
Result<bool> test_compare(const Value& value, const Arguments& arguments, Budget& budget) {
    const Value* other = arguments.get(0, "other");
    if (other == nullptr) return fail(ErrorCode::data_invalid, "a comparison with nothing");
    if constexpr (kFirst == 'e') {
        return are_equal(value, *other, budget);
    } else if constexpr (kFirst == 'n') {
        TRY_ASSIGN(const bool same, are_equal(value, *other, budget));
        return !same;
    } else if constexpr (kFirst == 'i') {
        return contains(*other, value, budget);
    } else {
        TRY(budget.spend(value.text() == nullptr ? 1 : value.text()->size()));
        const bool less = kFirst == 'l';
        TRY_ASSIGN(const bool strict, less ? is_less(value, *other) : is_less(*other, value));
        if (strict || kSecond == 't') return strict;
        return are_equal(value, *other, budget);
    }
}

template <const char* kMethod>
Result<bool> test_case(const Value& value, const Arguments&, Budget& budget) {
    if (value.text() == nullptr) return false;
    TRY_ASSIGN(const Value changed, call_method(kMethod, value, {}, budget));
    return are_equal(changed, value, budget);
}

const std::map<std::string_view, Test>& tests() {
    static const std::map<std::string_view, Test> kTests = {
        {"boolean", is_kind<Kind::kBoolean>},
        {"callable", is_kind<Kind::kMacro>},
        {"defined", test_defined},
        {"divisibleby", test_divisible},
        {"eq", test_compare<'e', 'q'>},
        {"equalto", test_compare<'e', 'q'>},
        {"even", test_half<0>},
        {"false", test_flag<false>},
        {"float", is_kind<Kind::kNumber>},
        {"ge", test_compare<'g', 'e'>},
        {"gt", test_compare<'g', 't'>},
        {"in", test_compare<'i', 'n'>},
        {"integer", is_kind<Kind::kInteger>},
        {"iterable", is_kind<Kind::kText, Kind::kList, Kind::kDict, Kind::kUndefined>},
        {"le", test_compare<'l', 'e'>},
        {"lower", test_case<kLower>},
        {"lt", test_compare<'l', 't'>},
        {"mapping", is_kind<Kind::kDict>},
        {"ne", test_compare<'n', 'e'>},
        {"none", is_kind<Kind::kNull>},
        {"number", is_kind<Kind::kInteger, Kind::kNumber, Kind::kBoolean>},
        {"odd", test_half<1>},
        {"sequence", is_kind<Kind::kText, Kind::kList, Kind::kDict, Kind::kUndefined>},
        {"string", is_kind<Kind::kText>},
        {"true", test_flag<true>},
        {"undefined", is_kind<Kind::kUndefined>},
        {"upper", test_case<kUpper>},
    };
    return kTests;
}

}  // namespace

Result<Value> apply_filter(std::string_view name, const Value& value, const Arguments& arguments,
                           Budget& budget) {
    const auto found = filters().find(name);
    if (found == filters().end())
        return fail(ErrorCode::unsupported, fmt::format("the filter {}", name.substr(0, 64)));
    return found->second(value, arguments, budget);
}

Result<bool> apply_test(std::string_view name, const Value& value, const Arguments& arguments,
                        Budget& budget) {
    const auto found = tests().find(name);
    if (found == tests().end())
        return fail(ErrorCode::unsupported, fmt::format("the test {}", name.substr(0, 64)));
    return found->second(value, arguments, budget);
}

}  // namespace worker::text
