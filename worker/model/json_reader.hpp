// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace worker::model {

/// A value of a parsed document, which lives as long as any of its values. Read only.
class JsonValue {
 public:
    /// Parses one document with a depth limit and no repeated key: invalid_json otherwise.
    [[nodiscard]] static ledger::base::Result<JsonValue> parse(std::string_view text,
                                                               std::size_t depth_max);

    [[nodiscard]] bool is_object() const;
    [[nodiscard]] bool is_array() const;
    /// Members or items; 0 for other values.
    [[nodiscard]] std::size_t size() const;
    /// An integer of at least 0.
    [[nodiscard]] std::optional<std::uint64_t> number() const;
    /// Any finite number.
    [[nodiscard]] std::optional<double> real() const;
    [[nodiscard]] std::optional<bool> flag() const;
    [[nodiscard]] bool is_null() const;
    /// Null for what is not a string.
    [[nodiscard]] const std::string* text() const;
    [[nodiscard]] std::optional<JsonValue> member(std::string_view name) const;
    [[nodiscard]] std::vector<std::pair<std::string, JsonValue>> members() const;
    [[nodiscard]] std::vector<JsonValue> items() const;

 private:
    JsonValue(std::shared_ptr<const void> document, const void* node)
        : document_(std::move(document)), node_(node) {}
    std::shared_ptr<const void> document_;
    const void* node_;  // an nlohmann::json, whose header stays in the .cpp
};

/// Reads the fields of one object; every failure carries `code` and names the field.
class FieldReader {
 public:
    FieldReader(JsonValue object, std::string path, ledger::base::ErrorCode code)
        : object_(std::move(object)), path_(std::move(path)), code_(code) {}

    /// Refuses what is not an object or has a field that is not listed.
    [[nodiscard]] ledger::base::Result<void> only(
        std::initializer_list<std::string_view> names) const;
    [[nodiscard]] bool has(std::string_view name) const;
    [[nodiscard]] ledger::base::Result<std::uint64_t> integer(std::string_view name,
                                                              std::uint64_t min,
                                                              std::uint64_t max) const;
    [[nodiscard]] ledger::base::Result<std::uint64_t> integer_or(std::string_view name,
                                                                 std::uint64_t min,
                                                                 std::uint64_t max,
                                                                 std::uint64_t otherwise) const;
    [[nodiscard]] ledger::base::Result<std::string> text(std::string_view name,
                                                         std::size_t size_max) const;
    /// A decimal string without sign or exponent, such as "0.001".
    [[nodiscard]] ledger::base::Result<double> decimal(std::string_view name, double min,
                                                       double max) const;
    /// true or false.
    [[nodiscard]] ledger::base::Result<bool> flag(std::string_view name) const;
    /// The member, which must be an object.
    [[nodiscard]] ledger::base::Result<FieldReader> object(std::string_view name) const;
    [[nodiscard]] tl::unexpected<ledger::base::Error> refuse(std::string_view name,
                                                             std::string_view why) const;
    /// The items of a list; empty when there is none of that name.
    [[nodiscard]] ledger::base::Result<std::vector<JsonValue>> list(std::string_view name,
                                                                    std::size_t size_max) const;

 private:
    JsonValue object_;
    std::string path_;
    ledger::base::ErrorCode code_;
};

}  // namespace worker::model
