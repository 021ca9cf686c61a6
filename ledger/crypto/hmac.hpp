// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/bytes.hpp"

#include <array>

namespace ledger::crypto {

/// HMAC with SHA-256 (RFC 2104).
[[nodiscard]] std::array<std::uint8_t, 32> hmac_sha256(base::ByteView key, base::ByteView text);

}  // namespace ledger::crypto
