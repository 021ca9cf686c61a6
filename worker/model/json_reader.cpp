// SPDX-License-Identifier: Apache-2.0
#include "worker/model/json_reader.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>
#include <vector>

namespace worker::model {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;
using nlohmann::json;

namespace {

const json& as_json(const void* node) {
    return *static_cast<const json*>(node);
}

}  // namespace

Result<JsonValue> JsonValue::parse(std::string_view text, std::size_t depth_max) {
    bool repeated = false;
    bool too_deep = false;
    std::vector<std::set<std::string>> keys;
    const auto watch = [&](int depth, json::parse_event_t event, json& value) {
        if (event == json::parse_event_t::object_start ||
            event == json::parse_event_t::array_start) {
            if (static_cast<std::size_t>(depth) >= depth_max) too_deep = true;
        }
        if (event == json::parse_event_t::object_start) keys.emplace_back();
        if (event == json::parse_event_t::object_end && !keys.empty()) keys.pop_back();
        if (event == json::parse_event_t::key && !keys.empty()) {
            if (!keys.back().insert(value.get<std::string>()).second) repeated = true;
        }
        return !too_deep;
    };
    // The nesting is checked before the parser sees it: its own stack must not grow with the input.
    std::size_t depth = 0;
    std::size_t deepest = 0;
    bool quoted = false;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        if (quoted) {
            if (c == '\\') ++i;
            if (c == '"') quoted = false;
        } else if (c == '"') {
            quoted = true;
        } else if (c == '{' || c == '[') {
            deepest = std::max(deepest, ++depth);
        } else if ((c == '}' || c == ']') && depth > 0) {
            --depth;
        }
    }
    if (deepest > depth_max)
        return fail(ErrorCode::invalid_json, fmt::format("nested deeper than {}", depth_max));
    json value = json::parse(text.begin(), text.end(), watch, /*allow_exceptions=*/false);
    if (value.is_discarded()) return fail(ErrorCode::invalid_json, "not a JSON document");
    if (repeated) return fail(ErrorCode::invalid_json, "a key is repeated");
    auto document = std::make_shared<const json>(std::move(value));
    const void* root = document.get();
    return JsonValue(std::move(document), root);
}

bool JsonValue::is_object() const {
    return as_json(node_).is_object();
}
bool JsonValue::is_array() const {
    return as_json(node_).is_array();
}

std::size_t JsonValue::size() const {
    return is_object() || is_array() ? as_json(node_).size() : 0;
}

std::optional<std::uint64_t> JsonValue::number() const {
    const json& value = as_json(node_);
    if (value.is_number_unsigned()) return value.get<std::uint64_t>();
    return std::nullopt;
}

std::optional<double> JsonValue::real() const {
    const json& value = as_json(node_);
    if (!value.is_number()) return std::nullopt;
    const auto number = value.get<double>();
    return std::isfinite(number) ? std::optional(number) : std::nullopt;
}

std::optional<bool> JsonValue::flag() const {
    const json& value = as_json(node_);
    if (value.is_boolean()) return value.get<bool>();
    return std::nullopt;
}

bool JsonValue::is_null() const {
    return as_json(node_).is_null();
}

const std::string* JsonValue::text() const {
    return as_json(node_).get_ptr<const std::string*>();
}

std::optional<JsonValue> JsonValue::member(std::string_view name) const {
    const json& value = as_json(node_);
    if (!value.is_object()) return std::nullopt;
    const auto found = value.find(std::string(name));
    if (found == value.end()) return std::nullopt;
    return JsonValue(document_, &*found);
}

std::vector<std::pair<std::string, JsonValue>> JsonValue::members() const {
    std::vector<std::pair<std::string, JsonValue>> out;
    if (!is_object()) return out;
    for (const auto& item : as_json(node_).items())
        out.emplace_back(item.key(), JsonValue(document_, &item.value()));
    return out;
}

std::vector<JsonValue> JsonValue::items() const {
    std::vector<JsonValue> out;
    if (!is_array()) return out;
    for (const json& item : as_json(node_))
        out.push_back(JsonValue(document_, &item));
    return out;
}

Result<void> FieldReader::only(std::initializer_list<std::string_view> names) const {
    if (!object_.is_object()) return fail(code_, fmt::format("{} must be an object", path_));
    for (const auto& [name, value] : object_.members()) {
        if (std::find(names.begin(), names.end(), name) == names.end())
            return refuse(name, "is not a known field");
    }
    return {};
}

bool FieldReader::has(std::string_view name) const {
    return object_.member(name).has_value();
}

tl::unexpected<ledger::base::Error> FieldReader::refuse(std::string_view name,
                                                        std::string_view why) const {
    return fail(code_, fmt::format("{}{}{} {}", path_, path_.empty() ? "" : ".", name, why));
}

Result<std::uint64_t> FieldReader::integer(std::string_view name, std::uint64_t min,
                                           std::uint64_t max) const {
    const auto value = object_.member(name);
    if (!value) return refuse(name, "is missing");
    const auto number = value->number();
    if (!number) return refuse(name, "must be an integer of at least 0");
    if (*number < min || *number > max)
        return refuse(name, fmt::format("is {}, allowed are {} to {}", *number, min, max));
    return *number;
}

Result<std::uint64_t> FieldReader::integer_or(std::string_view name, std::uint64_t min,
                                              std::uint64_t max, std::uint64_t otherwise) const {
    if (!has(name)) return otherwise;
    return integer(name, min, max);
}

Result<std::string> FieldReader::text(std::string_view name, std::size_t size_max) const {
    const auto value = object_.member(name);
    if (!value) return refuse(name, "is missing");
    const std::string* found = value->text();
    if (found == nullptr) return refuse(name, "must be a string");
    if (found->size() > size_max)
        return refuse(name, fmt::format("is longer than {} bytes", size_max));
    return *found;
}

Result<double> FieldReader::decimal(std::string_view name, double min, double max) const {
    TRY_ASSIGN(const std::string digits, text(name, 32));
    const bool plain = !digits.empty() && digits.front() != '.' && digits.back() != '.' &&
                       std::all_of(digits.begin(), digits.end(),
                                   [](char c) { return (c >= '0' && c <= '9') || c == '.'; }) &&
                       std::count(digits.begin(), digits.end(), '.') <= 1;
    if (!plain) return refuse(name, "must be a decimal string such as \"0.001\"");
    double number = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
    if (error != std::errc() || end != digits.data() + digits.size())
        return refuse(name, "must be a decimal string such as \"0.001\"");
    if (number < min || number > max)
        return refuse(name, fmt::format("is {}, allowed are {} to {}", digits, min, max));
    return number;
}

Result<bool> FieldReader::flag(std::string_view name) const {
    const auto value = object_.member(name);
    if (!value) return refuse(name, "is missing");
    const auto found = value->flag();
    if (!found) return refuse(name, "must be true or false");
    return *found;
}

Result<FieldReader> FieldReader::object(std::string_view name) const {
    const auto value = object_.member(name);
    if (!value) return refuse(name, "is missing");
    if (!value->is_object()) return refuse(name, "must be an object");
    return FieldReader(
        *value, path_.empty() ? std::string(name) : fmt::format("{}.{}", path_, name), code_);
}

Result<std::vector<JsonValue>> FieldReader::list(std::string_view name,
                                                 std::size_t size_max) const {
    const auto value = object_.member(name);
    if (!value) return std::vector<JsonValue>();
    if (!value->is_array() || value->size() > size_max)
        return refuse(name, fmt::format("must be a list of at most {}", size_max));
    return value->items();
}

}  // namespace worker::model
