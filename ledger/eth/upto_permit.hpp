// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/bytes.hpp"
#include "ledger/eth/u256.hpp"

#include <array>
#include <cstdint>

/// Permit2's PermitWitnessTransferFrom with the witness of x402's scheme "upto": a token's holder
/// signs for at most so much, and one named account decides how much of it is taken, once.
namespace ledger::eth {

/// Contracts that stand at the same address on every public chain.
inline constexpr base::Address kPermit2(std::array<std::uint8_t, 20>{
    0x00, 0x00, 0x00, 0x00, 0x00, 0x22, 0xd4, 0x73, 0x03, 0x0f,
    0x11, 0x6d, 0xde, 0xe9, 0xf6, 0xb4, 0x3a, 0xc7, 0x8b, 0xa3});
inline constexpr base::Address kUptoProxy(std::array<std::uint8_t, 20>{
    0x40, 0x20, 0xa4, 0xf3, 0xb7, 0xb9, 0x0c, 0xca, 0x42, 0x3b,
    0x9f, 0xab, 0xcc, 0x0c, 0xe5, 0x7c, 0x6c, 0x24, 0x00, 0x02});

struct UptoPermit {
    base::Address payer;
    base::Address token;
    U256 amount_max;        ///< in the token's own units
    base::Address spender;  ///< the proxy, which holds the two below to their word
    U256 nonce;             ///< random; used once per payer
    std::uint64_t deadline_s = 0;
    base::Address receiver;
    base::Address facilitator;  ///< who may have it taken
    std::uint64_t valid_after_s = 0;
    friend bool operator==(const UptoPermit&, const UptoPermit&) = default;
};

/// DOMAIN_SEPARATOR() of Permit2, which names no version.
[[nodiscard]] base::Hash32 permit2_separator(std::uint64_t chain_id, const base::Address& permit2);
/// WITNESS_TYPEHASH() of the proxy.
[[nodiscard]] base::Hash32 upto_witness_type();
/// What the payer signs.
[[nodiscard]] base::Hash32 digest(const base::Hash32& permit2_separator, const UptoPermit& permit);
/// The function of the proxy that takes it.
inline constexpr const char* kUptoSettle =
    "settle(((address,uint256),uint256,uint256),uint256,address,(address,address,uint256),bytes)";
/// The call of it: takes `amount`, of which the payer signed for more or as much.
[[nodiscard]] base::Bytes encode_upto_settle(const UptoPermit& permit, const U256& amount,
                                             const base::Signature& signature);

}  // namespace ledger::eth
