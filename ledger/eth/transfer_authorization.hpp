// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/bytes.hpp"
#include "ledger/eth/u256.hpp"

#include <cstdint>
#include <string_view>

/// EIP-3009: a token's holder signs a transfer that somebody else sends and pays gas for.
namespace ledger::eth {

struct TransferAuthorization {
    base::Address from;
    base::Address to;
    U256 value;  ///< in the token's own units
    std::uint64_t valid_after_s = 0;
    std::uint64_t valid_before_s = 0;
    base::Hash32 nonce;  ///< random; used once per holder
    friend bool operator==(const TransferAuthorization&, const TransferAuthorization&) = default;
};

/// DOMAIN_SEPARATOR() of a token with this EIP-712 name and version.
[[nodiscard]] base::Hash32 token_separator(std::string_view name, std::string_view version,
                                           std::uint64_t chain_id, const base::Address& token);
/// What the holder signs (TransferWithAuthorization).
[[nodiscard]] base::Hash32 digest(const base::Hash32& token_separator,
                                  const TransferAuthorization& authorization);
/// The call transferWithAuthorization to the token.
[[nodiscard]] base::Bytes encode_transfer_with_authorization(
    const TransferAuthorization& authorization, const base::Signature& signature);

}  // namespace ledger::eth
