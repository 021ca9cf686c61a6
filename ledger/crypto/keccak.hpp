// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/bytes.hpp"

namespace ledger::crypto {

/// Keccak-256 as Ethereum uses it (the original padding, not SHA3-256).
[[nodiscard]] base::Hash32 keccak256(base::ByteView bytes);

}  // namespace ledger::crypto
