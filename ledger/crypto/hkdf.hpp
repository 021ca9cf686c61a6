// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/bytes.hpp"

namespace ledger::crypto {

/// HKDF with SHA-256 (RFC 5869): `count` bytes, 1 to 8160. An empty salt stands for 32 zero bytes.
[[nodiscard]] base::Bytes hkdf_sha256(base::ByteView secret, base::ByteView salt,
                                      base::ByteView info, std::size_t count);

}  // namespace ledger::crypto
