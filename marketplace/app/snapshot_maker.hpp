// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "marketplace/app/snapshot_files.hpp"

#include <condition_variable>
#include <mutex>
#include <thread>

namespace marketplace::app {

/// Makes snapshots while the market runs, on a thread of its own: it takes the last one, replays
/// what came since from the journal and writes the next. The engine's thread never waits for it,
/// and every snapshot has proved that it leads to what the journal says before it replaces another.
class SnapshotMaker {
 public:
    static constexpr std::uint64_t kEvery = 100'000;

    /// `every`: records between two snapshots; never less than an eighth of what the last one has,
    /// so that the work stays in proportion to the journal.
    SnapshotMaker(SnapshotFiles& files, ReadRecords journal, engine::EngineConfig config,
                  std::uint64_t every = kEvery);
    ~SnapshotMaker();
    SnapshotMaker(const SnapshotMaker&) = delete;
    SnapshotMaker& operator=(const SnapshotMaker&) = delete;

    /// The files are its own from now until `stop`. `last`: records of the newest snapshot.
    void start(std::uint64_t last);
    /// So many records are on disk. From any thread.
    void note(std::uint64_t records);
    void stop();

 private:
    void run();
    [[nodiscard]] ledger::base::Result<void> make(std::uint64_t until);
    [[nodiscard]] bool is_due() const noexcept;
    [[nodiscard]] bool is_stopping();

    SnapshotFiles& files_;
    ReadRecords journal_;
    engine::EngineConfig config_;
    const std::uint64_t every_;

    std::mutex mutex_;
    std::condition_variable wake_;
    std::uint64_t last_ = 0;     ///< written, or tried
    std::uint64_t records_ = 0;  ///< on disk
    bool stopping_ = false;
    std::thread thread_;
};

}  // namespace marketplace::app
