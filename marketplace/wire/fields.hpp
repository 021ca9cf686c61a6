// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/hex.hpp"
#include "ledger/base/ids.hpp"
#include "ledger/base/money.hpp"
#include "ledger/crypto/address.hpp"
#include "ledger/eth/messages.hpp"
#include "ledger/rpc/json.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <string_view>
#include <vector>

/// One list of fields per type serves both directions: a template `fields(visitor, value)` names
/// each member once; FieldWriter makes JSON text of it, FieldReader takes JSON apart strictly.
/// For the .cpp files of this room.
namespace marketplace::wire {

using ledger::base::Error;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;
using nlohmann::json;

inline constexpr std::size_t kTextMax = 64 * 1024;
inline constexpr std::size_t kListMax = 1024;

/// A JSON string. Our own texts need no escapes; the library knows what to do with the others.
inline void append_quoted(std::string& out, std::string_view text) {
    const bool plain = std::all_of(text.begin(), text.end(), [](char c) {
        return c >= ' ' && c < '\x7f' && c != '"' && c != '\\';
    });
    if (!plain) {
        out += ledger::rpc::to_text(json(text));
        return;
    }
    out += '"';
    out += text;
    out += '"';
}

/// Makes the text of a JSON object: compact, keys sorted, which is the canonical form. It grows in
/// one buffer, without a tree.
class FieldWriter {
 public:
    FieldWriter() {
        text_.reserve(1024);
        members_.reserve(24);
    }

    /// The object, once.
    [[nodiscard]] std::string take() {
        members_.push_back({{}, text_.size()});
        std::vector<std::size_t> order(members_.size() - 1);
        std::iota(order.begin(), order.end(), std::size_t{0});
        std::sort(order.begin(), order.end(), [this](std::size_t left, std::size_t right) {
            return members_[left].name < members_[right].name;
        });
        std::string out = "{";
        out.reserve(text_.size() + 24 * members_.size());
        for (const std::size_t i : order) {
            if (out.size() > 1) out += ',';
            append_quoted(out, members_[i].name);
            out += ':';
            out.append(text_, members_[i].begin, members_[i + 1].begin - members_[i].begin);
        }
        out += '}';
        return out;
    }

    void decimal(const char* name, std::uint64_t value) {
        begin(name);
        text_ += '"';
        append_number(value);
        text_ += '"';
    }
    template <typename Integer>
    void integer(const char* name, Integer value) {
        begin(name);
        append_number(value);
    }
    void text(const char* name, std::string_view value) {
        begin(name);
        append_quoted(text_, value);
    }
    /// A field that is left out when it has its usual value.
    template <typename Value>
    void optional(const char* name, const Value& value, const Value& usual) {
        if (value == usual) return;
        if constexpr (std::is_integral_v<Value>)
            integer(name, value);
        else if constexpr (std::is_same_v<Value, std::string>)
            text(name, value);
        else if constexpr (std::is_same_v<Value, std::vector<std::string>>)
            texts(name, value);
        else
            addresses(name, value);
    }
    /// One of the texts that `to_string` gives for `count` values; value 0 is left out.
    template <typename Enum>
    void optional_name(const char* name, Enum value, std::uint8_t /*count*/) {
        if (value != Enum{}) text(name, to_string(value));
    }
    template <std::size_t N, typename Tag>
    void hex(const char* name, const ledger::base::FixedBytes<N, Tag>& value) {
        text(name, ledger::base::to_hex(value));
    }
    void address(const char* name, const ledger::base::Address& value) {
        text(name, ledger::crypto::to_checksum(value));
    }
    void id(const char* name, const ledger::base::JobId& value) { text(name, value.to_string()); }
    void unit_kind(const char* name, ledger::eth::UnitKind value) {
        text(name, ledger::eth::to_string(value));
    }
    void order_class(const char* name, ledger::eth::OrderClass value) {
        text(name, ledger::eth::to_string(value));
    }
    void real(const char* name, double value) {
        begin(name);
        text_ += ledger::rpc::to_text(std::isfinite(value) ? json(value) : json(nullptr));
    }
    void texts(const char* name, const std::vector<std::string>& values) {
        list(name, values, [this](const std::string& value) { append_quoted(text_, value); });
    }
    void addresses(const char* name, const std::vector<ledger::base::Address>& values) {
        list(name, values, [this](const ledger::base::Address& value) {
            append_quoted(text_, ledger::crypto::to_checksum(value));
        });
    }
    /// A member object whose fields are listed by `fields(visitor, value)`.
    template <typename Value, typename Fields>
    void object(const char* name, const Value& value, Fields fields) {
        begin(name);
        append_object(value, fields);
    }
    /// A list that is left out when it is empty.
    template <typename Value, typename Fields>
    void optional_objects(const char* name, const std::vector<Value>& values, Fields fields) {
        if (!values.empty()) objects(name, values, fields);
    }
    /// Bytes that need not be text, as hex.
    void binary(const char* name, std::string_view value) {
        text(name, ledger::base::to_hex(ledger::base::as_bytes(value)));
    }
    template <typename Value, typename Fields>
    void objects(const char* name, const std::vector<Value>& values, Fields fields) {
        list(name, values, [&](const Value& value) { append_object(value, fields); });
    }

 private:
    struct Member {
        std::string_view name;
        std::size_t begin = 0;  ///< of its value, which ends where the next one begins
    };
    void begin(const char* name) { members_.push_back({name, text_.size()}); }
    template <typename Integer>
    void append_number(Integer value) {
        std::array<char, 20> digits{};
        const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
        text_.append(digits.data(), end);
    }
    template <typename Value, typename Append>
    void list(const char* name, const std::vector<Value>& values, Append append) {
        begin(name);
        text_ += '[';
        for (std::size_t i = 0; i < values.size(); ++i) {
            if (i > 0) text_ += ',';
            append(values[i]);
        }
        text_ += ']';
    }
    template <typename Value, typename Fields>
    void append_object(const Value& value, Fields fields) {
        FieldWriter inner;
        fields(inner, value);
        text_ += inner.take();
    }

    std::string text_;  ///< the values, in the order they came
    std::vector<Member> members_;
};

/// Takes a JSON object apart. Keeps the first trouble (missing, wrong type, out of range, unknown)
/// with a JSON pointer; `finish` returns it.
class FieldReader {
 public:
    explicit FieldReader(const json& object, std::string path = {})
        : object_(object), path_(std::move(path)) {
        seen_.reserve(24);
        if (!object.is_object()) set(ErrorCode::invalid_request, path_, "must be an object");
    }

    /// Fails on fields that were not asked for.
    [[nodiscard]] Result<void> finish() {
        if (!error_)
            for (const auto& [key, value] : object_.items())
                if (std::find(seen_.begin(), seen_.end(), key) == seen_.end()) {
                    set(ErrorCode::unknown_field, path_ + "/" + key.substr(0, 64), "is not known");
                    break;
                }
        if (error_) return tl::make_unexpected(*error_);
        return {};
    }
    [[nodiscard]] bool has(const char* name) const {
        return object_.is_object() && object_.contains(name);
    }

    void decimal(const char* name, std::uint64_t& out) {
        const json* value = find(name);
        if (value == nullptr) return;
        if (!value->is_string()) return wrong(name, "must be a decimal number in a string");
        const auto parsed = ledger::base::parse_u64(value->get_ref<const std::string&>());
        if (!parsed)
            return set(parsed.error().code(), at(name), "must be a decimal number below 2^64");
        out = *parsed;
    }
    template <typename Integer>
    void integer(const char* name, Integer& out) {
        const json* value = find(name);
        if (value == nullptr) return;
        if (!value->is_number_unsigned()) return wrong(name, "must be an integer, 0 or above");
        const auto number = value->get<std::uint64_t>();
        if (number > std::numeric_limits<Integer>::max())
            return set(ErrorCode::out_of_range, at(name), "is too large");
        out = static_cast<Integer>(number);
    }
    void text(const char* name, std::string& out) {
        const json* value = find(name);
        if (value == nullptr) return;
        if (!value->is_string()) return wrong(name, "must be a string");
        if (value->get_ref<const std::string&>().size() > kTextMax)
            return set(ErrorCode::too_large, at(name), "passes 64 KiB");
        out = value->get<std::string>();
    }
    /// A field that must be left out when it has its usual value: one document, one form.
    template <typename Value>
    void optional(const char* name, Value& out, const Value& usual) {
        out = usual;
        if (!has(name)) return;
        if constexpr (std::is_integral_v<Value>) {
            integer(name, out);
        } else if constexpr (std::is_same_v<Value, std::string>) {
            text(name, out);
        } else if constexpr (std::is_same_v<Value, std::vector<std::string>>) {
            texts(name, out);
        } else {
            addresses(name, out);
        }
        if (!error_ && out == usual) wrong(name, "has its usual value: leave it out");
    }
    template <typename Enum>
    void optional_name(const char* name, Enum& out, std::uint8_t count) {
        out = Enum{};
        if (!has(name)) return;
        std::string value;
        text(name, value);
        if (error_) return;
        for (std::uint8_t i = 1; i < count; ++i)
            if (value == to_string(static_cast<Enum>(i))) out = static_cast<Enum>(i);
        if (out == Enum{}) wrong(name, "is not one of the known names");
    }
    template <std::size_t N, typename Tag>
    void hex(const char* name, ledger::base::FixedBytes<N, Tag>& out) {
        using Fixed = ledger::base::FixedBytes<N, Tag>;
        const json* value = find(name);
        if (value == nullptr) return;
        if (!value->is_string()) return wrong(name, "must be a hex string");
        const auto parsed = ledger::base::parse_fixed<Fixed>(value->get_ref<const std::string&>());
        if (!parsed) return wrong(name, parsed.error().detail());
        out = *parsed;
    }
    void address(const char* name, ledger::base::Address& out) {
        const json* value = find(name);
        if (value == nullptr) return;
        if (!value->is_string()) return wrong(name, "must be an address");
        const auto parsed = ledger::crypto::parse_address(value->get_ref<const std::string&>());
        if (!parsed) return wrong(name, parsed.error().detail());
        out = *parsed;
    }
    void id(const char* name, ledger::base::JobId& out) {
        std::string value;
        text(name, value);
        if (error_) return;
        const auto parsed = ledger::base::JobId::parse(value);
        if (!parsed) return wrong(name, parsed.error().detail());
        out = *parsed;
    }
    void unit_kind(const char* name, ledger::eth::UnitKind& out) {
        named(name, out, &ledger::eth::parse_unit_kind);
    }
    void order_class(const char* name, ledger::eth::OrderClass& out) {
        named(name, out, &ledger::eth::parse_order_class);
    }
    void real(const char* name, double& out) {
        const json* value = find(name);
        if (value == nullptr) return;
        if (value->is_null()) {
            out = std::numeric_limits<double>::quiet_NaN();
        } else if (value->is_number()) {
            out = value->get<double>();
        } else {
            wrong(name, "must be a number or null");
        }
    }
    void texts(const char* name, std::vector<std::string>& out) {
        each(name, [&](const json& item) {
            if (!item.is_string() || item.get_ref<const std::string&>().size() > kTextMax)
                return wrong(name, "must be a list of strings");
            out.push_back(item.get<std::string>());
        });
    }
    void addresses(const char* name, std::vector<ledger::base::Address>& out) {
        each(name, [&](const json& item) {
            const auto parsed =
                item.is_string() ? ledger::crypto::parse_address(item.get_ref<const std::string&>())
                                 : Result<ledger::base::Address>(fail(ErrorCode::invalid_field));
            if (!parsed) return wrong(name, "must be a list of addresses");
            out.push_back(*parsed);
        });
    }
    template <typename Value, typename List>
    void object(const char* name, Value& value, List list) {
        const json* member = find(name);
        if (member == nullptr) return;
        read_object(*member, at(name), value, list);
    }
    template <typename Value, typename List>
    void optional_objects(const char* name, std::vector<Value>& values, List list) {
        if (!has(name)) return;
        objects(name, values, list);
        if (!error_ && values.empty()) wrong(name, "is empty: leave it out");
    }
    void binary(const char* name, std::string& out) {
        std::string hex;
        text(name, hex);
        if (error_) return;
        const auto bytes = ledger::base::parse_hex(hex, kTextMax);
        if (!bytes) return wrong(name, "must be hex");
        out.assign(bytes->begin(), bytes->end());
    }
    template <typename Value, typename List>
    void objects(const char* name, std::vector<Value>& values, List list) {
        std::size_t index = 0;
        each(name, [&](const json& item) {
            Value value;
            read_object(item, at(name) + "/" + std::to_string(index++), value, list);
            values.push_back(std::move(value));
        });
    }
    void set(ErrorCode code, const std::string& path, std::string_view problem) {
        if (!error_) error_ = Error(code, (path.empty() ? "/" : path) + " " + std::string(problem));
    }

 private:
    template <typename Value, typename List>
    void read_object(const json& member, std::string path, Value& value, List list) {
        FieldReader inner(member, std::move(path));
        list(inner, value);
        if (const auto result = inner.finish(); !result && !error_) error_ = result.error();
    }
    template <typename Use>
    void each(const char* name, Use use) {
        const json* member = find(name);
        if (member == nullptr) return;
        if (!member->is_array()) return wrong(name, "must be a list");
        if (member->size() > kListMax)
            return set(ErrorCode::too_large, at(name), "has more than 1024 items");
        for (const json& item : *member)
            use(item);
    }
    template <typename Enum>
    void named(const char* name, Enum& out, Result<Enum> (*parse)(std::string_view)) {
        std::string value;
        text(name, value);
        if (error_) return;
        const auto parsed = parse(value);
        if (!parsed) return wrong(name, parsed.error().detail());
        out = *parsed;
    }
    [[nodiscard]] std::string at(const char* name) const { return path_ + "/" + name; }
    void wrong(const char* name, std::string_view problem) {
        set(ErrorCode::invalid_field, at(name), problem);
    }
    [[nodiscard]] const json* find(const char* name) {
        if (!object_.is_object()) return nullptr;
        seen_.emplace_back(name);
        const auto found = object_.find(name);
        if (found == object_.end()) {
            set(ErrorCode::missing_field, at(name), "is missing");
            return nullptr;
        }
        return &*found;
    }

    const json& object_;
    std::string path_;
    std::vector<std::string_view> seen_;  ///< names asked for
    std::optional<Error> error_;
};

/// A whole document of one type.
template <typename Value, typename List>
[[nodiscard]] Result<Value> read_fields(const json& document, List list) {
    Value value;
    FieldReader reader(document);
    list(reader, value);
    TRY(reader.finish());
    return value;
}
template <typename Value, typename List>
[[nodiscard]] std::string write_fields(const Value& value, List list) {
    FieldWriter writer;
    list(writer, value);
    return writer.take();
}

}  // namespace marketplace::wire
