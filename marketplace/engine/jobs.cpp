// SPDX-License-Identifier: Apache-2.0
#include "ledger/base/hex.hpp"
#include "ledger/base/limits.hpp"
#include "ledger/base/sha256.hpp"
#include "marketplace/domain/codec.hpp"
#include "marketplace/engine/impl.hpp"
#include "marketplace/engine/reasons.hpp"

#include <algorithm>

namespace marketplace::engine {
namespace {

namespace limits = ledger::base::limits;

Hash32 body_hash(const domain::PostJob& command) {
    domain::Bytes bytes;
    domain::encode(bytes, domain::Command(command));
    return ledger::base::sha256(bytes);
}

std::string tokens(std::uint64_t atoms) {
    return ledger::base::Money(static_cast<std::int64_t>(atoms)).to_tokens();
}

}  // namespace

Engine::Impl::NewJob::NewJob(const domain::PostJob& posted, std::span<const Hash32> hashes)
    : command(posted), body(body_hash(posted)), bids(hashes) {}

/// Money for the worst case, and open bids worth at most ten times the free money.
Result<void> Engine::Impl::check_funds(const domain::PostJob& command,
                                       const JobRecordState* instead_of) const {
    const Address& buyer = command.legs.front().bid.buyer;
    const std::uint64_t total = worst_case_atoms(command.terms, command.legs);
    if (command.delegation && total > command.delegation->spend_cap_atoms)
        return fail(ErrorCode::delegation_cap_exceeded, std::to_string(total) + " atoms");
    const auto available = static_cast<std::uint64_t>(books_.available(buyer).atoms());
    if (available < total)
        return fail(ErrorCode::insufficient_funds,
                    "the job may cost " + tokens(total) + ", available is " + tokens(available));
    const auto open = open_interest_.find(buyer);
    ledger::base::Uint128 worth = total;
    if (open != open_interest_.end()) worth += open->second;
    if (instead_of != nullptr && instead_of->job.buyer == buyer &&
        instead_of->job.state == JobState::kOpen)
        worth -= instead_of->worst_atoms;
    if (worth > ledger::base::Uint128{available} * limits::kOpenInterestTimes)
        return fail(ErrorCode::insufficient_funds,
                    "open bids are worth at most ten times what is free: " + tokens(available));
    return {};
}

Result<void> Engine::Impl::check_new_bids(const NewJob& job,
                                          const JobRecordState* instead_of) const {
    const domain::PostJob& command = job.command;
    for (const Hash32& bid : job.bids)
        if (job_by_bid_.contains(bid))
            return fail(ErrorCode::replayed_order, ledger::base::to_hex(bid));
    for (const domain::BidLeg& leg : command.legs)
        if (std::min(leg.bid.expiry_s, leg.bid.deadline_s) <= now_ms_ / 1000)
            return fail(ErrorCode::expired, "bid");
    if (command.delegation && command.delegation->expiry_s <= now_ms_ / 1000)
        return fail(ErrorCode::expired, "delegation");
    const Address& buyer = command.legs.front().bid.buyer;
    const auto open = open_orders_.find(buyer);
    std::size_t orders = open == open_orders_.end() ? 0 : open->second;
    if (instead_of != nullptr && instead_of->job.buyer == buyer && !is_final(instead_of->job.state))
        --orders;
    if (orders >= limits::kOpenOrdersPerAccount)
        return fail(ErrorCode::rate_limited, "at most 10000 open orders per account");
    return check_funds(command, instead_of);
}

Result<bool> Engine::Impl::check_new(const NewJob& job, const JobRecordState* instead_of) const {
    TRY(check_shape(job.command));
    if (const auto it = job_by_id_.find(job.command.id); it != job_by_id_.end()) {
        if (jobs_[it->second].body != job.body)
            return fail(ErrorCode::exists_with_different_body, "job");
        return false;
    }
    TRY(check_new_bids(job, instead_of));
    return true;
}

void Engine::Impl::add_job(const NewJob& posted) {
    const domain::PostJob& command = posted.command;
    const auto index = static_cast<Index>(jobs_.size());
    JobRecordState& state = jobs_.emplace_back();
    state.index = index;
    state.body = posted.body;
    state.worst_atoms = worst_case_atoms(command.terms, command.legs);
    Job& job = state.job;
    job.id = command.id;
    job.buyer = command.legs.front().bid.buyer;
    job.terms = command.terms;
    job.legs = command.legs;
    job.bid_hashes.assign(posted.bids.begin(), posted.bids.end());
    job.delegation = command.delegation;
    job.delegation_signature = command.delegation_signature;
    job.created_ms = job.changed_ms = now_ms_;
    job_by_id_.emplace(job.id, index);
    ++open_orders_[job.buyer];
    open_interest_[job.buyer] += state.worst_atoms;
    for (const domain::BidLeg& leg : job.legs) {
        const auto& bid = leg.bid;
        add_timer(bid.expiry_s * 1000, TimerKind::kJobDue, index);
        add_timer(bid.deadline_s * 1000, TimerKind::kJobDue, index);
        if (bid.earliest_s > now_ms_ / 1000)
            add_timer(bid.earliest_s * 1000, TimerKind::kJobDue, index);
    }
    for (const Hash32& bid : job.bid_hashes)
        job_by_bid_.emplace(bid, index);
    emit(domain::JobChanged{job.id, JobState::kOpen, 0, {}});
    reopen(state, {});
}

Result<void> Engine::Impl::on(const domain::PostJob& command) {
    const NewJob job(command, hashes_);
    TRY_ASSIGN(const bool is_new, check_new(job, nullptr));
    if (is_new) add_job(job);
    return {};
}

Result<void> Engine::Impl::on(const domain::AmendJob& command) {
    const auto it = job_by_id_.find(command.old_job);
    if (it == job_by_id_.end()) return fail(ErrorCode::not_found, "job");
    JobRecordState& old = jobs_[it->second];
    const NewJob job(command.replacement, hashes_);
    TRY_ASSIGN(const bool is_new, check_new(job, &old));
    if (old.job.buyer != command.replacement.legs.front().bid.buyer)
        return fail(ErrorCode::forbidden, "job");
    if (!is_new && old.job.reason == reason::kAmended) return {};  // the first answer again
    if (old.job.state == JobState::kCancelled) return fail(ErrorCode::already_cancelled, "job");
    if (old.job.state != JobState::kOpen)
        return fail(ErrorCode::wrong_state, "the job is " + std::string(to_string(old.job.state)));
    if (!is_new) return fail(ErrorCode::exists_with_different_body, "job");
    end_job(old, JobState::kCancelled, reason::kAmended, CloseReason::kBuyerCancelled);
    add_job(job);
    return {};
}

Result<void> Engine::Impl::on(const domain::CancelJob& command) {
    const auto it = job_by_id_.find(command.job);
    if (it == job_by_id_.end()) return fail(ErrorCode::not_found, "job");
    JobRecordState& state = jobs_[it->second];
    if (state.job.buyer != command.by) return fail(ErrorCode::forbidden, "job");
    if (state.job.state == JobState::kCancelled) return fail(ErrorCode::already_cancelled, "job");
    if (is_final(state.job.state))
        return fail(ErrorCode::wrong_state,
                    "the job is " + std::string(to_string(state.job.state)));
    end_job(state, JobState::kCancelled, reason::kBuyerCancelled, CloseReason::kBuyerCancelled);
    return {};
}

}  // namespace marketplace::engine
