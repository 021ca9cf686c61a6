// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/log/merkle_tree.hpp"
#include "marketplace/engine/engine.hpp"
#include "marketplace/engine/journal.hpp"
#include "marketplace/engine/market_data.hpp"
#include "marketplace/engine/snapshot_writer.hpp"

#include <cstdint>

/// What is folded from the journal's first records, as bytes: a start takes the last snapshot and
/// replays only the records after it. A snapshot proves nothing by itself (the journal does); who
/// doubts it replays everything.
namespace marketplace::engine {

/// The folds after the first `records` records.
struct Snapshot {
    explicit Snapshot(const EngineConfig& config) : engine(config) {}
    Snapshot(std::uint64_t count, const domain::Hash32& last, Engine folded, MarketData data,
             ledger::log::MerkleTree tree)
        : records(count),
          last_record(last),
          engine(std::move(folded)),
          market(std::move(data)),
          log(std::move(tree)) {}

    /// Takes the next record of the journal, with every check a replay makes. Nothing can be done
    /// with it after a failure.
    [[nodiscard]] ledger::base::Result<void> follow(ledger::base::ByteView record);

    std::uint64_t records = 0;
    domain::Hash32 last_record;  ///< its record_hash; zero when there is none
    Engine engine;
    MarketData market;
    ledger::log::MerkleTree log;
};

/// The same, of somebody else's.
struct SnapshotView {
    std::uint64_t records = 0;
    const domain::Hash32& last_record;
    const Engine& engine;
    const MarketData& market;
    const ledger::log::MerkleTree& log;
};
[[nodiscard]] inline SnapshotView view_of(const Snapshot& snapshot) noexcept {
    return {snapshot.records, snapshot.last_record, snapshot.engine, snapshot.market, snapshot.log};
}

/// magic 8 | version u32 | rules 32 | records u64 | last record 32 | state hash 32 |
/// engine | market data | leaves of the log | length of each of the three u64 |
/// SHA-256 of all before. Integers little-endian. The same state gives the same bytes.
void write_snapshot(const SnapshotView& snapshot, const EngineConfig& config, const Sink& sink);

/// A snapshot's bytes taken apart. The parts are independent of each other, so that they can be
/// read at the same time; each takes bytes that anybody may have written.
class SnapshotReader {
 public:
    /// Refers to `bytes`. unsupported: of another version of this program; config_invalid: of a
    /// market with other rules; invalid_encoding: no snapshot.
    [[nodiscard]] static ledger::base::Result<SnapshotReader> open(ledger::base::ByteView bytes,
                                                                   const EngineConfig& config);

    [[nodiscard]] std::uint64_t records() const noexcept { return records_; }
    [[nodiscard]] const domain::Hash32& last_record() const noexcept { return last_record_; }
    [[nodiscard]] const domain::Hash32& state_hash() const noexcept { return state_hash_; }

    /// Is every byte as it was written?
    [[nodiscard]] bool is_whole() const;
    [[nodiscard]] ledger::base::Result<Engine> engine() const;
    [[nodiscard]] ledger::base::Result<MarketData> market() const;
    [[nodiscard]] ledger::base::Result<ledger::log::MerkleTree> log() const;

 private:
    ledger::base::ByteView bytes_;
    EngineConfig config_;
    std::uint64_t records_ = 0;
    domain::Hash32 last_record_;
    domain::Hash32 state_hash_;
    ledger::base::ByteView engine_;
    ledger::base::ByteView market_;
    ledger::base::ByteView log_;
};

}  // namespace marketplace::engine
