// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "marketplace/app/engine_thread.hpp"
#include "marketplace/app/market_feed.hpp"
#include "marketplace/app/public_log.hpp"
#include "marketplace/app/snapshot_files.hpp"

#include <cstdint>

namespace marketplace::app {

/// All that is folded from the journal.
struct Folds {
    EngineThread& engine;
    MarketFeed& market;
    PublicLog& log;

    /// A record that is on disk, for what is not the engine.
    void publish(const engine::Record& record, ledger::base::ByteView bytes) const {
        log.append(record, bytes);
        market.add(record);
    }
};

/// Brings the folds to the journal's end: from the last snapshot when it leads to what the journal
/// says, else from the first record. How many records the snapshot spared.
[[nodiscard]] ledger::base::Result<std::uint64_t> restart(const Folds& folds, SnapshotFiles& files,
                                                          const ReadRecords& journal);

/// Writes them for the next start, unless the newest snapshot has as much. Only while nothing is
/// added: before the engine's start, or after its stop.
[[nodiscard]] ledger::base::Result<void> keep_snapshot(const Folds& folds, SnapshotFiles& files);

}  // namespace marketplace::app
