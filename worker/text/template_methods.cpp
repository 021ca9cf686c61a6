// SPDX-License-Identifier: Apache-2.0
// The methods of strings and mappings that templates call.
#include "worker/text/template_values.hpp"
#include "worker/text/utf8.hpp"

#include <fmt/format.h>
#include <unicode/locid.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>

#include <algorithm>
#include <limits>
#include <map>
#include <optional>

namespace worker::text {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

namespace {

using Method = Result<Value> (*)(const std::string&, const Arguments&, Budget&);

/// White space as Python strips it: the separators of U+001C to U+001F count too.
bool is_python_space(char32_t point) {
    return is_space(point) || (point >= 0x1C && point <= 0x1F);
}

/// A string argument; null when left out or none.
Result<const std::string*> text_argument(const Arguments& arguments, std::size_t place,
                                         std::string_view name) {
    const Value* value = arguments.get(place, name);
    if (value == nullptr || value->is(Value::Kind::kNull)) return nullptr;
    if (value->text() == nullptr)
        return fail(ErrorCode::data_invalid,
                    fmt::format("{} where a string is needed", kind_name(*value)));
    return value->text();
}

Result<const std::string*> needed_text(const Arguments& arguments, std::size_t place,
                                       std::string_view name) {
    TRY_ASSIGN(const std::string* text, text_argument(arguments, place, name));
    if (text == nullptr) return fail(ErrorCode::data_invalid, fmt::format("{} is missing", name));
    return text;
}

/// How often at most; no limit when left out or negative.
std::size_t count_argument(const Arguments& arguments, std::size_t place, std::string_view name) {
    const Value* value = arguments.get(place, name);
    const std::int64_t* count = value == nullptr ? nullptr : value->integer();
    if (count == nullptr || *count < 0) return std::numeric_limits<std::size_t>::max();
    return static_cast<std::size_t>(*count);
}

Result<Value> strip(std::string_view text, const Arguments& arguments, bool left, bool right) {
    TRY_ASSIGN(const std::string* chars, text_argument(arguments, 0, "chars"));
    const auto goes = [&](std::string_view one) {
        return chars == nullptr ? is_python_space(char_at(one, 0).point)
                                : chars->find(one) != std::string::npos;
    };
    while (left && !text.empty() && goes(text.substr(0, char_size(text.front()))))
        text.remove_prefix(char_size(text.front()));
    while (right && !text.empty() && goes(text.substr(last_char(text))))
        text = text.substr(0, last_char(text));
    return Value(text);
}
Result<Value> method_strip(const std::string& text, const Arguments& arguments, Budget&) {
    return strip(text, arguments, true, true);
}
Result<Value> method_lstrip(const std::string& text, const Arguments& arguments, Budget&) {
    return strip(text, arguments, true, false);
}
Result<Value> method_rstrip(const std::string& text, const Arguments& arguments, Budget&) {
    return strip(text, arguments, false, true);
}

/// Whether the text has one of the affixes, or the only one, at that end.
Result<Value> has_affix(std::string_view text, const Arguments& arguments, bool at_start) {
    const Value* affix = arguments.get(0, "prefix");
    if (affix == nullptr || arguments.values.size() > 1)
        return fail(ErrorCode::unsupported, "startswith or endswith with a place");
    const auto has = [&](const Value& one) {
        return one.text() != nullptr &&
               (at_start ? text.starts_with(*one.text()) : text.ends_with(*one.text()));
    };
    if (affix->list() != nullptr)
        return Value(std::any_of(affix->list()->begin(), affix->list()->end(), has));
    TRY(needed_text(arguments, 0, "prefix"));
    return Value(has(*affix));
}
Result<Value> method_startswith(const std::string& text, const Arguments& arguments, Budget&) {
    return has_affix(text, arguments, true);
}
Result<Value> method_endswith(const std::string& text, const Arguments& arguments, Budget&) {
    return has_affix(text, arguments, false);
}

/// Parts between white space; the last takes the rest once `count` cuts are made.
List split_spaces(std::string_view text, std::size_t count) {
    List out;
    const auto skip = [&](std::size_t at, bool space) {
        while (at < text.size() && is_python_space(char_at(text, at).point) == space)
            at += char_size(text[at]);
        return at;
    };
    for (std::size_t at = skip(0, true); at < text.size();) {
        if (out.size() == count) {
            std::string_view rest = text.substr(at);
            while (is_python_space(char_at(rest, last_char(rest)).point))
                rest = rest.substr(0, last_char(rest));
            out.emplace_back(rest);
            break;
        }
        const std::size_t end = skip(at, false);
        out.emplace_back(text.substr(at, end - at));
        at = skip(end, true);
    }
    return out;
}

Result<Value> method_split(const std::string& text, const Arguments& arguments, Budget& budget) {
    TRY_ASSIGN(const std::string* mark, text_argument(arguments, 0, "sep"));
    const std::size_t count = count_argument(arguments, 1, "maxsplit");
    TRY(budget.spend(16 * text.size()));
    if (mark == nullptr) return Value::make_list(split_spaces(text, count));
    if (mark->empty()) return fail(ErrorCode::data_invalid, "split by nothing");
    List out;
    std::size_t at = 0;
    while (out.size() < count) {
        const std::size_t found = text.find(*mark, at);
        if (found == std::string::npos) break;
        out.emplace_back(text.substr(at, found - at));
        at = found + mark->size();
    }
    out.emplace_back(text.substr(at));
    return Value::make_list(std::move(out));
}

Result<Value> method_rsplit(const std::string& text, const Arguments& arguments, Budget& budget) {
    TRY_ASSIGN(const std::string* mark, needed_text(arguments, 0, "sep"));
    const std::size_t count = count_argument(arguments, 1, "maxsplit");
    TRY(budget.spend(16 * text.size()));
    if (mark->empty()) return fail(ErrorCode::data_invalid, "split by nothing");
    List out;
    std::string_view rest = text;
    while (out.size() < count) {
        const std::size_t found = rest.rfind(*mark);
        if (found == std::string_view::npos) break;
        out.emplace_back(rest.substr(found + mark->size()));
        rest = rest.substr(0, found);
    }
    out.emplace_back(rest);
    std::reverse(out.begin(), out.end());
    return Value::make_list(std::move(out));
}

Result<Value> method_splitlines(const std::string& text, const Arguments&, Budget& budget) {
    TRY(budget.spend(16 * text.size()));
    List out;
    std::size_t at = 0;
    while (at < text.size()) {
        const std::size_t end = std::min(text.find_first_of("\r\n", at), text.size());
        out.emplace_back(text.substr(at, end - at));
        at = end + (text.compare(end, 2, "\r\n") == 0 ? 2 : 1);
    }
    return Value::make_list(std::move(out));
}

Result<Value> method_replace(const std::string& text, const Arguments& arguments, Budget& budget) {
    TRY_ASSIGN(const std::string* old, needed_text(arguments, 0, "old"));
    TRY_ASSIGN(const std::string* with, needed_text(arguments, 1, "new"));
    std::size_t left = count_argument(arguments, 2, "count");
    if (old->empty()) return fail(ErrorCode::unsupported, "replace of nothing");
    std::string out;
    std::size_t at = 0;
    for (; left > 0; --left) {
        const std::size_t found = text.find(*old, at);
        if (found == std::string::npos) break;
        TRY(budget.spend(found - at + with->size()));
        out.append(text, at, found - at).append(*with);
        at = found + old->size();
    }
    TRY(budget.spend(text.size() - at));
    return Value(out.append(text, at));
}

enum class Case : std::uint8_t { kUpper, kLower, kTitle, kCapital };

Result<Value> in_case(const std::string& text, Budget& budget, Case wanted) {
    TRY(budget.spend(4 * text.size()));
    const auto whole = [](std::string_view part, bool upper) {
        icu::UnicodeString wide =
            icu::UnicodeString::fromUTF8({part.data(), static_cast<std::int32_t>(part.size())});
        const icu::Locale& nowhere = icu::Locale::getRoot();
        std::string out;
        (upper ? wide.toUpper(nowhere) : wide.toLower(nowhere)).toUTF8String(out);
        return out;
    };
    if (wanted == Case::kUpper || wanted == Case::kLower)
        return Value(whole(text, wanted == Case::kUpper));
    std::string out;
    bool begins = true;
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t size = char_size(text[at]);
        const std::string one = text.substr(at, size);
        out += whole(one, begins);
        // A title starts a word behind everything that is no letter.
        begins =
            wanted == Case::kTitle && !u_isalpha(static_cast<UChar32>(char_at(text, at).point));
        at += size;
    }
    return Value(std::move(out));
}
template <Case kWanted>
Result<Value> method_case(const std::string& text, const Arguments&, Budget& budget) {
    return in_case(text, budget, kWanted);
}

Result<Value> method_join(const std::string& text, const Arguments& arguments, Budget& budget) {
    if (arguments.values.size() != 1) return fail(ErrorCode::data_invalid, "join of nothing");
    Arguments between;
    between.values.emplace_back(text);
    return apply_filter("join", arguments.values.front(), between, budget);
}

Result<Value> method_find(const std::string& text, const Arguments& arguments, Budget& budget) {
    TRY_ASSIGN(const std::string* wanted, needed_text(arguments, 0, "sub"));
    TRY(budget.spend(text.size()));
    const std::size_t found = text.find(*wanted);
    if (found == std::string::npos) return Value(std::int64_t{-1});
    return Value(static_cast<std::int64_t>(count_chars(std::string_view(text).substr(0, found))));
}

Result<Value> method_count(const std::string& text, const Arguments& arguments, Budget& budget) {
    TRY_ASSIGN(const std::string* wanted, needed_text(arguments, 0, "sub"));
    TRY(budget.spend(text.size()));
    if (wanted->empty()) return fail(ErrorCode::unsupported, "count of nothing");
    std::int64_t count = 0;
    for (std::size_t at = text.find(*wanted); at != std::string::npos;
         at = text.find(*wanted, at + wanted->size()))
        ++count;
    return Value(count);
}

Result<Value> method_isdigit(const std::string& text, const Arguments&, Budget& budget) {
    TRY(budget.spend(text.size()));
    return Value(!text.empty() && std::all_of(text.begin(), text.end(),
                                              [](char c) { return c >= '0' && c <= '9'; }));
}

Result<Value> method_removeprefix(const std::string& text, const Arguments& arguments, Budget&) {
    TRY_ASSIGN(const std::string* affix, needed_text(arguments, 0, "prefix"));
    return text.starts_with(*affix) ? Value(text.substr(affix->size())) : Value(text);
}
Result<Value> method_removesuffix(const std::string& text, const Arguments& arguments, Budget&) {
    TRY_ASSIGN(const std::string* affix, needed_text(arguments, 0, "suffix"));
    return text.ends_with(*affix) ? Value(text.substr(0, text.size() - affix->size()))
                                  : Value(text);
}

const std::map<std::string_view, Method>& text_methods() {
    static const std::map<std::string_view, Method> kMethods = {
        {"capitalize", method_case<Case::kCapital>},
        {"count", method_count},
        {"endswith", method_endswith},
        {"find", method_find},
        {"isdigit", method_isdigit},
        {"join", method_join},
        {"lower", method_case<Case::kLower>},
        {"lstrip", method_lstrip},
        {"removeprefix", method_removeprefix},
        {"removesuffix", method_removesuffix},
        {"replace", method_replace},
        {"rsplit", method_rsplit},
        {"rstrip", method_rstrip},
        {"split", method_split},
        {"splitlines", method_splitlines},
        {"startswith", method_startswith},
        {"strip", method_strip},
        {"title", method_case<Case::kTitle>},
        {"upper", method_case<Case::kUpper>},
    };
    return kMethods;
}

Result<Value> dict_method(std::string_view name, const Value& value, const Arguments& arguments,
                          Budget& budget) {
    const Dict& dict = *value.dict();
    if (name == "get") {
        const Value* key = arguments.get(0, "key");
        const Value* otherwise = arguments.get(1, "default");
        const Value* found =
            key == nullptr || key->text() == nullptr ? nullptr : dict.find(*key->text());
        if (found != nullptr) return *found;
        return otherwise == nullptr ? Value() : *otherwise;
    }
    TRY(budget.spend(32 * dict.size()));
    List out;
    for (const auto& [key, member] : dict.members()) {
        if (name == "keys") {
            out.emplace_back(key);
        } else if (name == "values") {
            out.push_back(member);
        } else {
            TRY_ASSIGN(Value pair, Value::make_list({Value(key), member}));
            out.push_back(std::move(pair));
        }
    }
    return Value::make_list(std::move(out));
}

}  // namespace

Result<Value> call_method(std::string_view name, const Value& value, const Arguments& arguments,
                          Budget& budget) {
    if (const std::string* text = value.text()) {
        TRY(budget.spend(text->size()));
        if (const auto found = text_methods().find(name); found != text_methods().end())
            return found->second(*text, arguments, budget);
    }
    const bool known = name == "get" || name == "items" || name == "keys" || name == "values";
    if (value.dict() != nullptr && known) return dict_method(name, value, arguments, budget);
    if (value.is(Value::Kind::kUndefined))
        return fail(ErrorCode::data_invalid,
                    fmt::format("an undefined value has no {}", name.substr(0, 64)));
    return fail(ErrorCode::unsupported,
                fmt::format("the method {} of {}", name.substr(0, 64), kind_name(value)));
}

}  // namespace worker::text
