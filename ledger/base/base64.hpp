// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/bytes.hpp"
#include "ledger/base/result.hpp"

#include <string>
#include <string_view>

/// Base64 (RFC 4648, section 4, padded).
namespace ledger::base {

[[nodiscard]] std::string to_base64(ByteView bytes);

/// invalid_encoding: not the one text of some bytes. The caller has bounded the text.
[[nodiscard]] Result<Bytes> parse_base64(std::string_view text);

}  // namespace ledger::base
