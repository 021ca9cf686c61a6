// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/rpc/chain.hpp"
#include "ledger/settlement/deployment.hpp"
#include "ledger/settlement/leases_abi.hpp"
#include "marketplace/engine/engine.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace marketplace::app {

[[nodiscard]] ledger::settlement::Parties parties_of(const domain::Lease& lease);

/// What the chain must say if the ledger is right (I-07): at the block up to which the engine has
/// taken the chain's events, so that transactions in flight play no part.
struct LedgerItems {
    struct Account {
        domain::Address owner;
        std::int64_t free_atoms = 0;     ///< exactly this in Escrow
        std::uint64_t locked_atoms = 0;  ///< at least this: a lease may not be ours
    };
    std::vector<domain::Lease> leases;  ///< matched and not closed
    std::vector<Account> accounts;      ///< that have or had money
};
[[nodiscard]] LedgerItems ledger_items(const engine::Engine& engine);

/// Compares every lease and account with the contracts at `at`. ledger_mismatch names the first
/// differences; other errors mean that the chain could not be asked.
[[nodiscard]] ledger::base::Result<void> reconcile(ledger::rpc::Chain& chain,
                                                   const ledger::settlement::Deployment& deployment,
                                                   const LedgerItems& items,
                                                   ledger::rpc::BlockTag at);

}  // namespace marketplace::app
