// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/checked.hpp"
#include "marketplace/engine/engine.hpp"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace tests {

namespace md = marketplace::domain;

/// The rules of the exchange (marketplace/engine/README.md) a second time: no index, no stored
/// totals, scans for everything. Written from the text; the oracle for the engine. Slow, meant for
/// markets of some hundred orders. Not thread-safe.
class NaiveMarket {
 public:
    using Code = ledger::base::ErrorCode;
    using Refusal = std::optional<Code>;

    struct Ask {
        md::Hash32 id;
        md::PostAsk post;
        bool open = true;
        bool expired = false;
        bool amended = false;
    };
    /// What the worker reported: totals after a receipt.
    struct Receipt {
        md::Hash32 hash;
        md::Hash32 response;
        md::Hash32 root;
        std::uint64_t units = 0;
        std::uint64_t amount = 0;
    };
    struct Lease {
        md::Lease is;
        std::size_t ask = 0;  ///< in asks()
        std::size_t job = 0;  ///< in jobs()
        std::vector<Receipt> receipts;
        std::optional<ledger::eth::Voucher> voucher;
        std::optional<md::TimeMs> voucher_due;  ///< closing: for receipts not yet covered
        bool has_equivocated = false;
        bool voucher_overdue = false;             ///< no more receipts are taken
        std::optional<std::size_t> reclaimed_by;  ///< in jobs()
        bool exclusive = false;                   ///< it has its worker to itself
    };
    struct Job {
        md::PostJob post;
        std::vector<md::Hash32> bids;
        md::JobState state = md::JobState::kOpen;
        std::uint64_t done = 0;
        md::Hash32 checkpoint;
        std::uint64_t attempts = 0;
        md::TimeMs wait_until = 0;
        md::TimeMs batch_at = 0;  ///< 0: not in a batch
        std::vector<md::Address> excluded;
        std::vector<std::pair<md::Hash32, md::TimeMs>> refused_asks;  ///< and until when
        std::set<std::string> faults;                                 ///< that may lie in the job
        bool amended = false;
        bool lacks_money = false;         ///< it had a plan and could not pay; waits for money
        std::vector<std::size_t> leases;  ///< all, in leases()
        std::size_t attempt_from = 0;     ///< first of `leases` that belongs to the present attempt

        [[nodiscard]] const md::Address& buyer() const { return post.legs[0].bid.buyer; }
        [[nodiscard]] std::size_t gang() const { return post.legs[0].constraints.gang; }
        [[nodiscard]] bool trains() const { return post.terms.kind == md::JobKind::kTrain; }
    };
    struct Worker {
        md::Address provider;
        bool connected = false;
        std::uint64_t completed = 0;
        std::uint64_t failed = 0;
    };
    struct Account {
        std::int64_t free = 0;
        std::int64_t held = 0;
        std::int64_t earned = 0;
        std::int64_t shortfall = 0;  ///< withdrawn on chain while held here
    };
    /// What a command brought about, as far as it decides who works for whom.
    struct Outcome {
        Refusal refused;
        std::vector<md::Matched> matched;
        std::vector<md::LeaseReclaimed> reclaims;
        std::vector<md::BatchCleared> batches;
    };

    explicit NaiveMarket(marketplace::engine::EngineConfig config) : config_(std::move(config)) {}

    /// Like Engine::apply; the clock is the caller's duty.
    Outcome apply(const md::Command& command, md::TimeMs now_ms);

    [[nodiscard]] const std::deque<Ask>& asks() const { return asks_; }
    [[nodiscard]] const std::deque<Job>& jobs() const { return jobs_; }
    [[nodiscard]] const std::deque<Lease>& leases() const { return leases_; }
    [[nodiscard]] const std::map<md::Address, Worker>& workers() const { return workers_; }
    [[nodiscard]] Account account(const md::Address& owner) const;
    [[nodiscard]] std::uint64_t units_out(const Ask& ask) const;
    [[nodiscard]] std::uint32_t reliability_bp(const md::Address& worker) const;

 private:
    /// An ask that a job would take.
    struct Take {
        std::size_t ask = 0;
        std::size_t leg = 0;
        std::uint64_t units = 0;
        std::uint64_t price = 0;
        std::uint64_t lock = 0;
    };
    using Plan = std::vector<Take>;
    struct Due {
        md::TimeMs at = 0;
        int kind = 0;
        std::size_t number = 0;
        friend auto operator<=>(const Due&, const Due&) = default;
    };
    using Group = std::pair<ledger::eth::UnitKind, std::set<std::string>>;

    // naive_orders.cpp: commands about orders, workers and escrow.
    Refusal check(const md::PostAsk& c, const Ask* instead_of) const;
    Refusal check(const md::PostJob& c, const Job* instead_of) const;
    [[nodiscard]] Refusal shape_of(const md::PostAsk& c) const;
    [[nodiscard]] Refusal shape_of(const md::PostJob& c) const;
    [[nodiscard]] Refusal shape_of(const md::PostJob& c, const md::BidLeg& leg) const;
    [[nodiscard]] ledger::base::Uint128 worth(const md::PostJob& c) const;
    Refusal take(const md::PostAsk& c);
    Refusal take(const md::PostJob& c);
    Refusal take(const md::CancelAsk& c);
    Refusal take(const md::CancelJob& c);
    Refusal take(const md::AmendAsk& c);
    Refusal take(const md::AmendJob& c);
    Refusal take(const md::WorkerConnected& c);
    Refusal take(const md::WorkerLost& c);
    Refusal take(const md::EscrowDeposited& c);
    Refusal take(const md::EscrowWithdrawn& c);
    Refusal take(const md::Tick&) { return std::nullopt; }
    void add(const md::PostAsk& c);
    void add(const md::PostJob& c);

    // naive_leases.cpp: the life of a lease.
    Refusal take(const md::LeaseOpened& c);
    Refusal take(const md::LeaseOpenFailed& c);
    Refusal take(const md::LeaseStarted& c);
    Refusal take(const md::SubmitReceipt& c);
    Refusal take(const md::RecordVoucher& c);
    Refusal take(const md::LeaseFinished& c);
    Refusal take(const md::LeaseFailed& c);
    Refusal take(const md::ClaimConfirmed& c);
    Refusal take(const md::LeaseCloseRequested& c);
    Refusal take(const md::LeaseCloseConfirmed& c);
    void end_lease(Lease& lease, md::CloseReason reason);
    void end_attempt(Job& job, md::CloseReason reason);
    void end_job(Job& job, md::JobState state, md::CloseReason reason);
    void reopen(Job& job);
    void wait_for_batch(Job& job) const;
    [[nodiscard]] bool has_expired(const Job& job) const;
    void leave(Lease& lease, md::CloseReason reason, const std::string& code, bool backs_off);
    void fail_over(Job& job, const std::string& code, bool backs_off);
    void finish(Lease& lease);
    void update_progress(Job& job);
    void update_state(Job& job);
    void release(const md::Address& owner, std::uint64_t atoms);
    void forget_reclaim(Lease& lease);
    void forget_reclaims_by(const Job& job);
    [[nodiscard]] Lease* find_lease(const md::Hash32& id);
    [[nodiscard]] std::vector<Lease*> attempt_of(const Job& job);

    // naive_round.cpp: who gets what.
    [[nodiscard]] static bool holds_room(const Lease& lease);
    [[nodiscard]] bool is_free(const md::Address& worker, md::TimeMs from, md::TimeMs until) const;
    [[nodiscard]] std::pair<md::TimeMs, md::TimeMs> window_of(const md::BidLeg& leg) const;
    [[nodiscard]] std::uint64_t offered(const md::BidLeg& leg) const;
    [[nodiscard]] bool names_fit(const Ask& ask, const Job& job, const md::BidLeg& leg) const;
    [[nodiscard]] bool machine_fits(const Ask& ask, const Job& job, const md::BidLeg& leg) const;
    [[nodiscard]] std::optional<Take> fit(std::size_t ask, const Job& job, std::size_t leg) const;
    [[nodiscard]] bool better(const Take& a, const Take& b) const;
    [[nodiscard]] std::optional<Plan> plan(const Job& job) const;
    [[nodiscard]] std::optional<Plan> plan_gang(const Job& job) const;
    [[nodiscard]] std::optional<Plan> plan_serving(const Job& job) const;
    [[nodiscard]] bool has_money(const Job& job, const Plan& plan) const;
    void match(std::size_t job, const Plan& plan);
    [[nodiscard]] Lease lease_for(std::size_t job, const Take& take) const;
    [[nodiscard]] bool waits(const Job& job) const;
    void round();
    void try_job(std::size_t job);
    void ask_for_room(std::size_t job);
    [[nodiscard]] std::vector<Due> due() const;
    void work_off_timers();
    void work_off(const Due& timer);
    void clear_batch(md::TimeMs at);
    void clear_group(const Group& group, std::vector<std::size_t> bids);

    marketplace::engine::EngineConfig config_;
    md::TimeMs now_ = 0;
    Outcome out_;
    std::deque<Ask> asks_;
    std::deque<Job> jobs_;
    std::deque<Lease> leases_;
    std::map<md::Address, Worker> workers_;
    std::map<md::Address, Account> accounts_;
    std::set<std::pair<md::Hash32, std::uint32_t>> escrow_events_;
    std::vector<std::size_t> first_in_round_;  ///< jobs for whom a lease made room
    const Lease* gone_ = nullptr;              ///< "if that lease were gone"
    std::vector<Lease> planned_;               ///< rooms taken by a batch being planned
};

}  // namespace tests
