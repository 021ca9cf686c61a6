// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/bytes.hpp"
#include "ledger/base/result.hpp"
#include "ledger/crypto/secp256k1.hpp"
#include "ledger/eth/u256.hpp"

#include <optional>

namespace ledger::eth {

/// An EIP-1559 transaction (type 2) without access list.
struct Transaction {
    std::uint64_t chain_id = 0;
    std::uint64_t nonce = 0;
    U256 max_priority_fee_per_gas;
    U256 max_fee_per_gas;
    std::uint64_t gas_limit = 0;
    std::optional<base::Address> to;  ///< empty: contract creation
    U256 value;
    base::Bytes data;
    friend bool operator==(const Transaction&, const Transaction&) = default;
};

/// keccak(0x02 ‖ rlp(unsigned fields)): what the sender signs.
[[nodiscard]] base::Hash32 signing_digest(const Transaction& transaction);
/// 0x02 ‖ rlp(fields, y parity, r, s), ready for eth_sendRawTransaction.
[[nodiscard]] base::Bytes encode_signed(const Transaction& transaction,
                                        const base::Signature& signature);
/// keccak of the signed bytes.
[[nodiscard]] base::Hash32 transaction_hash(base::ByteView raw);

struct SignedTransaction {
    Transaction transaction;
    base::Signature signature;
    base::Address sender;
};
/// Decodes strictly and recovers the sender from the original bytes.
[[nodiscard]] base::Result<SignedTransaction> decode_signed(base::ByteView raw);

}  // namespace ledger::eth
