// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "marketplace/engine/snapshot.hpp"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <set>
#include <string>

namespace marketplace::app {

/// Reads record bytes of [first, first + limit) from the journal.
using ReadRecords =
    std::function<std::vector<domain::Bytes>(std::uint64_t first, std::size_t limit)>;

/// The snapshots beside the database: the last two, each a file named after its count of records.
/// They only save time: one that is cut, damaged, of other rules, of another version or not of this
/// journal is passed over, and the journal has everything. One thread at a time.
class SnapshotFiles {
 public:
    /// Where a snapshot is on its way to the disk.
    enum class Stage : std::uint8_t {
        kPiece,    ///< a part of it is in the temporary file
        kWritten,  ///< all of it is, perhaps not on disk yet
        kSynced,   ///< all of it is on disk
        kNamed,    ///< under its name
        kTidied,   ///< and older ones are gone
    };

    /// The folder is made when it is not there.
    SnapshotFiles(std::filesystem::path folder, engine::EngineConfig config);

    /// The newest that can be used; says of the others why not. Reads the parts on two threads.
    [[nodiscard]] std::optional<engine::Snapshot> newest(const ReadRecords& journal);
    /// Writes one more and removes all but it and the last good one. A crash at any moment leaves
    /// what was there before, or also the whole new one.
    [[nodiscard]] ledger::base::Result<void> write(const engine::SnapshotView& snapshot);
    /// Records of the newest that was read or written; 0: none was.
    [[nodiscard]] std::uint64_t good() const noexcept { return good_.value_or(0); }
    /// It did not lead to what the journal says: never use it again.
    void remove(std::uint64_t records);

    void on_stage(std::function<void(Stage)> seen) { on_stage_ = std::move(seen); }

 private:
    [[nodiscard]] std::filesystem::path path_of(std::uint64_t records) const;
    [[nodiscard]] std::set<std::uint64_t, std::greater<>> list() const;
    [[nodiscard]] ledger::base::Result<engine::Snapshot> read(std::uint64_t records,
                                                              const ReadRecords& journal) const;
    [[nodiscard]] ledger::base::Result<void> write_new(const engine::SnapshotView& snapshot,
                                                       const std::filesystem::path& path);
    void reach(Stage stage) const {
        if (on_stage_) on_stage_(stage);
    }

    std::filesystem::path folder_;
    engine::EngineConfig config_;
    std::optional<std::uint64_t> good_;  ///< the newest that was read or written
    std::function<void(Stage)> on_stage_;
};

}  // namespace marketplace::app
