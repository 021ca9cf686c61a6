// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/settlement/watcher.hpp"
#include "marketplace/domain/command.hpp"
#include "marketplace/engine/engine.hpp"
#include "marketplace/storage/settlement_store.hpp"

#include <set>
#include <vector>

namespace marketplace::app {

/// What the contracts' events mean to this engine, in the chain's order.
///
/// Anybody may open a lease from two orders that name no matcher. One that this market did not
/// match, or gave up, is foreign: only the money it takes from its buyer and gives back counts.
///
/// `own_opens`: those of the batch's transactions by which this market opens leases. Anybody can
/// make the contract report a failed item of any lease; only these say that an open failed.
[[nodiscard]] std::vector<domain::Command> commands_of(const ledger::settlement::WatchBatch& batch,
                                                       const engine::Engine& engine,
                                                       const std::set<domain::Hash32>& own_opens);

/// Transactions of the batch that report failed items.
[[nodiscard]] std::set<domain::Hash32> transactions_with_failures(
    const ledger::settlement::WatchBatch& batch);

/// What the batch says of claims by workers alone under this engine's leases, in order.
[[nodiscard]] std::vector<storage::LoneClaimChange> lone_claim_changes(
    const ledger::settlement::WatchBatch& batch, const engine::Engine& engine);

}  // namespace marketplace::app
