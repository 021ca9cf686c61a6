// SPDX-License-Identifier: Apache-2.0
#include "marketplace/app/restart.hpp"

#include <spdlog/spdlog.h>

namespace marketplace::app {

using ledger::base::Result;

Result<std::uint64_t> restart(const Folds& folds, SnapshotFiles& files,
                              const ReadRecords& journal) {
    const auto seen = [&folds](const engine::Record& record, ledger::base::ByteView bytes) {
        folds.publish(record, bytes);
    };
    if (auto snapshot = files.newest(journal)) {
        const std::uint64_t records = snapshot->records;
        folds.market.restore(std::move(snapshot->market));
        folds.log.restore(std::move(snapshot->log));
        EngineThread::Start start{std::move(snapshot->engine), records, snapshot->last_record};
        const auto loaded = folds.engine.load(seen, std::move(start));
        if (loaded) return records;
        spdlog::error("the snapshot of {} records is not used: {}", records,
                      loaded.error().detail());
        files.remove(records);
        folds.market.restore({});
        folds.log.restore({});
    }
    TRY(folds.engine.load(seen));
    return std::uint64_t{0};
}

Result<void> keep_snapshot(const Folds& folds, SnapshotFiles& files) {
    const EngineThread::Stand stand = folds.engine.stand();
    if (stand.records <= files.good()) return {};
    Result<void> written;
    folds.market.read([&](const engine::MarketData& market) {
        folds.log.read_tree([&](const ledger::log::MerkleTree& tree) {
            written = files.write({stand.records, stand.last_record, stand.engine, market, tree});
        });
    });
    return written;
}

}  // namespace marketplace::app
