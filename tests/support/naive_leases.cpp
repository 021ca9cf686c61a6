// SPDX-License-Identifier: Apache-2.0
#include "ledger/base/limits.hpp"
#include "ledger/log/merkle_tree.hpp"
#include "tests/support/naive_market.hpp"

#include <algorithm>
#include <limits>

/// The life of a lease and what it does to its job (rules 5, 6, 9, 12 and the README's decisions).
namespace tests {

using namespace marketplace::domain;
using Code = ledger::base::ErrorCode;

namespace {

constexpr TimeMs kFirstBackOffMs = 1000;
constexpr TimeMs kRefusedAskMs = 60'000;
constexpr TimeMs kVoucherGraceMs = 30'000;
constexpr std::size_t kTextSize = 64;

}  // namespace

NaiveMarket::Lease* NaiveMarket::find_lease(const Hash32& id) {
    for (Lease& lease : leases_)
        if (lease.is.id == id) return &lease;
    return nullptr;
}

std::vector<NaiveMarket::Lease*> NaiveMarket::attempt_of(const Job& job) {
    std::vector<Lease*> out;
    for (std::size_t i = job.attempt_from; i < job.leases.size(); ++i)
        out.push_back(&leases_[job.leases[i]]);
    return out;
}

/// Released money goes to withdrawals that could not be met before.
void NaiveMarket::release(const Address& owner, std::uint64_t atoms) {
    Account& account = accounts_[owner];
    const auto amount = static_cast<std::int64_t>(atoms);
    const std::int64_t owed = std::min(amount, account.shortfall);
    account.shortfall -= owed;
    account.free += amount - owed;
    for (Job& job : jobs_)
        if (job.buyer() == owner) job.lacks_money = false;
}

void NaiveMarket::forget_reclaim(Lease& lease) {
    if (!lease.reclaimed_by) return;
    lease.reclaimed_by.reset();
    lease.is.reclaim_at_ms = 0;
}

void NaiveMarket::forget_reclaims_by(const Job& job) {
    for (Lease& lease : leases_) {
        if (!lease.reclaimed_by || &jobs_[*lease.reclaimed_by] != &job) continue;
        forget_reclaim(lease);
        out_.reclaims.push_back({lease.is.id, job.post.id, 0});
    }
}

/// No further work. While it is being opened on chain it only takes note.
void NaiveMarket::end_lease(Lease& lease, CloseReason reason) {
    if (!holds_room(lease)) return;
    lease.is.close_reason = reason;
    if (lease.is.state != LeaseState::kMatched) lease.is.state = LeaseState::kClosing;
    forget_reclaim(lease);
    lease.voucher_overdue = !workers_[lease.is.worker].connected;
    if (lease.is.amount_atoms > lease.is.voucher_amount_atoms)
        lease.voucher_due = now_ + kVoucherGraceMs;
}

void NaiveMarket::end_attempt(Job& job, CloseReason reason) {
    for (Lease* lease : attempt_of(job))
        end_lease(*lease, reason);
}

void NaiveMarket::end_job(Job& job, JobState state, CloseReason reason) {
    end_attempt(job, reason);
    job.state = state;
    job.batch_at = 0;
    forget_reclaims_by(job);
}

void NaiveMarket::reopen(Job& job) {
    job.state = JobState::kOpen;
    job.attempt_from = job.leases.size();
    if (job.post.legs[0].constraints.clearing == Clearing::kBatch) wait_for_batch(job);
}

/// Rule 12: the lease ended before its work was done, and its worker is left out from now on.
void NaiveMarket::leave(Lease& lease, CloseReason reason, const std::string& code, bool backs_off) {
    if (lease.is.units == lease.is.max_units) return finish(lease);
    if (reason != CloseReason::kProviderLeft) ++workers_[lease.is.worker].failed;
    end_lease(lease, reason);
    Job& job = jobs_[lease.job];
    job.excluded.push_back(lease.is.worker);
    fail_over(job, code, backs_off);
}

/// The job goes on elsewhere, as often as it may.
void NaiveMarket::fail_over(Job& job, const std::string& code, bool backs_off) {
    end_attempt(job, CloseReason::kProviderLeft);
    const bool of_the_job =
        code == "job_spec_invalid" || code == "data_missing" || code == "data_invalid";
    if (of_the_job && !job.faults.insert(code).second)
        return end_job(job, JobState::kFailed, CloseReason::kProviderLeft);
    ++job.attempts;
    if (job.attempts > config_.max_failovers)
        return end_job(job, JobState::kFailed, CloseReason::kProviderLeft);
    if (backs_off) job.wait_until = now_ + (kFirstBackOffMs << (job.attempts - 1));
    reopen(job);
}

/// The worker has done what this lease is for.
void NaiveMarket::finish(Lease& lease) {
    ++workers_[lease.is.worker].completed;
    Job& job = jobs_[lease.job];
    if (!job.trains()) return end_job(job, JobState::kCompleted, CloseReason::kCompleted);
    end_lease(lease, CloseReason::kCompleted);
    for (const Lease* member : attempt_of(job))
        if (member->is.close_reason != CloseReason::kCompleted) return;
    if (job.done < job.post.terms.total_units) return reopen(job);
    end_job(job, JobState::kCompleted, CloseReason::kCompleted);
}

void NaiveMarket::update_state(Job& job) {
    const auto leases = attempt_of(job);
    const auto any = [&leases](LeaseState state) {
        return std::any_of(leases.begin(), leases.end(),
                           [state](const Lease* lease) { return lease->is.state == state; });
    };
    if (any(LeaseState::kMatched)) {
        job.state = JobState::kMatched;
    } else {
        job.state = any(LeaseState::kOpen) ? JobState::kAssigned : JobState::kRunning;
    }
}

/// Rule 6: the progress is that of the slowest member, its checkpoint the first member's there.
void NaiveMarket::update_progress(Job& job) {
    std::uint64_t slowest = std::numeric_limits<std::uint64_t>::max();
    const auto leases = attempt_of(job);
    for (const Lease* lease : leases)
        slowest = std::min(slowest, lease->is.units);
    for (const Receipt& receipt : leases[0]->receipts) {
        if (receipt.units > slowest) continue;
        job.done = leases[0]->is.start_units + receipt.units;
        job.checkpoint = receipt.response;
    }
}

NaiveMarket::Refusal NaiveMarket::take(const LeaseOpened& c) {
    Lease* lease = find_lease(c.lease);
    if (lease == nullptr) return Code::not_found;
    if (lease->is.state == LeaseState::kOpenFailed) return Code::wrong_state;
    if (lease->is.state != LeaseState::kMatched) return std::nullopt;
    if (c.locked_atoms != lease->is.locked_atoms) return Code::chain_mismatch;
    if (lease->is.close_reason != CloseReason::kNone) {
        lease->is.state = LeaseState::kClosing;
        return std::nullopt;
    }
    lease->is.state = LeaseState::kOpen;
    update_state(jobs_[lease->job]);
    return std::nullopt;
}

NaiveMarket::Refusal NaiveMarket::take(const LeaseOpenFailed& c) {
    Lease* lease = find_lease(c.lease);
    if (lease == nullptr) return Code::not_found;
    if (lease->is.state == LeaseState::kOpenFailed) return std::nullopt;
    if (lease->is.state != LeaseState::kMatched) return Code::wrong_state;
    const bool was_wanted = holds_room(*lease);
    lease->is.state = LeaseState::kOpenFailed;
    forget_reclaim(*lease);
    accounts_[lease->is.buyer].held -= static_cast<std::int64_t>(lease->is.locked_atoms);
    release(lease->is.buyer, lease->is.locked_atoms);
    if (!was_wanted) return std::nullopt;
    Job& job = jobs_[lease->job];
    job.refused_asks.emplace_back(lease->is.ask_hash, now_ + kRefusedAskMs);
    fail_over(job, "chain_refused", /*backs_off=*/true);
    return std::nullopt;
}

NaiveMarket::Refusal NaiveMarket::take(const LeaseStarted& c) {
    Lease* lease = find_lease(c.lease);
    if (lease == nullptr) return Code::not_found;
    if (lease->is.state == LeaseState::kRunning) return std::nullopt;
    if (lease->is.state == LeaseState::kMatched) return Code::wrong_state;
    if (lease->is.state != LeaseState::kOpen) return Code::lease_closed;
    lease->is.state = LeaseState::kRunning;
    update_state(jobs_[lease->job]);
    return std::nullopt;
}

NaiveMarket::Refusal NaiveMarket::take(const SubmitReceipt& c) {
    const auto& r = c.receipt;
    if (r.sequence == 0) return Code::invalid_field;
    if (r.cumulative_units > ledger::base::limits::kMaxUnits) return Code::invalid_quantity;
    if (r.start_ms > r.end_ms) return Code::invalid_window;
    Lease* lease = find_lease(r.lease);
    if (lease == nullptr) return Code::not_found;
    md::Lease& is = lease->is;
    const Hash32 hash = struct_hash(r);
    if (r.sequence <= is.sequence) {
        if (lease->receipts[r.sequence - 1].hash == hash) return std::nullopt;
        if (lease->has_equivocated) return Code::receipt_equivocation;
        lease->has_equivocated = true;
        if (is.state == LeaseState::kOpen || is.state == LeaseState::kRunning)
            leave(*lease, CloseReason::kWorkerFailed, "receipt_equivocation", /*backs_off=*/false);
        return std::nullopt;
    }
    const bool late_tokens =
        is.state == LeaseState::kClosing && !lease->exclusive && !lease->voucher_overdue;
    if (is.state == LeaseState::kMatched || is.state == LeaseState::kOpen) return Code::wrong_state;
    if (is.state != LeaseState::kRunning && !late_tokens) return Code::lease_closed;
    if (r.sequence != is.sequence + 1 || r.previous != is.last_receipt)
        return Code::receipt_out_of_order;
    if (r.unit_kind != is.unit_kind || r.price_atoms != is.price_atoms) return Code::invalid_field;
    if (r.cumulative_units <= is.units || r.cumulative_units > is.max_units)
        return Code::invalid_quantity;
    const auto amount = ledger::eth::amount_for(is.unit_kind, r.cumulative_units, is.price_atoms);
    if (!amount || r.cumulative_amount_atoms != *amount) return Code::invalid_field;
    is.sequence = r.sequence;
    is.last_receipt = hash;
    is.units = r.cumulative_units;
    is.amount_atoms = *amount;
    if (lease->exclusive) is.checkpoint = r.response_hash;
    if (is.state == LeaseState::kClosing && !lease->voucher_due)
        lease->voucher_due = now_ + kVoucherGraceMs;
    ledger::log::CompactTree tree;
    for (const Receipt& receipt : lease->receipts)
        tree.append_data(receipt.hash.span());
    tree.append_data(hash.span());
    is.receipts_root = tree.root();
    lease->receipts.push_back({hash, r.response_hash, is.receipts_root, is.units, *amount});
    if (lease->exclusive) update_progress(jobs_[lease->job]);
    return std::nullopt;
}

NaiveMarket::Refusal NaiveMarket::take(const RecordVoucher& c) {
    const auto& v = c.voucher;
    Lease* lease = find_lease(v.lease);
    if (lease == nullptr) return Code::not_found;
    md::Lease& is = lease->is;
    if (lease->voucher == v) return std::nullopt;
    if (is.state == LeaseState::kMatched || is.state == LeaseState::kOpenFailed)
        return Code::wrong_state;
    if (is.state == LeaseState::kClosed) return Code::lease_closed;
    if (v.sequence <= is.voucher_sequence) return Code::voucher_not_higher;
    if (v.cumulative_amount_atoms > is.locked_atoms) return Code::voucher_above_lock;
    if (v.sequence > is.sequence) return Code::receipt_out_of_order;
    const Receipt& last = lease->receipts[v.sequence - 1];
    if (v.cumulative_units != last.units || v.cumulative_amount_atoms != last.amount ||
        v.receipts_root != last.root)
        return Code::invalid_field;
    is.voucher_sequence = v.sequence;
    is.voucher_amount_atoms = v.cumulative_amount_atoms;
    lease->voucher = v;
    if (is.voucher_amount_atoms == is.amount_atoms) lease->voucher_due.reset();
    return std::nullopt;
}

NaiveMarket::Refusal NaiveMarket::take(const LeaseFinished& c) {
    Lease* lease = find_lease(c.lease);
    if (lease == nullptr) return Code::not_found;
    if (lease->is.close_reason == CloseReason::kCompleted) return std::nullopt;
    if (lease->is.state >= LeaseState::kClosing) return Code::lease_closed;
    if (lease->is.state != LeaseState::kRunning) return Code::wrong_state;
    if (lease->exclusive && lease->is.units < lease->is.max_units) return Code::wrong_state;
    finish(*lease);
    return std::nullopt;
}

NaiveMarket::Refusal NaiveMarket::take(const LeaseFailed& c) {
    if (c.code.empty() || c.code.size() > kTextSize) return Code::out_of_range;
    Lease* lease = find_lease(c.lease);
    if (lease == nullptr) return Code::not_found;
    if (lease->is.close_reason == CloseReason::kWorkerFailed) return std::nullopt;
    if (lease->is.state >= LeaseState::kClosing) return Code::lease_closed;
    if (lease->is.state == LeaseState::kMatched) return Code::wrong_state;
    leave(*lease, CloseReason::kWorkerFailed, c.code, /*backs_off=*/true);
    return std::nullopt;
}

NaiveMarket::Refusal NaiveMarket::take(const ClaimConfirmed& c) {
    if (c.fee_atoms > c.paid_atoms) return Code::out_of_range;
    Lease* lease = find_lease(c.lease);
    if (lease == nullptr) return Code::not_found;
    md::Lease& is = lease->is;
    if (c.cumulative_amount_atoms <= is.claimed_atoms) return std::nullopt;
    if (is.state == LeaseState::kMatched || is.state >= LeaseState::kClosed)
        return Code::wrong_state;
    if (c.cumulative_amount_atoms > is.locked_atoms ||
        c.paid_atoms != c.cumulative_amount_atoms - is.claimed_atoms)
        return Code::chain_mismatch;
    is.claimed_atoms = c.cumulative_amount_atoms;
    is.fee_atoms += c.fee_atoms;
    accounts_[is.buyer].held -= static_cast<std::int64_t>(c.paid_atoms);
    accounts_[is.provider].earned += static_cast<std::int64_t>(c.paid_atoms - c.fee_atoms);
    return std::nullopt;
}

NaiveMarket::Refusal NaiveMarket::take(const LeaseCloseRequested& c) {
    Lease* lease = find_lease(c.lease);
    if (lease == nullptr) return Code::not_found;
    if (lease->is.state == LeaseState::kMatched || lease->is.state == LeaseState::kOpenFailed)
        return Code::wrong_state;
    if (holds_room(*lease))
        leave(*lease, CloseReason::kProviderLeft, "provider_left", /*backs_off=*/false);
    return std::nullopt;
}

NaiveMarket::Refusal NaiveMarket::take(const LeaseCloseConfirmed& c) {
    Lease* lease = find_lease(c.lease);
    if (lease == nullptr) return Code::not_found;
    md::Lease& is = lease->is;
    if (is.state == LeaseState::kClosed) return std::nullopt;
    if (is.state == LeaseState::kMatched || is.state == LeaseState::kOpenFailed)
        return Code::wrong_state;
    if (c.paid_atoms != is.claimed_atoms || c.refunded_atoms != is.locked_atoms - is.claimed_atoms)
        return Code::chain_mismatch;
    if (holds_room(*lease))
        leave(*lease, CloseReason::kProviderLeft, "provider_left", /*backs_off=*/false);
    is.state = LeaseState::kClosed;
    is.refunded_atoms = c.refunded_atoms;
    accounts_[is.buyer].held -= static_cast<std::int64_t>(c.refunded_atoms);
    release(is.buyer, c.refunded_atoms);
    return std::nullopt;
}

}  // namespace tests
