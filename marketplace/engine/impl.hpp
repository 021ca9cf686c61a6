// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/books/books.hpp"
#include "ledger/log/merkle_tree.hpp"
#include "marketplace/engine/engine.hpp"
#include "marketplace/matching/feasibility.hpp"

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace marketplace::engine {

using domain::Address;
using domain::CloseReason;
using domain::Hash32;
using domain::JobState;
using domain::Lease;
using domain::LeaseState;
using domain::TimeMs;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

/// Index into the engine's lists; rises with the time of creation.
using Index = std::uint32_t;

inline constexpr TimeMs kVoucherGraceMs = 30'000;  ///< a closing lease waits for its last voucher
inline constexpr TimeMs kBackOffMs = 1'000;        ///< doubled with every failed attempt
inline constexpr std::size_t kTextBytes = 64;      ///< models, regions, runtimes, codes
inline constexpr std::size_t kListItems = 64;      ///< entries of one constraint list

/// One receipt as a voucher may name it.
struct ReceiptMark {
    Hash32 hash;
    std::uint64_t units = 0;
    std::uint64_t amount_atoms = 0;
    Hash32 root;
};

struct AskState {
    AskEntry entry;
    std::string close_reason;
    std::uint64_t chain_units = 0;  ///< of its leases that the contract counts against the volume
};
struct JobRecordState {
    Job job;
    Hash32 body;  ///< SHA-256 of the posted command: tells a repeat from another body
    Index index = 0;
    TimeMs not_before_ms = 0;                              ///< back-off
    std::vector<std::pair<Hash32, TimeMs>> excluded_asks;  ///< until
    std::string last_code;                                 ///< of the last failed attempt
    bool tell_why = true;  ///< the next attempt that finds nothing says so
};
struct LeaseRecord {
    Lease lease;
    Index job = 0;
    Index ask = 0;
    bool holds_capacity = true;
    bool on_chain_volume = true;  ///< the contract counts it against its orders' volumes
    std::uint64_t claimed_units = 0;
    bool voucher_overdue = false;  ///< closing, and its last voucher did not come in time
    ledger::log::CompactTree tree;
    std::vector<ReceiptMark> receipts;  ///< [i] has sequence i + 1
    std::optional<domain::RecordVoucher> voucher;
};
struct WorkerState {
    Address provider;
    bool connected = false;
    std::uint32_t completed = 0;
    std::uint32_t failed = 0;
    matching::Calendar calendar;  ///< of its exclusive work
};

/// Laplace's rule of succession with a good start: 10,000 without failures.
[[nodiscard]] constexpr std::uint32_t reliability_of(const WorkerState& worker) noexcept {
    const std::uint64_t good = std::uint64_t{worker.completed} + 1;
    return static_cast<std::uint32_t>(good * 10'000 / (good + worker.failed));
}

enum class TimerKind : std::uint8_t { kAskOpens, kAskExpires, kJobDue, kVoucherDue };

class Engine::Impl {
 public:
    explicit Impl(EngineConfig config) : config_(std::move(config)) {}

    // engine.cpp
    [[nodiscard]] Result<std::vector<domain::Event>> apply(const domain::Command& command,
                                                           TimeMs now_ms);
    [[nodiscard]] std::optional<std::string> find_violation() const;             // invariants.cpp
    [[nodiscard]] Quote quote(const domain::PostJob& job, TimeMs now_ms) const;  // matches.cpp

    // Commands. Each checks everything first and then changes; on failure nothing changed.
    // orders.cpp
    Result<void> on(const domain::PostAsk& command);
    Result<void> on(const domain::PostJob& command);
    Result<void> on(const domain::CancelAsk& command);
    Result<void> on(const domain::CancelJob& command);
    Result<void> on(const domain::AmendAsk& command);
    Result<void> on(const domain::AmendJob& command);
    Result<void> on(const domain::WorkerConnected& command);
    Result<void> on(const domain::WorkerLost& command);
    Result<void> on(const domain::EscrowDeposited& command);
    Result<void> on(const domain::EscrowWithdrawn& command);
    Result<void> on(const domain::Tick& command);
    // leases.cpp
    Result<void> on(const domain::LeaseOpened& command);
    Result<void> on(const domain::LeaseOpenFailed& command);
    Result<void> on(const domain::LeaseStarted& command);
    Result<void> on(const domain::LeaseFinished& command);
    Result<void> on(const domain::LeaseFailed& command);
    Result<void> on(const domain::ClaimConfirmed& command);
    Result<void> on(const domain::LeaseCloseConfirmed& command);
    Result<void> on(const domain::LeaseCloseRequested& command);
    // receipts.cpp
    Result<void> on(const domain::SubmitReceipt& command);
    Result<void> on(const domain::RecordVoucher& command);

    [[nodiscard]] std::vector<Hash32> leases_to_open(std::size_t limit) const;

    // Shape checks, also used before a quote.
    [[nodiscard]] Result<void> check_shape(const domain::PostAsk& command) const;
    [[nodiscard]] Result<void> check_shape(const domain::PostJob& command) const;
    [[nodiscard]] Result<void> check_leg(const domain::PostJob& command,
                                         const domain::BidLeg& leg) const;
    [[nodiscard]] Result<void> check_delegation(const domain::PostJob& command) const;
    /// May it be posted now? False: it was, and the first answer stands. `instead_of`: the order
    /// that leaves the book for it and is not counted.
    [[nodiscard]] Result<bool> check_new(const domain::PostAsk& command, const AskState* instead_of,
                                         const Hash32& id) const;
    [[nodiscard]] Result<bool> check_new(const domain::PostJob& command,
                                         const JobRecordState* instead_of,
                                         const Hash32& body) const;
    [[nodiscard]] Result<void> check_new_bids(const domain::PostJob& command,
                                              const JobRecordState* instead_of) const;
    [[nodiscard]] Result<void> check_open_orders(const Address& account, bool one_leaves) const;
    void add_ask(const domain::PostAsk& command, const Hash32& id);
    void add_job(const domain::PostJob& command, const Hash32& body);

    // Matching (matches.cpp)
    struct Fill {
        Index ask = 0;
        std::uint64_t units = 0;
        std::uint64_t locked_atoms = 0;
        std::uint64_t cost_atoms = 0;  ///< what decides: the price, or the locks of a pair
        std::uint32_t reliability_bp = 0;
    };
    struct Scan {
        std::vector<Fill> fits;
        domain::Mismatches reasons;
    };
    struct Plan {
        std::vector<Fill> fills;  ///< one per leg; empty: no match
        domain::Mismatches reasons;
    };
    [[nodiscard]] std::uint64_t units_wanted(const Job& job, std::size_t leg) const;
    [[nodiscard]] Plan plan(const Job& job, const JobRecordState* state, TimeMs now_ms) const;
    [[nodiscard]] matching::Offer offer_of(Index ask) const;
    [[nodiscard]] Scan scan(const Job& job, const JobRecordState* state, std::size_t leg,
                            TimeMs now_ms) const;
    [[nodiscard]] Plan plan_one(const Job& job, const JobRecordState* state, TimeMs now_ms) const;
    [[nodiscard]] Plan plan_pair(const Job& job, const JobRecordState* state, TimeMs now_ms) const;
    [[nodiscard]] static bool is_better(const Fill& a, const Fill& b);
    void try_match(JobRecordState& state);
    void match(JobRecordState& state, const Plan& plan);
    void match_open_jobs();

    // Jobs (orders.cpp)
    void set_job_state(JobRecordState& state, JobState next, std::string_view reason);
    void end_job(JobRecordState& state, JobState next, std::string_view reason,
                 CloseReason close_reason);
    void update_job_from_leases(JobRecordState& state);
    struct Failure {
        std::string_view code;
        CloseReason close_reason = CloseReason::kWorkerFailed;
        std::optional<Address> exclude_worker;
        TimeMs back_off_ms = 0;
    };
    void fail_over(JobRecordState& state, const Failure& failure);
    void expire_job_if_due(JobRecordState& state);
    void on_job_due(JobRecordState& state);
    void close_ask(Index ask, std::string_view reason);

    // Leases (leases.cpp)
    [[nodiscard]] Result<Index> lease_index(const Hash32& lease) const;
    void set_lease_state(Index lease, LeaseState next, CloseReason reason);
    void end_lease(Index lease, CloseReason reason);
    void release_capacity(LeaseRecord& record);
    void release_chain_volume(LeaseRecord& record);
    [[nodiscard]] bool bid_has_room(Index lease) const;
    void update_queues(Index lease);
    void on_voucher_due(Index lease);
    [[nodiscard]] static bool is_active(const Lease& lease) noexcept;

    // Money
    void give_back(const Lease& lease, std::uint64_t atoms);
    void report_balance(const Address& account);
    void settle_shortfall(const Address& account);
    [[nodiscard]] ledger::books::Cause cause(const Hash32& reference) const;

    /// Open jobs are tried highest ceiling first, then oldest first.
    [[nodiscard]] static std::pair<std::uint64_t, Index> open_key(const JobRecordState& state) {
        return {~state.job.legs.front().bid.price_ceiling_atoms, state.index};
    }
    void emit(domain::Event event) { events_.push_back(std::move(event)); }
    void add_timer(TimeMs at_ms, TimerKind kind, Index index) {
        timers_.insert({at_ms, kind, index});
    }

    EngineConfig config_;
    TimeMs now_ms_ = 0;   ///< of the command being applied
    TimeMs last_ms_ = 0;  ///< of the last one that changed anything
    Hash32 state_hash_;
    std::vector<domain::Event> events_;
    domain::Bytes scratch_;
    bool rematch_ = false;  ///< an ask, a worker, room or money appeared

    std::deque<AskState> asks_;
    std::deque<JobRecordState> jobs_;
    std::deque<LeaseRecord> leases_;
    std::unordered_map<Hash32, Index> ask_by_id_;
    std::unordered_map<domain::JobId, Index> job_by_id_;
    std::unordered_map<Hash32, Index> job_by_bid_;
    std::unordered_map<Hash32, Index> lease_by_id_;
    std::unordered_map<Address, WorkerState> workers_;
    std::vector<Address> worker_order_;  ///< as first seen
    std::unordered_map<Address, std::uint32_t> open_orders_;
    std::set<Index> open_asks_;
    std::set<std::pair<std::uint64_t, Index>> open_jobs_;  ///< highest ceiling first, then time
    std::set<Index> active_leases_;
    std::set<Index> to_open_;
    std::set<Index> to_claim_;
    std::set<Index> to_close_;
    std::set<std::tuple<TimeMs, TimerKind, Index>> timers_;

    ledger::books::Books books_;
    std::map<Address, std::uint64_t> shortfall_;  ///< withdrawn on chain, still held here
    std::set<std::tuple<Hash32, std::uint32_t, bool>> seen_escrow_;
};

}  // namespace marketplace::engine
