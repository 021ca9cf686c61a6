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
/// one receipt on each. While it has no requests its process may be ended to make room for another
/// model; the leases stay open and the next request loads it again.
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
    void embed(const marketplace::wire::Embed& request) override;
    void pace(const marketplace::wire::HoldCompletion& message) override;
    void abort(std::uint64_t request) override;
    [[nodiscard]] bool active() const override;
    void stop() override;
    /// The output lease when the model is loaded.
    [[nodiscard]] std::optional<Hash32> serving() const;

 private:
    enum class Phase : std::uint8_t {
        kWaiting,    // for the second lease
        kLoading,    // for the first time: the market has not been told that it serves
        kServing,    // the process is ready
        kUnloaded,   // there is no process
        kReloading,  // waits for room, or its process starts
        kOver,
    };
    struct Choice {
        std::string text;
        std::string finish_reason;  // empty while it runs
    };
    struct Running {
        std::string input;  // the prompt, the messages or the inputs
        std::uint64_t input_tokens_max = 0;
        std::uint64_t output_tokens_max = 0;  // of all choices
        std::vector<Choice> choices;
        executor::GenerateRequest task;  // of the first choice
        std::optional<executor::EmbedRequest>
            embed;              // instead: texts of the only choice are vectors
        std::size_t begun = 0;  // choices that the child was given; 0 while the model is not there
        std::uint64_t came_ms = 0;
        std::uint64_t vectors = 0;
        bool aborted = false;
        executor::GenerationDone total;  // of the choices that ended
    };
    /// A choice of a request, as the child knows it: "7", then "7.1", "7.2", …
    struct ChoiceId {
        std::uint64_t request = 0;
        std::size_t choice = 0;
    };

    // All below run on the actor's thread.
    void prepare();
    [[nodiscard]] Result<void> fetch_model();
    [[nodiscard]] Result<std::uint64_t> need_bytes() const;
    void want_room();
    void start_child();
    void make_room();
    void refuse_late();
    void on_ready();
    [[nodiscard]] std::filesystem::path folder_path() const;
    [[nodiscard]] static std::string to_id(std::uint64_t request, std::size_t choice);
    [[nodiscard]] static std::optional<ChoiceId> parse_id(std::string_view text);
    void on_event(std::uint64_t child, const executor::JobEvent& event);
    void on_token(const executor::Token& token);
    void on_embedded(const executor::Embedded& embedded);
    void begin_others(std::uint64_t request, Running& running);
    void end_request(std::uint64_t request);
    void on_done(const executor::GenerationDone& done);
    void accept(const marketplace::wire::Infer& request);
    void accept(const marketplace::wire::Embed& request);
    void take(std::uint64_t request, Running running);
    void begin(std::uint64_t request);
    void note_idle();
    [[nodiscard]] Result<void> admit(const Hash32& input_lease, const Hash32& output_lease,
                                     const Running& running) const;
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
    executor::ServeTask task_;  // with its files fetched
    std::uint64_t need_bytes_ = 0;
    std::uint64_t child_ = 0;  // which process: what an earlier one said late does not count
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
