// SPDX-License-Identifier: Apache-2.0
#include "worker/text/fields.hpp"

#include "worker/text/limits.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace worker::text {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

namespace {

constexpr std::size_t kNamedBytesMax = 64;

bool is_absent(const Value* value) {
    return value == nullptr || value->is(Value::Kind::kNull);
}

}  // namespace

Result<std::string> text_field(const Value& of, std::string_view name) {
    const Value* value = of.find(name);
    if (value == nullptr || value->text() == nullptr)
        return fail(ErrorCode::data_invalid, fmt::format("{} must be a string", name));
    return *value->text();
}

Result<std::string> text_field_or(const Value& of, std::string_view name, std::string otherwise) {
    if (is_absent(of.find(name))) return otherwise;
    return text_field(of, name);
}

Result<bool> flag_field(const Value& of, std::string_view name, bool otherwise) {
    const Value* value = of.find(name);
    if (is_absent(value)) return otherwise;
    if (value->boolean() == nullptr)
        return fail(ErrorCode::data_invalid, fmt::format("{} must be true or false", name));
    return *value->boolean();
}

Result<std::size_t> count_field(const Value& of, std::string_view name, std::size_t max) {
    const Value* value = of.find(name);
    const std::int64_t* number = value == nullptr ? nullptr : value->integer();
    if (number == nullptr || *number < 0 || static_cast<std::uint64_t>(*number) > max)
        return fail(ErrorCode::data_invalid, fmt::format("{} must be from 0 to {}", name, max));
    return static_cast<std::size_t>(*number);
}

Result<Pattern> pattern_field(const Value& of) {
    const Value* pattern = of.find("pattern");
    if (pattern == nullptr) return fail(ErrorCode::data_invalid, "pattern is missing");
    if (pattern->find("String") != nullptr) {
        TRY_ASSIGN(std::string literal, text_field(*pattern, "String"));
        if (literal.size() > kPatternBytesMax)
            return fail(ErrorCode::job_limit, "a pattern is too long");
        return Pattern(std::move(literal));
    }
    TRY_ASSIGN(const std::string source, text_field(*pattern, "Regex"));
    TRY_ASSIGN(Regex regex, Regex::compile(source));
    return Pattern(std::move(regex));
}

Result<std::vector<Value>> steps_of(const Value* part, std::string_view items) {
    std::vector<Value> out;
    if (is_absent(part)) return out;
    std::vector<Value> open{*part};  // last is next
    while (!open.empty()) {
        const Value next = std::move(open.back());
        open.pop_back();
        TRY_ASSIGN(const std::string type, text_field(next, "type"));
        if (type != "Sequence") {
            out.push_back(next);
        } else {
            const Value* list = next.find(items);
            if (list == nullptr || list->list() == nullptr)
                return fail(ErrorCode::data_invalid, fmt::format("{} must be a list", items));
            open.insert(open.end(), list->list()->rbegin(), list->list()->rend());
        }
        if (out.size() + open.size() > limits::kSteps)
            return fail(ErrorCode::job_limit,
                        fmt::format("{} has more than {} steps", items, limits::kSteps));
    }
    return out;
}

tl::unexpected<ledger::base::Error> unsupported_part(std::string_view kind, std::string_view name) {
    return fail(ErrorCode::unsupported,
                fmt::format("the {} {}", kind, name.substr(0, kNamedBytesMax)));
}

}  // namespace worker::text
