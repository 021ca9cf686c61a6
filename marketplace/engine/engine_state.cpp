// SPDX-License-Identifier: Apache-2.0
#include "ledger/base/check.hpp"
#include "marketplace/engine/impl.hpp"
#include "marketplace/engine/snapshot_writer.hpp"

#include <algorithm>
#include <limits>

/// The engine's state as bytes. Stored is what happened; what follows from it (books of orders,
/// maps by id, queues of leases, room, calendars, holds, counts) is made again, so that it cannot
/// differ.
namespace marketplace::domain {

template <>
struct EnumSize<engine::TimerKind> {
    static constexpr std::uint8_t kValue = 8;
};
template <>
struct EnumSize<ledger::books::AccountKind> {
    static constexpr std::uint8_t kValue = ledger::books::kAccountKindCount;
};

}  // namespace marketplace::domain

namespace marketplace::engine {

using domain::Like;
using domain::Reader;

template <typename A>
void fields(A& a, Like<ReceiptMark> auto& v) {
    a(v.hash, v.units, v.amount_atoms, v.root, v.response);
}
template <typename A>
void fields(A& a, Like<JobRecordState> auto& v) {
    auto& job = v.job;
    a(job.state, job.reason, job.bid_hashes, job.units_done, job.checkpoint, job.attempts,
      job.excluded, job.created_ms, job.changed_ms);
    a(v.body, v.not_before_ms, v.batch_at_ms, v.excluded_asks, v.faults, v.team, v.tell_why,
      v.lacks_money);
}
template <typename A>
void fields(A& a, Like<LeaseRecord> auto& v) {
    auto& lease = v.lease;
    a(v.job, v.ask, lease.id, lease.leg, lease.index, lease.voucher_signer, lease.price_atoms,
      lease.max_units, lease.locked_atoms, lease.state, lease.close_reason, lease.start_units,
      lease.start_checkpoint, lease.last_receipt, lease.units, lease.amount_atoms, lease.checkpoint,
      lease.receipts_root, lease.voucher_sequence, lease.voucher_amount_atoms, lease.claimed_atoms,
      lease.fee_atoms, lease.refunded_atoms, lease.matched_ms, lease.starts_ms, lease.ends_ms,
      lease.reclaim_at_ms, lease.changed_ms);
    a(v.holds_capacity, v.on_chain_volume, v.has_begun, v.claimed_units, v.voucher_due_ms,
      v.voucher_overdue, v.has_equivocated, v.reclaimed_by, v.batch_ms, v.receipts);
}

namespace {

/// The least that one takes; see read_count.
constexpr std::size_t kWorkerBytes = 49;
constexpr std::size_t kAskBytes = 300;
constexpr std::size_t kJobBytes = 300;
constexpr std::size_t kLeaseBytes = 300;
constexpr std::size_t kTimerBytes = 13;

auto wrong(const char* what) {
    return fail(ErrorCode::invalid_encoding, std::string("state: ") + what);
}

template <typename Set>
std::vector<typename Set::value_type> sorted(const Set& set) {
    std::vector<typename Set::value_type> out;
    for (const auto& item : set)
        out.push_back(item);
    std::sort(out.begin(), out.end());
    return out;
}

}  // namespace

// Out -------------------------------------------------------------------------------------------

void Engine::Impl::save(SnapshotWriter& out) const {
    // What a round leaves: nobody it has to try first, and nothing known of the next one.
    MR_CHECK(first_.empty());
    out(last_ms_, state_hash_);
    out.count(worker_order_.size());
    for (const Address& address : worker_order_) {
        const WorkerState& worker = workers_.at(address);
        out(address, worker.provider, worker.connected, worker.completed, worker.failed);
    }
    out.count(asks_.size());
    for (const AskState& state : asks_) {
        const AskEntry& entry = state.entry;
        out(entry.id, entry.ask, entry.signature, entry.resource, entry.open, entry.posted_ms,
            state.close_reason);
    }
    out.count(jobs_.size());
    for (const JobRecordState& state : jobs_) {
        const Job& job = state.job;
        out(job.id, job.terms, job.legs, job.delegation, job.delegation_signature, state);
    }
    out.count(leases_.size());
    for (const LeaseRecord& record : leases_) {
        out(record, record.tree.peaks(), record.voucher.has_value());
        if (record.voucher)
            out(record.voucher->voucher, record.voucher->buyer_signature,
                record.voucher->worker_signature);
    }
    auto timers = sorted(timers_.all());
    timers.erase(std::unique(timers.begin(), timers.end()), timers.end());
    out.count(timers.size());
    for (const auto& [at_ms, kind, index] : timers)
        out(at_ms, kind, index);
    std::vector<Index> ready;
    for (const Rank& rank : ready_)
        ready.push_back(rank.job);
    out(ready, sorted(touched_));
    save_money(out);
}

void Engine::Impl::save_money(SnapshotWriter& out) const {
    out.count(books_.accounts().size());
    for (const auto& [account, balance] : books_.accounts())
        out(account.owner, account.kind, balance.atoms());
    out(books_.entries(), books_.journal_hash());
    out.count(shortfall_.size());
    for (const auto& [account, atoms] : shortfall_)
        out(account, atoms);
    const auto seen = sorted(seen_escrow_);
    out.count(seen.size());
    for (const auto& [transaction, log_index, is_deposit] : seen)
        out(transaction, log_index, is_deposit);
}

// In --------------------------------------------------------------------------------------------

Result<void> Engine::Impl::load(ledger::base::ByteView bytes) {
    Reader in(bytes);
    in(last_ms_, state_hash_);
    now_ms_ = last_ms_;
    TRY(load_workers(in));
    TRY(load_asks(in));
    TRY(load_jobs(in));
    TRY(load_leases(in));
    TRY(rebuild_books());
    TRY(load_timers(in));
    TRY(load_money(in));
    if (!in.complete()) return wrong("end");
    if (const auto violation = find_violation())
        return fail(ErrorCode::invalid_encoding, *violation);
    return {};
}

Result<void> Engine::Impl::load_workers(Reader& in) {
    const std::uint64_t count = read_count(in, kWorkerBytes);
    workers_.reserve(count);
    for (std::uint64_t i = 0; i < count; ++i) {
        Address address;
        WorkerState worker;
        in(address, worker.provider, worker.connected, worker.completed, worker.failed);
        if (!in.ok() || !workers_.emplace(address, std::move(worker)).second)
            return wrong("workers");
        worker_order_.push_back(address);
    }
    return {};
}

Result<void> Engine::Impl::load_asks(Reader& in) {
    const std::uint64_t count = read_count(in, kAskBytes);
    if (count > std::numeric_limits<Index>::max()) return wrong("asks");
    ask_by_id_.reserve(count);
    for (std::uint64_t i = 0; i < count; ++i) {
        AskState& state = asks_.emplace_back();
        AskEntry& entry = state.entry;
        domain::PostAsk posted;
        in(entry.id, posted.ask, posted.signature, posted.resource, entry.open, entry.posted_ms,
           state.close_reason);
        if (!in.ok()) return wrong("asks");
        TRY(check_shape(posted));
        entry.ask = posted.ask;
        entry.signature = posted.signature;
        entry.resource = std::move(posted.resource);
        const auto index = static_cast<Index>(i);
        if (!ask_by_id_.emplace(entry.id, index).second) return wrong("an ask twice");
        if (!entry.open) continue;
        ++open_orders_[entry.ask.provider];
        state.open_at = open_asks_.size();
        open_asks_.push_back(index);
        asks_of_worker_[entry.resource.worker].push_back(index);
    }
    return {};
}

Result<void> Engine::Impl::load_jobs(Reader& in) {
    const std::uint64_t count = read_count(in, kJobBytes);
    if (count > std::numeric_limits<Index>::max()) return wrong("jobs");
    job_by_id_.reserve(count);
    job_by_bid_.reserve(count);
    for (std::uint64_t i = 0; i < count; ++i) {
        domain::PostJob posted;
        JobRecordState& state = jobs_.emplace_back();
        in(posted.id, posted.terms, posted.legs, posted.delegation, posted.delegation_signature,
           state);
        if (!in.ok()) return wrong("jobs");
        TRY(check_shape(posted));
        Job& job = state.job;
        state.index = static_cast<Index>(i);
        state.worst_atoms = worst_case_atoms(posted.terms, posted.legs);
        job.id = posted.id;
        job.buyer = posted.legs.front().bid.buyer;
        job.terms = posted.terms;
        job.legs = std::move(posted.legs);
        job.delegation = posted.delegation;
        job.delegation_signature = posted.delegation_signature;
        const bool is_open = job.state == JobState::kOpen;
        if (job.units_done > job.terms.total_units || job.bid_hashes.size() != job.legs.size() ||
            (state.lacks_money && !is_open) ||
            std::any_of(state.excluded_asks.begin(), state.excluded_asks.end(),
                        [this](const auto& ask) { return !ask_by_id_.contains(ask.first); }))
            return wrong("a job");
        if (!job_by_id_.emplace(job.id, state.index).second) return wrong("a job twice");
        for (const Hash32& bid : job.bid_hashes)
            if (!job_by_bid_.emplace(bid, state.index).second) return wrong("a bid twice");
        if (!is_final(job.state)) ++open_orders_[job.buyer];
        if (!is_open) continue;
        open_interest_[job.buyer] += state.worst_atoms;
        if (state.lacks_money) short_of_money_[job.buyer].insert(state.index);
        if (is_batched(job)) batch_jobs_.emplace(state.batch_at_ms, state.index);
    }
    return {};
}

Result<void> Engine::Impl::load_leases(Reader& in) {
    const std::uint64_t count = read_count(in, kLeaseBytes);
    if (count > std::numeric_limits<Index>::max()) return wrong("leases");
    lease_by_id_.reserve(count);
    for (std::uint64_t i = 0; i < count; ++i) {
        LeaseRecord& record = leases_.emplace_back();
        std::vector<Hash32> peaks;
        bool has_voucher = false;
        in(record, peaks, has_voucher);
        if (has_voucher) {
            auto& voucher = record.voucher.emplace();
            in(voucher.voucher, voucher.buyer_signature, voucher.worker_signature);
        }
        if (!in.ok()) return wrong("leases");
        TRY_ASSIGN(record.tree,
                   ledger::log::CompactTree::restore(record.receipts.size(), std::move(peaks)));
        TRY(add_loaded_lease(static_cast<Index>(i)));
    }
    for (const JobRecordState& state : jobs_)
        for (const Index lease : state.team)
            if (lease >= leases_.size() || leases_[lease].job != state.index)
                return wrong("a team");
    return {};
}

/// What a lease has in common with its orders, and what it takes of them.
Result<void> Engine::Impl::add_loaded_lease(Index index) {
    LeaseRecord& record = leases_[index];
    Lease& lease = record.lease;
    if (record.job >= jobs_.size() || record.ask >= asks_.size()) return wrong("a lease's orders");
    JobRecordState& state = jobs_[record.job];
    AskState& ask = asks_[record.ask];
    if (lease.leg >= state.job.legs.size()) return wrong("a lease's leg");
    lease.job = state.job.id;
    lease.ask_hash = ask.entry.id;
    lease.bid_hash = state.job.bid_hashes[lease.leg];
    lease.buyer = state.job.buyer;
    lease.provider = ask.entry.ask.provider;
    lease.worker = ask.entry.resource.worker;
    lease.unit_kind = ask.entry.ask.unit_kind;
    lease.sequence = record.receipts.size();
    const auto worker = workers_.find(lease.worker);
    if (worker == workers_.end() || !lease_by_id_.emplace(lease.id, index).second)
        return wrong("a lease");
    if (lease.claimed_atoms > lease.locked_atoms || lease.locked_atoms > kMostAtoms ||
        lease.voucher_sequence > lease.sequence)
        return wrong("a lease's amounts");
    state.job.leases.push_back(lease.id);
    state.leases.push_back(index);
    if (record.reclaimed_by) {
        if (*record.reclaimed_by >= jobs_.size() || jobs_[*record.reclaimed_by].reclaims)
            return wrong("a reclaim");
        jobs_[*record.reclaimed_by].reclaims = index;
    }
    if (record.on_chain_volume) ask.chain_units += lease.max_units;
    if (!record.holds_capacity) return {};
    if (lease.max_units > ask.entry.ask.volume_units - ask.entry.units_out)
        return wrong("an ask's units");
    ask.entry.units_out += lease.max_units;
    if (!is_training(state.job)) return {};
    matching::Calendar& calendar = worker->second.calendar;
    if (lease.starts_ms >= lease.ends_ms || !calendar.is_free(lease.starts_ms, lease.ends_ms))
        return wrong("a worker's windows");
    calendar.hold(lease.starts_ms, lease.ends_ms);
    return {};
}

/// The books of orders and the queues of leases.
Result<void> Engine::Impl::rebuild_books() {
    using Names = std::tuple<ledger::eth::UnitKind, ledger::eth::OrderClass, bool, std::string,
                             std::string, std::string, std::string>;
    for (const Address& worker : worker_order_)
        refresh_calendar(worker);
    std::set<Names> known;
    for (Index index = 0; index < asks_.size(); ++index) {
        const AskEntry& entry = asks_[index].entry;
        const domain::Resource& has = entry.resource;
        // The book keeps names when their last ask has left, and bounds how many there are.
        if (!entry.open &&
            !known
                 .insert({entry.ask.unit_kind, entry.ask.order_class, has.buyers.empty(),
                          has.gpu_model, has.region, has.runtime, has.interconnect})
                 .second)
            continue;
        if (!book_.can_add(has)) return wrong("a resource");
        book_.add(index, entry.ask, has, book_state(index));
        if (!entry.open) book_.remove(index);
    }
    for (Index index = 0; index < leases_.size(); ++index)
        update_queues(index);
    for (JobRecordState& state : jobs_)
        if (state.job.state == JobState::kOpen && !is_batched(state.job)) rest(state);
    return {};
}

Result<void> Engine::Impl::load_timers(Reader& in) {
    const std::uint64_t count = read_count(in, kTimerBytes);
    const auto size_of = [this](TimerKind kind) -> std::size_t {
        if (kind == TimerKind::kAskOpens || kind == TimerKind::kAskExpires) return asks_.size();
        if (kind == TimerKind::kJobDue) return jobs_.size();
        return kind == TimerKind::kBatch ? 1 : leases_.size();
    };
    for (std::uint64_t i = 0; i < count; ++i) {
        TimeMs at_ms = 0;
        TimerKind kind = TimerKind::kBatch;
        Index index = 0;
        in(at_ms, kind, index);
        if (!in.ok() || index >= size_of(kind)) return wrong("timers");
        add_timer(at_ms, kind, index);
    }
    std::vector<Index> ready;
    std::vector<Index> touched;
    in(ready, touched);
    for (const Index job : ready) {
        if (job >= jobs_.size()) return wrong("jobs to try");
        ready_.insert(rank_of(jobs_[job]));
    }
    for (const Index ask : touched) {
        if (ask >= asks_.size()) return wrong("asks to try");
        touched_.insert(ask);
    }
    return {};
}

Result<void> Engine::Impl::load_money(Reader& in) {
    using ledger::base::Money;
    std::map<ledger::books::AccountId, Money> balances;
    for (std::uint64_t left = read_count(in, 29); left > 0; --left) {
        ledger::books::AccountId account;
        std::int64_t atoms = 0;
        in(account.owner, account.kind, atoms);
        if (!in.ok()) return wrong("balances");
        balances.emplace_hint(balances.end(), account, Money(atoms));
    }
    std::map<Hash32, ledger::books::Hold> holds;
    for (const LeaseRecord& record : leases_) {
        const Lease& lease = record.lease;
        const std::uint64_t left = lease.locked_atoms - lease.claimed_atoms;
        if (lease.state < LeaseState::kClosed && left != 0)
            holds[lease.id] = {lease.buyer, Money(static_cast<std::int64_t>(left))};
    }
    std::uint64_t entries = 0;
    Hash32 journal_hash;
    in(entries, journal_hash);
    TRY_ASSIGN(books_, ledger::books::Books::restore(std::move(balances), std::move(holds), entries,
                                                     journal_hash));
    for (std::uint64_t left = read_count(in, 28); left > 0; --left) {
        Address account;
        std::uint64_t atoms = 0;
        in(account, atoms);
        if (!in.ok() || !shortfall_.emplace(account, atoms).second) return wrong("shortfalls");
    }
    for (std::uint64_t left = read_count(in, 37); left > 0; --left) {
        Hash32 transaction;
        std::uint32_t log_index = 0;
        bool is_deposit = false;
        in(transaction, log_index, is_deposit);
        if (!in.ok()) return wrong("escrow");
        seen_escrow_.emplace_hint(seen_escrow_.end(), transaction, log_index, is_deposit);
    }
    return {};
}

void Engine::save(SnapshotWriter& out) const {
    impl_->save(out);
}

Result<Engine> Engine::load(EngineConfig config, ledger::base::ByteView bytes) {
    Engine engine(std::move(config));
    TRY(engine.impl_->load(bytes));
    return engine;
}

}  // namespace marketplace::engine
