// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/clock.hpp"
#include "marketplace/api/ports.hpp"
#include "marketplace/engine/engine.hpp"
#include "marketplace/engine/journal.hpp"
#include "marketplace/storage/database.hpp"
#include "marketplace/storage/journal_store.hpp"

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <future>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

namespace marketplace::app {

/// Owns the engine and the writing database connection: one thread, a bounded queue in front,
/// group commit behind. A command is answered when its record is on disk.
///
/// A group of queued tasks shares one transaction. Before anything is applied the disk is asked
/// for room: while there is none every writer gets disk_full, and reads go on. When a commit fails
/// all the same nothing of the group counts: the engine is rebuilt from the journal and every
/// caller gets the error.
class EngineThread final : public api::EnginePort {
 public:
    /// A record that is on disk, with the engine right after its group. On the engine thread.
    using Observer = std::function<void(const engine::Record&, ledger::base::ByteView bytes,
                                        const engine::Engine&)>;
    using Write = std::function<ledger::base::Result<void>(storage::Database&)>;
    /// Where a group is on its way to the disk and back.
    enum class Stage : std::uint8_t {
        kApplied,     ///< a command has changed the engine, its record is not appended
        kAppended,    ///< the record is in the open transaction
        kCommitting,  ///< the whole group is in the open transaction
        kCommitted,   ///< on disk, nobody was answered
        kAnswered,    ///< everybody was answered
    };

    /// Where a replay begins: an engine that has applied the journal's first `records` records.
    struct Start {
        engine::Engine engine;
        std::uint64_t records = 0;
        domain::Hash32 last_record;  ///< the hash of the last of them
    };
    /// How much of the journal is on disk, and the engine that stands there.
    struct Stand {
        std::uint64_t records = 0;
        domain::Hash32 last_record;
        const engine::Engine& engine;
    };

    EngineThread(engine::EngineConfig config, storage::Database& database,
                 const ledger::base::Clock& clock, std::size_t queue_max);
    ~EngineThread() override;

    /// Replays the journal, all of it or from `start` on; audit_failed names the first record that
    /// does not follow. Records are read, hashed and decoded on a helper thread, ahead of the
    /// engine. `seen` is called there for every record in order (to fill the public log), also for
    /// one that does not replay after all.
    [[nodiscard]] ledger::base::Result<void> load(
        const std::function<void(const engine::Record&, ledger::base::ByteView)>& seen,
        std::optional<Start> start = std::nullopt);
    void add_observer(Observer observer);  ///< before `start`
    /// Called on the engine thread at every stage; before `start`.
    void on_stage(std::function<void(Stage)> seen);
    void start();
    /// Only before `start` and after `stop`.
    [[nodiscard]] Stand stand() const { return {next_sequence_, previous_, engine_}; }
    /// Ends what is queued, then the thread. Later calls fail with `unavailable`.
    void stop();

    void submit(
        domain::Command command,
        std::function<void(ledger::base::Result<std::vector<domain::Event>>)> done) override;
    /// From inside an answer `read` runs at once.
    [[nodiscard]] bool query(std::function<void(const engine::Engine&)> read) override;

    // For threads that may wait, never for io threads or the engine thread itself.

    [[nodiscard]] ledger::base::Result<std::vector<domain::Event>> apply(domain::Command command);
    /// Commands and rows in one transaction. A command the engine refuses is left out (the chain
    /// may repeat itself); a write that fails undoes this task alone.
    [[nodiscard]] ledger::base::Result<void> transact(std::vector<domain::Command> commands,
                                                      Write write);
    /// Runs `read` on the engine thread and returns its value.
    template <typename Read>
    [[nodiscard]] auto ask(Read read)
        -> ledger::base::Result<std::invoke_result_t<Read, const engine::Engine&>> {
        using Value = std::invoke_result_t<Read, const engine::Engine&>;
        auto promise = std::make_shared<std::promise<Value>>();
        auto future = promise->get_future();
        if (!query([promise, read](const engine::Engine& e) { promise->set_value(read(e)); }))
            return ledger::base::fail(ledger::base::ErrorCode::queue_full);
        return future.get();
    }

 private:
    using Done = std::function<void(ledger::base::Result<std::vector<domain::Event>>)>;
    /// Its hashes are computed by whoever submits it: Keccak is not for the engine's thread.
    struct Submitted {
        explicit Submitted(domain::Command from) : command(std::move(from)), messages(command) {}
        domain::Command command;
        domain::MessageHashes messages;
    };
    struct Task {
        std::vector<Submitted> commands;
        Write write;
        std::function<void(const engine::Engine&)> read;
        Done done;
        bool tolerant = false;  ///< refused commands are left out
    };
    struct Written {
        engine::Record record;
        domain::Bytes bytes;
    };
    struct Decoded {
        engine::Record record;
        domain::MessageHashes messages;
        domain::Hash32 hash;
    };
    using Seen = std::function<void(const engine::Record&, ledger::base::ByteView)>;

    /// False, and the task is untouched, when the queue is full.
    [[nodiscard]] bool push(Task& task);
    void run();
    void run_group(std::vector<Task> group);
    [[nodiscard]] ledger::base::Result<std::vector<domain::Event>> run_task(
        Task& task, std::vector<Written>& written);
    /// The command goes into its record when there is one.
    [[nodiscard]] ledger::base::Result<std::vector<domain::Event>> apply_one(
        Submitted& submitted, std::vector<Written>& written);
    [[nodiscard]] ledger::base::Result<std::vector<Decoded>> read_ahead(std::uint64_t first,
                                                                        domain::Hash32 previous,
                                                                        const Seen& seen);
    [[nodiscard]] ledger::base::Result<void> check_room();
    void fail_group(std::vector<Task>& group, const ledger::base::Error& error);
    void answer_all(std::vector<Task>& group, const ledger::base::Error& error);
    void answer(std::vector<Task>& group,
                std::vector<ledger::base::Result<std::vector<domain::Event>>> results);
    void reach(Stage stage) const {
        if (on_stage_) on_stage_(stage);
    }

    engine::EngineConfig config_;
    storage::Database& database_;
    storage::JournalStore journal_;
    const ledger::base::Clock& clock_;
    const std::size_t queue_max_;
    engine::Engine engine_;
    std::uint64_t next_sequence_ = 0;
    domain::Hash32 previous_;
    domain::Hash32 committed_;  ///< the engine's state hash at the last commit
    bool stalled_ = false;      ///< the disk has no room for writers
    std::vector<Observer> observers_;
    std::function<void(Stage)> on_stage_;
    std::atomic<std::thread::id> answering_;  ///< the engine thread while it answers

    std::mutex mutex_;
    std::condition_variable wake_;
    std::deque<Task> queue_;
    bool stopping_ = false;
    std::thread thread_;
};

}  // namespace marketplace::app
