// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/executor/executor.hpp"
#include "worker/executor/protocol.hpp"
#include "worker/sandbox/sandbox.hpp"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <future>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>

namespace worker::executor {

/// What a job process is started with, after paths were mapped into the sandbox.
struct JobLaunch {
    sandbox::Plan plan;
    sandbox::Mode mode = sandbox::Mode::kBwrap;
    ChildStart start;
    JobLimits limits;
    std::uint64_t segment_steps = 0;  // training only
    std::uint64_t steps = 0;
    bool may_end_early = false;  // training with an early stop
};

/// The parent's side of one child: a thread that starts it, reads its lines, watches its deadlines
/// and reports its end.
class JobProcess final : public Job {
 public:
    /// Returns after the child was started.
    [[nodiscard]] static ledger::base::Result<std::unique_ptr<JobProcess>> start(JobLaunch launch,
                                                                                 EventSink sink);
    ~JobProcess() override;
    JobProcess(const JobProcess&) = delete;
    JobProcess& operator=(const JobProcess&) = delete;

    void pause() override;
    void resume() override;
    void stop() override;
    void kill() override;
    [[nodiscard]] ledger::base::Result<void> generate(const GenerateRequest& request) override;
    [[nodiscard]] ledger::base::Result<void> embed(const EmbedRequest& request) override;
    void pace(const std::string& id, model::TextModel::Pace pace) override;
    void abort(const std::string& id) override;

 private:
    using Time = std::chrono::steady_clock::time_point;

    JobProcess(JobLaunch launch, EventSink sink);
    void run(std::promise<ledger::base::Result<void>>& started);
    void read_until_end();
    [[nodiscard]] bool read_some();
    void write_some();
    void take_line(std::string_view line);
    [[nodiscard]] std::optional<ledger::base::Error> check(const JobEvent& event);
    void note(JobEvent& event);
    void enforce_deadlines();
    [[nodiscard]] int poll_timeout_ms();
    void end_with(ledger::base::Error error);
    void report_end(int status);
    [[nodiscard]] ledger::base::Error cause_of(int status) const;
    [[nodiscard]] ledger::base::Result<void> ask(const std::string& id, const Command& command);
    [[nodiscard]] bool send(const std::string& line);
    void wake();

    JobLaunch launch_;
    EventSink sink_;
    sandbox::Child child_;
    int wake_fd_ = -1;
    std::thread thread_;

    // Shared with callers.
    std::mutex mutex_;
    std::string outbound_;
    bool ended_ = false;
    bool paused_ = false;
    bool kill_wanted_ = false;
    std::optional<Time> stop_deadline_;
    std::set<std::string> requests_;

    // The thread's own.
    std::string inbound_;
    bool ready_ = false;
    bool audited_ = false;
    std::uint64_t last_step_ = 0;
    std::optional<JobEvent> last_;  // Finished or Failed, as the child said
    std::optional<ledger::base::Error> killed_for_;
    Time started_at_;
    Time last_event_at_;
};

}  // namespace worker::executor
