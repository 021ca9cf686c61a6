// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/agent/actor.hpp"
#include "worker/agent/ports.hpp"
#include "worker/agent/sealed_files.hpp"
#include "worker/model/model_spec.hpp"

#include <atomic>
#include <deque>
#include <memory>
#include <optional>
#include <string>

namespace worker::agent {

/// One training lease, from its check on chain to its last receipt.
///
/// check → fetch → run → finished. Each segment: checkpoint uploaded, receipt signed and on disk,
/// then sent. A restart goes on from the last receipt's checkpoint.
class TrainSession final : public Session {
 public:
    TrainSession(const SessionContext& context, std::shared_ptr<LeaseBook> book);
    ~TrainSession() override;

    void resync(const Hash32& lease, std::uint64_t market_sequence) override;
    void paid() override;
    void cancel(const std::string& reason) override;
    void tick() override;
    void infer(const marketplace::wire::Infer& request) override;
    void embed(const marketplace::wire::Embed& request) override;
    void pace(const marketplace::wire::HoldCompletion& message) override;
    void abort(std::uint64_t request) override;
    [[nodiscard]] bool active() const override;
    void stop() override;

 private:
    enum class Phase : std::uint8_t { kPreparing, kRunning, kOver };

    // All below run on the actor's thread.
    void prepare();
    [[nodiscard]] Result<void> try_start();
    [[nodiscard]] Result<executor::TrainTask> make_task(const model::JobSpec& spec);
    [[nodiscard]] Result<void> fetch_inputs(const model::TrainSpec& spec,
                                            executor::TrainTask& task);
    [[nodiscard]] Result<void> fetch_inputs(const model::FinetuneSpec& spec,
                                            executor::TrainTask& task);
    /// A blob of the job, opened when the job is sealed; `name` is its plain form's.
    [[nodiscard]] Result<std::filesystem::path> fetch(const Hash32& hash, const std::string& name);
    [[nodiscard]] std::filesystem::path folder_path() const;
    [[nodiscard]] std::filesystem::path opened_path() const;
    void on_event(const executor::JobEvent& event);
    void on_segment(const executor::Segment& segment);
    void settle_segments();
    [[nodiscard]] Result<void> settle(const executor::Segment& segment);
    void check_payment();
    void finish_when_settled();
    void fail_lease(const ledger::base::Error& error);
    void end(Outcome outcome);
    void say_again();
    void note(LogLevel level, std::string_view text) const;

    const SessionContext context_;
    const std::shared_ptr<LeaseBook> book_;
    const std::string name_;  // for log lines
    Hash32 data_hash_;        // salted: request hash of every receipt
    std::atomic<Phase> phase_{Phase::kPreparing};
    std::uint64_t began_ms_ = 0;
    std::uint64_t next_attempt_ms_ = 0;
    std::uint64_t last_sent_ms_ = 0;
    unsigned resends_left_ = kResendsMax;
    std::optional<SealedFiles> sealed_;
    bool waits_for_key_ = false;  // of a sealed job: the buyer's turn
    std::string told_;            // the last trouble that was logged
    std::deque<executor::Segment> pending_;
    std::optional<ledger::base::Error> failure_;
    Hash32 model_hash_;  // weights the running segment began from
    bool started_ = false;
    bool trained_ = false;  // the child reached its last step
    bool paused_ = false;
    bool stopping_ = false;
    std::shared_ptr<executor::Job> job_;
    Actor actor_;  // last: its thread ends before the rest goes
};

}  // namespace worker::agent
