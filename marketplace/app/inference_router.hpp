// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "marketplace/app/engine_thread.hpp"
#include "marketplace/app/worker_gateway.hpp"

#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <unordered_map>

namespace marketplace::app {

/// Routes completions among the open serving leases of the buyer: the least busy worker that has
/// room, cheapest first among equals. A worker that goes away before the first token is replaced.
/// Thread-safe.
class InferenceRouter final : public api::InferencePort, public InferenceEvents {
 public:
    static constexpr std::uint64_t kSilenceMs = 60'000;  ///< no token for this long: timeout
    static constexpr std::uint64_t kHeldMs = 300'000;    ///< the same while its reader is slow

    InferenceRouter(EngineThread& engine, WorkerGateway& gateway, const ledger::base::Clock& clock)
        : engine_(engine), gateway_(gateway), clock_(clock) {}

    std::uint64_t start(api::InferenceRequest request, OnToken on_token, OnDone on_done) override;
    void abort(std::uint64_t id) override;
    void pace(std::uint64_t id, Pace pace) override;
    [[nodiscard]] ledger::base::Result<std::uint64_t> most_atoms(
        const api::InferenceRequest& request) const override;
    /// Ends completions that fell silent. Call about once a second.
    void tick();

    void on_serving(const domain::Address& worker, const domain::Hash32& output_lease,
                    const std::string& model) override;
    void on_token(const domain::Address& worker, const wire::Token& token) override;
    void on_embedding(const domain::Address& worker, const wire::Embedding& embedding) override;
    void on_done(const domain::Address& worker, const wire::CompletionDone& done) override;
    void on_refused(const domain::Address& worker, const wire::CompletionRefused& refused) override;
    void on_worker_gone(const domain::Address& worker) override;

 private:
    struct Endpoint {  // one serving lease pair
        domain::Address worker;
        domain::Address buyer;
        std::string model;
        domain::Hash32 input_lease;
        domain::Hash32 output_lease;
        std::uint64_t price_atoms = 0;  // of output
        std::uint64_t input_price_atoms = 0;
        std::uint64_t in_flight = 0;
    };
    struct Completion {
        api::InferenceRequest request;
        OnToken on_token;
        OnDone on_done;
        domain::Hash32 endpoint;  // its output lease; zero while unrouted
        domain::Address worker;
        bool started = false;  // a token came
        bool held = false;     // its reader is slow
        bool aborted = false;
        bool cut = false;                     // fewer tokens than asked for, for the budget
        std::uint64_t max_tokens_wanted = 0;  // of each choice
        bool settling = false;
        std::set<domain::Address> tried;
        domain::TimeMs heard_ms = 0;
        // Settling: receipts on their way into the engine.
        std::size_t receipts_left = 0;
        api::InferenceDone result;
    };

    void route(std::uint64_t id);
    void route_with(std::uint64_t id, const engine::Engine& engine);
    [[nodiscard]] std::optional<Endpoint> pick(const Completion& completion,
                                               const engine::Engine& engine);
    [[nodiscard]] static wire::MarketMessage message_for(std::uint64_t id,
                                                         const api::InferenceRequest& request,
                                                         const Endpoint& endpoint);
    /// Holds the most the completion can cost at that endpoint and cuts its output to what there
    /// is.
    [[nodiscard]] static ledger::base::Result<void> hold_budget(Completion& completion,
                                                                const Endpoint& endpoint);
    void retry_or_fail(std::uint64_t id, const ledger::base::Error& error);
    /// `budget`: of the completion, which may be over by now.
    void receipt_settled(std::uint64_t id, const ledger::eth::Receipt& receipt,
                         const std::shared_ptr<api::Budget>& budget,
                         const ledger::base::Result<void>& result);
    void finish(std::uint64_t id, ledger::base::Result<api::InferenceDone> result);

    EngineThread& engine_;
    WorkerGateway& gateway_;
    const ledger::base::Clock& clock_;
    mutable std::mutex mutex_;
    std::uint64_t next_id_ = 1;
    std::unordered_map<domain::Hash32, Endpoint> endpoints_;  // by output lease
    std::unordered_map<std::uint64_t, Completion> completions_;
    std::unordered_map<domain::Hash32, std::uint64_t> billed_atoms_;  // per lease, for the cost
};

}  // namespace marketplace::app
