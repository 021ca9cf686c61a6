// SPDX-License-Identifier: Apache-2.0
#include "ledger/base/check.hpp"
#include "ledger/base/hex.hpp"
#include "marketplace/engine/impl.hpp"
#include "marketplace/engine/reasons.hpp"

#include <algorithm>

namespace marketplace::engine {
namespace {

constexpr TimeMs kAskExclusionMs = 60'000;  // after the chain refused a lease with it
constexpr std::uint64_t kBackOffDoublings = 8;

TimeMs back_off_ms(std::uint64_t attempts) {
    return kBackOffMs << std::min(attempts, kBackOffDoublings);
}

}  // namespace

bool Engine::Impl::is_active(const Lease& lease) noexcept {
    if (lease.state == LeaseState::kMatched) return lease.close_reason == CloseReason::kNone;
    return lease.state == LeaseState::kOpen || lease.state == LeaseState::kRunning;
}

Result<Index> Engine::Impl::lease_index(const Hash32& lease) const {
    const auto it = lease_by_id_.find(lease);
    if (it == lease_by_id_.end())
        return fail(ErrorCode::not_found, "lease " + ledger::base::to_hex(lease));
    return it->second;
}

void Engine::Impl::update_queues(Index index) {
    const LeaseRecord& record = leases_[index];
    const Lease& lease = record.lease;
    const auto keep_in = [](auto& queue, const auto& key, bool wanted) {
        if (wanted)
            queue.insert(key);
        else
            queue.erase(key);
    };
    const auto keep = [&](std::set<Index>& queue, bool wanted) { keep_in(queue, index, wanted); };
    const bool on_chain = lease.state == LeaseState::kOpen || lease.state == LeaseState::kRunning ||
                          lease.state == LeaseState::kClosing;
    const bool unclaimed = lease.voucher_amount_atoms > lease.claimed_atoms;
    const bool uncovered = lease.amount_atoms > lease.voucher_amount_atoms;
    // One that never began is given back to be answered as soon as its job ended.
    const bool is_wanted = record.has_begun || lease.close_reason != CloseReason::kNone;
    const bool is_reclaimable =
        is_active(lease) && !record.reclaimed_by && is_training(jobs_[record.job].job) &&
        asks_[record.ask].entry.ask.order_class == ledger::eth::OrderClass::kInterruptible;
    keep(workers_.at(lease.worker).leases, is_active(lease));
    keep_in(reclaimable_, std::pair(lease.price_atoms, ~index), is_reclaimable);
    keep(to_open_, lease.state == LeaseState::kMatched && is_wanted);
    keep(to_claim_, on_chain && unclaimed);
    keep(to_close_, lease.state == LeaseState::kClosing && !unclaimed &&
                        (!uncovered || record.voucher_overdue));
}

void Engine::Impl::set_lease_state(Index index, LeaseState next, CloseReason reason) {
    Lease& lease = leases_[index].lease;
    lease.state = next;
    lease.close_reason = reason;
    lease.changed_ms = now_ms_;
    update_queues(index);
    emit(domain::LeaseChanged{lease.id, next, reason});
}

/// Room is free again as soon as no more work is done.
void Engine::Impl::release_capacity(LeaseRecord& record) {
    if (!record.holds_capacity) return;
    record.holds_capacity = false;
    const Lease& lease = record.lease;
    give_room({record.ask, lease.max_units}, jobs_[record.job].job,
              {lease.starts_ms, lease.ends_ms});
    touch_worker(lease.worker);
}

/// The contract gives the volumes back when a close is requested, not before.
void Engine::Impl::release_chain_volume(LeaseRecord& record) {
    if (!record.on_chain_volume) return;
    record.on_chain_volume = false;
    asks_[record.ask].chain_units -= record.lease.max_units;
}

/// Would the contract find room in the bid's volume after all leases made before this one? Units
/// claimed are gone for good.
bool Engine::Impl::bid_has_room(Index lease) const {
    const LeaseRecord& record = leases_[lease];
    const JobRecordState& state = jobs_[record.job];
    std::uint64_t used = 0;
    for (const Index index : state.leases) {
        const LeaseRecord& other = leases_[index];
        if (index > lease || other.lease.leg != record.lease.leg) continue;
        used += other.on_chain_volume ? other.lease.max_units : other.claimed_units;
    }
    return used <= state.job.legs[record.lease.leg].bid.volume_units;
}

/// Oldest first, without those the contract would refuse for want of volume: an earlier lease of
/// the same orders has to close before them.
std::vector<Hash32> Engine::Impl::leases_to_open(std::size_t limit) const {
    std::map<Index, std::uint64_t> units;  // of each ask: open on chain, then those before
    for (const Index index : to_open_) {
        const LeaseRecord& record = leases_[index];
        const auto it = units.try_emplace(record.ask, asks_[record.ask].chain_units).first;
        it->second -= record.lease.max_units;
    }
    std::vector<Hash32> out;
    for (const Index index : to_open_) {
        if (out.size() >= limit) break;
        const LeaseRecord& record = leases_[index];
        std::uint64_t& used = units.at(record.ask);
        used += record.lease.max_units;
        if (used <= asks_[record.ask].entry.ask.volume_units && bid_has_room(index))
            out.push_back(record.lease.id);
    }
    return out;
}

/// No further work under this lease. One that is still being opened is closed when it is open.
void Engine::Impl::end_lease(Index index, CloseReason reason) {
    LeaseRecord& record = leases_[index];
    const bool is_opening = record.lease.state == LeaseState::kMatched;
    set_lease_state(index, is_opening ? LeaseState::kMatched : LeaseState::kClosing, reason);
    if (record.reclaimed_by) make_ready(jobs_[*record.reclaimed_by]);  // to ask for other room
    forget_reclaim(record);
    release_capacity(record);
    // A lost worker signs nothing now; what it signs later is taken until the close is final.
    record.voucher_overdue = !workers_.at(record.lease.worker).connected;
    update_queues(index);
    wait_for_voucher(index);
}

/// A closing lease waits for the voucher over its last receipts, late ones included.
void Engine::Impl::wait_for_voucher(Index index) {
    LeaseRecord& record = leases_[index];
    const bool uncovered = record.lease.amount_atoms > record.lease.voucher_amount_atoms;
    if (!uncovered || record.voucher_overdue || record.voucher_due_ms != 0) return;
    record.voucher_due_ms = now_ms_ + kVoucherGraceMs;
    add_timer(record.voucher_due_ms, TimerKind::kVoucherDue, index);
}

void Engine::Impl::on_voucher_due(Index index, TimeMs at_ms) {
    LeaseRecord& record = leases_[index];
    const Lease& lease = record.lease;
    if (lease.state != LeaseState::kClosing || record.voucher_due_ms != at_ms) return;
    record.voucher_overdue = true;
    set_lease_state(index, LeaseState::kClosing, lease.close_reason);
}

/// A reserved lease may be opened on chain from now on.
void Engine::Impl::on_lease_begins(Index index) {
    LeaseRecord& record = leases_[index];
    if (record.has_begun || record.lease.state != LeaseState::kMatched) return;
    record.has_begun = true;
    if (!is_active(record.lease)) return;  // it is listed already, to be answered
    set_lease_state(index, LeaseState::kMatched, CloseReason::kNone);
}

void Engine::Impl::on_lease_ends(Index index) {
    const LeaseRecord& record = leases_[index];
    if (!is_active(record.lease)) return;
    end_job(jobs_[record.job], JobState::kExpired, reason::kMaxDuration, CloseReason::kExpired);
}

// Commands --------------------------------------------------------------------------------------

Result<void> Engine::Impl::on(const domain::LeaseOpened& command) {
    TRY_ASSIGN(const Index index, lease_index(command.lease));
    const Lease& lease = leases_[index].lease;
    if (lease.state == LeaseState::kOpenFailed)
        return fail(ErrorCode::wrong_state, "the open of this lease was given up");
    if (lease.state != LeaseState::kMatched) return {};
    if (command.locked_atoms != lease.locked_atoms)
        return fail(ErrorCode::chain_mismatch, "locked " + std::to_string(command.locked_atoms) +
                                                   ", expected " +
                                                   std::to_string(lease.locked_atoms));
    if (lease.close_reason != CloseReason::kNone) {
        set_lease_state(index, LeaseState::kClosing, lease.close_reason);
        return {};
    }
    set_lease_state(index, LeaseState::kOpen, CloseReason::kNone);
    update_job_from_leases(jobs_[leases_[index].job]);
    return {};
}

Result<void> Engine::Impl::on(const domain::LeaseOpenFailed& command) {
    if (command.reason.size() > kTextBytes) return fail(ErrorCode::out_of_range, "reason");
    TRY_ASSIGN(const Index index, lease_index(command.lease));
    LeaseRecord& record = leases_[index];
    if (record.lease.state == LeaseState::kOpenFailed) return {};
    if (record.lease.state != LeaseState::kMatched)
        return fail(ErrorCode::wrong_state, "the lease is open");
    const bool was_active = is_active(record.lease);
    if (record.reclaimed_by) make_ready(jobs_[*record.reclaimed_by]);  // to ask for other room
    forget_reclaim(record);
    set_lease_state(index, LeaseState::kOpenFailed, record.lease.close_reason);
    release_capacity(record);
    release_chain_volume(record);
    give_back(record.lease, record.lease.locked_atoms);
    if (!was_active) return {};
    JobRecordState& job = jobs_[record.job];
    job.excluded_asks.emplace_back(record.lease.ask_hash, now_ms_ + kAskExclusionMs);
    add_timer(now_ms_ + kAskExclusionMs, TimerKind::kJobDue, job.index);
    fail_over(job, reason::kChainRefused, back_off_ms(job.job.attempts));
    return {};
}

Result<void> Engine::Impl::on(const domain::LeaseStarted& command) {
    TRY_ASSIGN(const Index index, lease_index(command.lease));
    const Lease& lease = leases_[index].lease;
    if (lease.state == LeaseState::kRunning) return {};
    if (lease.state == LeaseState::kMatched)
        return fail(ErrorCode::wrong_state, "the lease is not open on chain yet");
    if (lease.state != LeaseState::kOpen) return fail(ErrorCode::lease_closed);
    set_lease_state(index, LeaseState::kRunning, CloseReason::kNone);
    update_job_from_leases(jobs_[leases_[index].job]);
    return {};
}

Result<void> Engine::Impl::on(const domain::LeaseFinished& command) {
    TRY_ASSIGN(const Index index, lease_index(command.lease));
    const LeaseRecord& record = leases_[index];
    const Lease& lease = record.lease;
    if (lease.close_reason == CloseReason::kCompleted) return {};
    if (lease.state >= LeaseState::kClosing) return fail(ErrorCode::lease_closed);
    if (lease.state != LeaseState::kRunning)
        return fail(ErrorCode::wrong_state, "the lease is not running");
    // Steps are counted; bought time may be left over, and a job with an early stop may end once it
    // has some work to show (its last checkpoint says whether it was right to stop).
    const Job& job = jobs_[record.job].job;
    const bool may_end = job.terms.may_end_early && job.units_done > 0;
    if (lease.unit_kind == ledger::eth::UnitKind::kTrainingStep && lease.units != lease.max_units &&
        !may_end)
        return fail(ErrorCode::wrong_state, std::to_string(lease.units) + " of " +
                                                std::to_string(lease.max_units) +
                                                " units have receipts");
    finish(index);
    return {};
}

Result<void> Engine::Impl::on(const domain::LeaseFailed& command) {
    if (command.code.empty() || command.code.size() > kTextBytes)
        return fail(ErrorCode::out_of_range, "code: 1 to 64 bytes");
    TRY_ASSIGN(const Index index, lease_index(command.lease));
    const LeaseRecord& record = leases_[index];
    const Lease& lease = record.lease;
    if (lease.close_reason == CloseReason::kWorkerFailed) return {};
    if (lease.state >= LeaseState::kClosing) return fail(ErrorCode::lease_closed);
    if (!is_active(lease) || lease.state == LeaseState::kMatched)
        return fail(ErrorCode::wrong_state, "the lease is not open on chain yet");
    leave(index,
          {command.code, CloseReason::kWorkerFailed, back_off_ms(jobs_[record.job].job.attempts)});
    return {};
}

Result<void> Engine::Impl::on(const domain::ClaimConfirmed& command) {
    if (command.fee_atoms > command.paid_atoms) return fail(ErrorCode::out_of_range, "fee");
    TRY_ASSIGN(const Index index, lease_index(command.lease));
    LeaseRecord& record = leases_[index];
    Lease& lease = record.lease;
    if (command.cumulative_amount_atoms <= lease.claimed_atoms) return {};
    const bool is_open = lease.state == LeaseState::kOpen || lease.state == LeaseState::kRunning ||
                         lease.state == LeaseState::kClosing;
    if (!is_open) return fail(ErrorCode::wrong_state, "the lease is not open");
    if (command.cumulative_amount_atoms > lease.locked_atoms)
        return fail(ErrorCode::chain_mismatch, "paid above the lock");
    if (command.paid_atoms != command.cumulative_amount_atoms - lease.claimed_atoms)
        return fail(ErrorCode::chain_mismatch, "a claim before this one was not seen");
    const ledger::base::Money paid(static_cast<std::int64_t>(command.paid_atoms));
    const ledger::base::Money fee(static_cast<std::int64_t>(command.fee_atoms));
    TRY(books_.capture(lease.id, lease.provider, paid, fee, cause(command.transaction)));
    lease.claimed_atoms = command.cumulative_amount_atoms;
    lease.fee_atoms += command.fee_atoms;
    if (command.sequence != 0 && command.sequence <= record.receipts.size())
        record.claimed_units = record.receipts[command.sequence - 1].units;
    lease.changed_ms = now_ms_;
    update_queues(index);
    emit(domain::Paid{lease.id, command.paid_atoms, command.fee_atoms});
    report_balance(lease.buyer);
    report_balance(lease.provider);
    return {};
}

Result<void> Engine::Impl::on(const domain::LeaseCloseConfirmed& command) {
    TRY_ASSIGN(const Index index, lease_index(command.lease));
    LeaseRecord& record = leases_[index];
    Lease& lease = record.lease;
    if (lease.state == LeaseState::kClosed) return {};
    if (lease.state == LeaseState::kMatched || lease.state == LeaseState::kOpenFailed)
        return fail(ErrorCode::wrong_state, "the lease is not open");
    if (command.paid_atoms != lease.claimed_atoms)
        return fail(ErrorCode::chain_mismatch, "a claim of this lease was not seen");
    if (command.refunded_atoms != lease.locked_atoms - lease.claimed_atoms)
        return fail(ErrorCode::chain_mismatch, "paid and refunded differ from the lock");
    // Closed by somebody else on the chain: the work ends here.
    if (is_active(lease)) leave(index, {reason::kProviderLeft, CloseReason::kProviderLeft, 0});
    lease.refunded_atoms = command.refunded_atoms;
    release_chain_volume(record);
    set_lease_state(index, LeaseState::kClosed, lease.close_reason);
    give_back(lease, command.refunded_atoms);
    return {};
}

Result<void> Engine::Impl::on(const domain::LeaseCloseRequested& command) {
    TRY_ASSIGN(const Index index, lease_index(command.lease));
    LeaseRecord& record = leases_[index];
    const Lease& lease = record.lease;
    if (lease.state == LeaseState::kMatched || lease.state == LeaseState::kOpenFailed)
        return fail(ErrorCode::wrong_state, "the lease is not open");
    if (!record.on_chain_volume) return {};
    release_chain_volume(record);
    // Asked for by somebody else: the work ends here.
    if (is_active(lease))
        leave(index, {reason::kProviderLeft, CloseReason::kProviderLeft, 0});
    else
        set_lease_state(index, lease.state, lease.close_reason);
    return {};
}

// Money -----------------------------------------------------------------------------------------

void Engine::Impl::give_back(const Lease& lease, std::uint64_t atoms) {
    if (atoms != 0) {
        const ledger::base::Money amount(static_cast<std::int64_t>(atoms));
        MR_CHECK(books_.release(lease.id, amount, cause(lease.id)).has_value());
    }
    money_came(lease.buyer);
}

}  // namespace marketplace::engine
