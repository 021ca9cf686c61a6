// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/bytes.hpp"
#include "ledger/base/result.hpp"

#include <string>
#include <string_view>

namespace ledger::crypto {

/// Mixed-case form with checksum (EIP-55).
[[nodiscard]] std::string to_checksum(const base::Address& address);

/// 0x and 40 digits. All-lower and all-upper are taken; mixed case must carry a right checksum.
[[nodiscard]] base::Result<base::Address> parse_address(std::string_view text);

}  // namespace ledger::crypto
