// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/bytes.hpp"
#include "ledger/eth/messages.hpp"
#include "ledger/settlement/leases_abi.hpp"

/// C++ form of contracts/src/interfaces/IDisputes.sol.
namespace ledger::settlement {

/// By anybody: two receipts of one lease and sequence cost the provider its minimum bond, of which
/// the caller gets 30 %.
[[nodiscard]] base::Bytes encode_prove_equivocation(const Parties& parties,
                                                    const WorkerReceipt& first,
                                                    const WorkerReceipt& second);

}  // namespace ledger::settlement
