// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/bytes.hpp"
#include "ledger/base/result.hpp"
#include "ledger/eth/u256.hpp"
#include "ledger/rpc/chain.hpp"

#include <cstdint>

/// What is asked of the public Permit2, and of x402's proxy for payments up to an amount.
namespace ledger::settlement {

/// Whether Permit2 and the proxy stand at these addresses and agree with each other, and with us,
/// on what payers sign. chain_mismatch says what is not so; other errors: it could not be asked.
[[nodiscard]] base::Result<void> check_upto_contracts(rpc::Chain& chain,
                                                      const base::Address& permit2,
                                                      const base::Address& proxy,
                                                      std::uint64_t chain_id);
/// Whether the payer used that nonce, or took it back.
[[nodiscard]] base::Result<bool> is_permit2_nonce_used(rpc::Chain& chain,
                                                       const base::Address& permit2,
                                                       const base::Address& payer,
                                                       const eth::U256& nonce);

}  // namespace ledger::settlement
