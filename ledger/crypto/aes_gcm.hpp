// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/bytes.hpp"
#include "ledger/base/result.hpp"

#include <array>
#include <span>

namespace ledger::crypto {

inline constexpr std::size_t kGcmTagBytes = 16;
using GcmNonce = std::array<std::uint8_t, 12>;

/// AES-256-GCM (NIST SP 800-38D): ciphertext ‖ tag. One key must never see a nonce twice.
[[nodiscard]] base::Bytes gcm_seal(std::span<const std::uint8_t, 32> key, const GcmNonce& nonce,
                                   base::ByteView plain, base::ByteView associated);

/// The plain text; data_invalid when anything differs from what was sealed.
[[nodiscard]] base::Result<base::Bytes> gcm_open(std::span<const std::uint8_t, 32> key,
                                                 const GcmNonce& nonce, base::ByteView sealed,
                                                 base::ByteView associated);

}  // namespace ledger::crypto
