// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/settlement/watcher.hpp"
#include "marketplace/domain/command.hpp"
#include "marketplace/engine/engine.hpp"

#include <vector>

namespace marketplace::app {

/// What the contracts' events mean to this engine, in the chain's order.
///
/// Anybody may open a lease from two orders that name no matcher. One that this market did not
/// match, or gave up, is foreign: only the money it takes from its buyer and gives back counts.
[[nodiscard]] std::vector<domain::Command> commands_of(const ledger::settlement::WatchBatch& batch,
                                                       const engine::Engine& engine);

}  // namespace marketplace::app
