// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/bytes.hpp"
#include "ledger/base/result.hpp"

#include <string>
#include <string_view>

/// RFC 4648, section 4: the common alphabet, padded, in one piece.
namespace ledger::base {

[[nodiscard]] std::string to_base64(ByteView bytes);

/// invalid_encoding for anything else, and for padding that hides bits: a text has one form.
[[nodiscard]] Result<Bytes> parse_base64(std::string_view text);

}  // namespace ledger::base
