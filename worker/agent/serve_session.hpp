// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/agent/actor.hpp"
#include "worker/agent/ports.hpp"
#include "worker/model/model_spec.hpp"

#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <string>

namespace worker::agent {

/// A model served under two leases of one job: input tokens and output tokens. Each completion is
/// one receipt on each.
class ServeSession final : public Session {
 public:
    explicit ServeSession(const SessionContext& context);
    ~ServeSession() override;

    /// Adds one of the two leases; the model is loaded when both are here.
    void add(std::shared_ptr<LeaseBook> book);

    void resync(const Hash32& lease, std::uint64_t market_sequence) override;
    void paid() override;
    void cancel(const std::string& reason) override;
    void tick() override;
    void infer(const marketplace::wire::Infer& request) override;
    void abort(std::uint64_t request) override;
    [[nodiscard]] bool active() const override;
    void stop() override;
    /// The output lease when the model is loaded.
    [[nodiscard]] std::optional<Hash32> serving() const;

 private:
    enum class Phase : std::uint8_t { kWaiting, kLoading, kServing, kOver };
    struct Running {
        std::string input;  // the prompt or the messages
        std::uint64_t input_tokens_max = 0;
        std::string text;
        std::uint64_t max_tokens = 0;
    };

    // All below run on the actor's thread.
    void prepare();
    [[nodiscard]] Result<void> try_start();
    [[nodiscard]] std::filesystem::path folder_path() const;
    void on_event(const executor::JobEvent& event);
    void on_done(const executor::GenerationDone& done);
    void accept(const marketplace::wire::Infer& request);
    [[nodiscard]] Result<void> admit(const marketplace::wire::Infer& request) const;
    void refuse(std::uint64_t request, const ledger::base::Error& error);
    [[nodiscard]] std::optional<marketplace::wire::SignedReceipt> bill(
        LeaseBook& book, std::uint64_t units, const Running& running,
        const executor::GenerationDone& done);
    void fail_leases(const ledger::base::Error& error);
    void end(Outcome outcome);
    void say_again(LeaseBook& book);
    void announce();
    void note(LogLevel level, std::string_view text) const;

    const SessionContext context_;
    std::shared_ptr<LeaseBook> input_;
    std::shared_ptr<LeaseBook> output_;
    model::ServeSpec spec_;
    std::atomic<Phase> phase_{Phase::kWaiting};
    std::map<std::uint64_t, Running> running_;
    std::optional<ledger::base::Error> failure_;
    std::uint64_t began_ms_ = 0;
    std::uint64_t next_attempt_ms_ = 0;
    std::uint64_t last_sent_ms_ = 0;
    unsigned resends_left_ = kResendsMax;
    bool stopping_ = false;
    mutable std::mutex serving_mutex_;
    std::optional<Hash32> serving_;
    std::shared_ptr<executor::Job> job_;
    Actor actor_;  // last: its thread ends before the rest goes
};

}  // namespace worker::agent
