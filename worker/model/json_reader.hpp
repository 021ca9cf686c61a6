// SPDX-License-Identifier: Apache-2.0
#pragma once

// Private to the .cpp files of the worker: nlohmann must not show in a public header.

#include "ledger/base/result.hpp"

#include <nlohmann/json.hpp>

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

namespace worker::model {

/// Parses one document with a depth limit and no repeated key: invalid_json otherwise.
[[nodiscard]] ledger::base::Result<nlohmann::json> parse_json_strict(std::string_view text,
                                                                     std::size_t depth_max);

/// Reads the fields of one object; every failure carries `code` and names the field.
class FieldReader {
 public:
    FieldReader(const nlohmann::json& object, std::string path, ledger::base::ErrorCode code)
        : object_(object), path_(std::move(path)), code_(code) {}

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
    /// The member, which must be an object.
    [[nodiscard]] ledger::base::Result<FieldReader> object(std::string_view name) const;
    [[nodiscard]] tl::unexpected<ledger::base::Error> refuse(std::string_view name,
                                                             std::string_view why) const;
    [[nodiscard]] const nlohmann::json& raw() const noexcept { return object_; }

 private:
    const nlohmann::json& object_;
    std::string path_;
    ledger::base::ErrorCode code_;
};

}  // namespace worker::model
