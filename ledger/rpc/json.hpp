// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/limits.hpp"
#include "ledger/base/result.hpp"

#include <nlohmann/json.hpp>

#include <cstddef>
#include <string>
#include <string_view>

namespace ledger::rpc {

/// Bounds on a document, held while it is read: no tree exists beyond them.
struct JsonLimits {
    std::size_t bytes = base::limits::kRpcAnswerBytes;
    std::size_t depth = base::limits::kJsonDepth;
    std::size_t keys = base::limits::kJsonKeys;  ///< per object
};

/// The one JSON reader. too_large above the size; invalid_json for everything else that is not
/// one RFC 8259 value: bad syntax or UTF-8, trailing text, a repeated key, too deep, too many
/// keys, an integer beyond 64 bits (it would silently become a double), an infinite number.
[[nodiscard]] base::Result<nlohmann::json> parse_json(std::string_view text,
                                                      const JsonLimits& limits = {});

/// Compact text; invalid UTF-8 in strings becomes U+FFFD instead of a throw.
/// Keys come out sorted bytewise: for documents of integers and strings this is canonical form.
[[nodiscard]] std::string to_text(const nlohmann::json& document);

/// Strict reads of one member: missing_field or invalid_field with the member's name.
[[nodiscard]] base::Result<std::string> string_at(const nlohmann::json& object,
                                                  std::string_view name);
/// A decimal string, as 64-bit fields of signed messages travel.
[[nodiscard]] base::Result<std::uint64_t> u64_text_at(const nlohmann::json& object,
                                                      std::string_view name);
/// A JSON integer, 0 or above.
[[nodiscard]] base::Result<std::uint64_t> integer_at(const nlohmann::json& object,
                                                     std::string_view name);
[[nodiscard]] base::Result<bool> boolean_at(const nlohmann::json& object, std::string_view name);
/// The member itself, any type.
[[nodiscard]] base::Result<const nlohmann::json*> member_at(const nlohmann::json& object,
                                                            std::string_view name);

}  // namespace ledger::rpc
