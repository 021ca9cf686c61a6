// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/checked.hpp"
#include "ledger/books/books.hpp"
#include "ledger/log/merkle_tree.hpp"
#include "marketplace/engine/engine.hpp"
#include "marketplace/matching/bid_book.hpp"
#include "marketplace/matching/feasibility.hpp"
#include "marketplace/matching/order_book.hpp"

#include <boost/unordered/unordered_flat_map.hpp>

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <queue>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace marketplace::domain {
class Reader;
}

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

/// A job's place in a round.
using Rank = matching::BidRank;

/// One receipt as a voucher may name it.
struct ReceiptMark {
    Hash32 hash;
    std::uint64_t units = 0;
    std::uint64_t amount_atoms = 0;
    Hash32 root;
    Hash32 response;  ///< train: the checkpoint
};

struct AskState {
    AskEntry entry;
    std::string close_reason;
    std::size_t open_at = 0;        ///< while open: its place in `open_asks_`
    std::uint64_t chain_units = 0;  ///< of its leases that the contract counts against the volume
};
struct JobRecordState {
    Job job;
    Hash32 body;  ///< SHA-256 of the posted command: tells a repeat from another body
    Index index = 0;
    std::uint64_t worst_atoms = 0;                         ///< the most it can lock
    TimeMs not_before_ms = 0;                              ///< back-off
    TimeMs batch_at_ms = 0;                                ///< waits for this batch; 0: for none
    std::vector<std::pair<Hash32, TimeMs>> excluded_asks;  ///< until
    std::vector<std::string> faults;                       ///< of the job, as workers said
    std::vector<Index> leases;                             ///< all, in order of matching
    std::vector<Index> team;                               ///< those of the present attempt
    std::optional<Index> reclaims;                         ///< the lease that makes room for it
    bool tell_why = true;      ///< the next attempt that finds nothing says so
    bool lacks_money = false;  ///< it had a plan and could not pay for it
};
struct LeaseRecord {
    Lease lease;
    Index job = 0;
    Index ask = 0;
    bool holds_capacity = true;
    bool on_chain_volume = true;  ///< the contract counts it against its orders' volumes
    bool has_begun = true;        ///< false: reserved, and its window is still to come
    std::uint64_t claimed_units = 0;
    TimeMs voucher_due_ms = 0;          ///< closing: the voucher over its last receipts; 0: none
    bool voucher_overdue = false;       ///< it did not come in time
    bool has_equivocated = false;       ///< two receipts carry one sequence
    std::optional<Index> reclaimed_by;  ///< the job it makes room for
    TimeMs batch_ms = 0;                ///< the batch it came from; 0: none
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
    std::set<Index> leases;       ///< active
};

/// Laplace's rule of succession with a good start: 10,000 without failures.
[[nodiscard]] constexpr std::uint32_t reliability_of(const WorkerState& worker) noexcept {
    const std::uint64_t good = std::uint64_t{worker.completed} + 1;
    return static_cast<std::uint32_t>(good * 10'000 / (good + worker.failed));
}

/// Timers of one moment are worked off in this order.
enum class TimerKind : std::uint8_t {
    kAskOpens,
    kAskExpires,
    kJobDue,
    kLeaseBegins,
    kLeaseEnds,
    kReclaimDue,
    kVoucherDue,
    kBatch,
};

[[nodiscard]] inline bool is_training(const Job& job) noexcept {
    return job.terms.kind == domain::JobKind::kTrain;
}
[[nodiscard]] inline const domain::Constraints& constraints_of(const Job& job) noexcept {
    return job.legs.front().constraints;
}
[[nodiscard]] inline bool has_ramp(const Job& job) noexcept {
    return constraints_of(job).ramp_from_atoms != 0;
}
[[nodiscard]] inline bool is_batched(const Job& job) noexcept {
    return constraints_of(job).clearing == domain::Clearing::kBatch;
}
[[nodiscard]] inline std::size_t gang_of(const Job& job) noexcept {
    return constraints_of(job).gang;
}

/// The most the books hold of an account.
inline constexpr std::uint64_t kMostAtoms = ~std::uint64_t{0} >> 1U;
/// The most a job can lock at one time: its ceiling or maximum amount, for every leg and member.
[[nodiscard]] std::uint64_t worst_case_atoms(const domain::JobTerms& terms,
                                             const std::vector<domain::BidLeg>& legs);

/// At which price a bid is looked at: what it offers now, or the most it ever will.
enum class PriceAt : std::uint8_t { kNow, kCeiling };

/// What one leg of a job asks for at a moment, with the data that a Want refers to.
class Demand {
 public:
    Demand(const Job& job, const JobRecordState* state, std::size_t leg, TimeMs now_ms, PriceAt at);
    Demand(const Demand&) = delete;
    Demand& operator=(const Demand&) = delete;
    ~Demand() = default;

 private:
    std::vector<Hash32> excluded_asks_;

 public:
    const matching::Want want;
};

class Engine::Impl {
 public:
    explicit Impl(EngineConfig config) : config_(std::move(config)) {}

    // engine.cpp
    [[nodiscard]] Result<std::vector<domain::Event>> apply(const domain::Command& command,
                                                           const domain::MessageHashes& hashes,
                                                           TimeMs now_ms);
    // invariants.cpp
    [[nodiscard]] std::optional<std::string> find_violation() const;
    [[nodiscard]] std::optional<std::string> find_oversold() const;
    [[nodiscard]] std::optional<std::string> find_odd_job() const;
    [[nodiscard]] Result<Quote> quote(const domain::PostJob& job,
                                      TimeMs now_ms) const;  // quotes.cpp
    [[nodiscard]] domain::Mismatches reasons(const Job& job, const JobRecordState* state,
                                             TimeMs now_ms) const;  // quotes.cpp

    // Commands. Each checks everything first and then changes; on failure nothing changed.
    // asks.cpp, jobs.cpp, accounts.cpp
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

    // Shape checks, also used before a quote (shape.cpp).
    [[nodiscard]] Result<void> check_shape(const domain::PostAsk& command) const;
    [[nodiscard]] Result<void> check_shape(const domain::PostJob& command) const;
    [[nodiscard]] Result<void> check_leg(const domain::PostJob& command,
                                         const domain::BidLeg& leg) const;
    [[nodiscard]] Result<void> check_delegation(const domain::PostJob& command) const;
    /// A posted job and its hashes.
    struct NewJob {
        NewJob(const domain::PostJob& posted, std::span<const Hash32> hashes);
        const domain::PostJob& command;
        Hash32 body;
        std::span<const Hash32> bids;
    };
    /// May it be posted now? False: it was, and the first answer stands. `instead_of`: the order
    /// that leaves the book for it and is not counted.
    [[nodiscard]] Result<bool> check_new(const domain::PostAsk& command, const AskState* instead_of,
                                         const Hash32& id) const;
    [[nodiscard]] Result<bool> check_new(const NewJob& job, const JobRecordState* instead_of) const;
    [[nodiscard]] Result<void> check_new_bids(const NewJob& job,
                                              const JobRecordState* instead_of) const;
    [[nodiscard]] Result<void> check_limits(const domain::PostAsk& command,
                                            const AskState* instead_of) const;
    [[nodiscard]] Result<void> check_funds(const domain::PostJob& command,
                                           const JobRecordState* instead_of) const;
    void add_ask(const domain::PostAsk& command, const Hash32& id);
    void add_job(const NewJob& job);

    // Choosing (plans.cpp)
    struct Fill {
        Index ask = 0;
        std::uint64_t units = 0;
        std::uint64_t price_atoms = 0;  ///< of the lease
        std::uint64_t locked_atoms = 0;
        std::uint32_t reliability_bp = 0;
    };
    /// One per leg, or one per member of the gang, best first; empty: no match.
    using Plan = std::vector<Fill>;
    [[nodiscard]] matching::Offer offer_of(Index ask) const;
    [[nodiscard]] std::optional<Fill> fill_of(Index ask, const matching::Want& want) const;
    [[nodiscard]] matching::Query query_of(const JobRecordState* state,
                                           const matching::Want& want) const;
    [[nodiscard]] std::optional<Fill> least_lock(const Address& worker,
                                                 const matching::Want& want) const;
    [[nodiscard]] Plan best_pair(const Demand& input, const Demand& output,
                                 const JobRecordState* state) const;
    [[nodiscard]] Plan plan(const Job& job, const JobRecordState* state, TimeMs now_ms,
                            PriceAt at = PriceAt::kNow) const;
    [[nodiscard]] static std::uint64_t sum_of_locks(const Plan& plan);
    // quotes.cpp
    [[nodiscard]] std::uint32_t count_candidates(const Job& job, TimeMs now_ms) const;
    [[nodiscard]] TimeMs expected_start(const Job& job, const Plan& planned, TimeMs now_ms) const;

    // Rounds (rounds.cpp)
    void work_off_timers();
    void on_timer(TimeMs at_ms, TimerKind kind, Index index);
    void run_round();
    [[nodiscard]] std::optional<Rank> next_bid(Index ask, std::optional<Rank> after) const;
    [[nodiscard]] bool may_help(Index ask, const JobRecordState& state) const;
    [[nodiscard]] bool is_waiting(const JobRecordState& state) const;
    void try_job(JobRecordState& state);
    void tell_why(JobRecordState& state);
    void wait_for_ramp(JobRecordState& state);
    /// An ask became better: bids that it may help are tried in this command's round.
    void touch_ask(Index ask);
    void touch_worker(const Address& worker);
    void make_ready(JobRecordState& state);
    [[nodiscard]] bool is_out_of_use(Index ask) const;

    // Matches (matches.cpp)
    void match(JobRecordState& state, const Plan& plan);
    void make_lease(JobRecordState& state, std::size_t leg, const Fill& fill);
    void take_room(const Fill& fill, const Job& job, const matching::Window& window);
    void give_room(const Fill& fill, const Job& job, const matching::Window& window);
    // The books follow what changes: an ask's room, its worker's presence, calendar and record.
    [[nodiscard]] matching::AskState book_state(Index ask) const;
    void refresh_ask(Index ask);
    void refresh_calendar(const Address& worker);
    void refresh_worker(const Address& worker);

    // Interruptible leases (reclaim.cpp)
    [[nodiscard]] static bool may_ask_for_room(const JobRecordState& state);
    [[nodiscard]] std::optional<std::uint64_t> price_without(const LeaseRecord& record,
                                                             const matching::Want& want) const;
    void ask_for_room(JobRecordState& state);
    void let_stay(JobRecordState& state);
    void forget_reclaim(LeaseRecord& record);
    void on_reclaim_due(Index lease, TimeMs at_ms);

    // Batches (batch.cpp)
    struct BatchBid {
        Index job = 0;
        std::optional<Fill> fill;
        matching::Window window;
    };
    void wait_for_batch(JobRecordState& state);
    void clear_batch(TimeMs at_ms);
    void clear_group(TimeMs at_ms, domain::BatchCleared cleared, std::vector<BatchBid> bids);
    void plan_batch(std::vector<BatchBid>& bids, std::size_t from);
    void undo_batch(std::vector<BatchBid>& bids, std::size_t from);
    [[nodiscard]] std::optional<std::size_t> who_drops_out(std::vector<BatchBid>& bids,
                                                           std::uint64_t price_atoms) const;

    // Jobs (job_states.cpp)
    void set_job_state(JobRecordState& state, JobState next, std::string_view reason);
    void end_team(JobRecordState& state, CloseReason close_reason);
    void end_job(JobRecordState& state, JobState next, std::string_view reason,
                 CloseReason close_reason);
    void reopen(JobRecordState& state, std::string_view reason);
    void rest(JobRecordState& state);
    void update_job_from_leases(JobRecordState& state);
    /// A lease's work is done; its job may go on with another.
    void finish(Index lease);
    struct Failure {
        std::string_view code;
        CloseReason close_reason = CloseReason::kWorkerFailed;
        TimeMs back_off_ms = 0;
    };
    /// A lease ended before its work was done: the job goes on elsewhere, unless all was done.
    void leave(Index lease, const Failure& failure);
    void fail_over(JobRecordState& state, std::string_view code, TimeMs back_off_ms);
    [[nodiscard]] static bool has_expired(const JobRecordState& state, TimeMs at_ms);
    void on_job_due(JobRecordState& state, TimeMs at_ms);
    void close_ask(Index ask, std::string_view reason);

    // Leases (leases.cpp)
    [[nodiscard]] Result<Index> lease_index(const Hash32& lease) const;
    void set_lease_state(Index lease, LeaseState next, CloseReason reason);
    void end_lease(Index lease, CloseReason reason);
    void release_capacity(LeaseRecord& record);
    void release_chain_volume(LeaseRecord& record);
    [[nodiscard]] bool bid_has_room(Index lease) const;
    void update_queues(Index lease);
    void wait_for_voucher(Index lease);
    void on_voucher_due(Index lease, TimeMs at_ms);
    void on_lease_begins(Index lease);
    void on_lease_ends(Index lease);
    void update_progress(JobRecordState& state);
    [[nodiscard]] static bool is_active(const Lease& lease) noexcept;

    // Money
    void give_back(const Lease& lease, std::uint64_t atoms);
    void report_balance(const Address& account);
    void settle_shortfall(const Address& account);
    void money_came(const Address& account);
    [[nodiscard]] ledger::books::Cause cause(const Hash32& reference) const;

    [[nodiscard]] static Rank rank_of(const JobRecordState& state) {
        return matching::rank_of(state.index, state.job.legs.front());
    }
    void emit(domain::Event event) { events_.push_back(std::move(event)); }
    void add_timer(TimeMs at_ms, TimerKind kind, Index index) {
        timers_.push({at_ms, kind, index});
    }

    // The state as bytes (engine_state.cpp)
    void save(SnapshotWriter& out) const;
    void save_money(SnapshotWriter& out) const;
    Result<void> load(ledger::base::ByteView bytes);
    Result<void> load_workers(domain::Reader& in);
    Result<void> load_asks(domain::Reader& in);
    Result<void> load_jobs(domain::Reader& in);
    Result<void> load_leases(domain::Reader& in);
    Result<void> add_loaded_lease(Index index);
    Result<void> rebuild_books();
    Result<void> load_timers(domain::Reader& in);
    Result<void> load_money(domain::Reader& in);

    EngineConfig config_;
    TimeMs now_ms_ = 0;               ///< of the command being applied
    std::span<const Hash32> hashes_;  ///< of the messages in it
    TimeMs last_ms_ = 0;              ///< of the last one that changed anything
    Hash32 state_hash_;
    std::vector<domain::Event> events_;
    domain::Bytes scratch_;

    std::deque<AskState> asks_;
    std::deque<JobRecordState> jobs_;
    std::deque<LeaseRecord> leases_;
    boost::unordered_flat_map<Hash32, Index> ask_by_id_;
    boost::unordered_flat_map<domain::JobId, Index> job_by_id_;
    boost::unordered_flat_map<Hash32, Index> job_by_bid_;
    boost::unordered_flat_map<Hash32, Index> lease_by_id_;
    std::unordered_map<Address, WorkerState> workers_;
    std::vector<Address> worker_order_;  ///< as first seen
    boost::unordered_flat_map<Address, std::uint32_t> open_orders_;
    boost::unordered_flat_map<Address, ledger::base::Uint128>
        open_interest_;  ///< worst case of open jobs
    boost::unordered_flat_map<Address, std::vector<Index>> asks_of_worker_;  ///< open, in order
    std::vector<Index> open_asks_;                                           ///< in no order
    matching::OrderBook book_;                                               ///< the open asks
    matching::BidBook bids_;  ///< the open jobs without those of a batch
    std::unordered_map<Address, std::set<Index>> short_of_money_;  ///< open jobs, by buyer
    std::set<std::pair<TimeMs, Index>> batch_jobs_;                ///< by the batch they wait for
    std::set<std::pair<std::uint64_t, Index>> reclaimable_;  ///< cheapest, then youngest (~lease)
    // What the next round looks at.
    std::vector<Index> first_;  ///< jobs for which a lease made room
    std::set<Rank> ready_;      ///< jobs that may have become matchable by themselves
    std::set<Index> touched_;   ///< asks that became better
    std::set<Index> touched_in_round_;
    /// The next bid that a touched ask may help: looked up again when the round has passed it, or
    /// the ask became better still.
    std::map<Index, std::optional<Rank>> next_bids_;
    std::set<Index> to_open_;
    std::set<Index> to_claim_;
    std::set<Index> to_close_;
    using Timer = std::tuple<TimeMs, TimerKind, Index>;
    /// The earliest first; equal ones count once.
    struct Timers : std::priority_queue<Timer, std::vector<Timer>, std::greater<>> {
        [[nodiscard]] const std::vector<Timer>& all() const noexcept { return c; }
    };
    Timers timers_;

    ledger::books::Books books_;
    std::map<Address, std::uint64_t> shortfall_;  ///< withdrawn on chain, still held here
    std::set<std::tuple<Hash32, std::uint32_t, bool>> seen_escrow_;
};

}  // namespace marketplace::engine
