// SPDX-License-Identifier: Apache-2.0
#include "marketplace/engine/impl.hpp"
#include "marketplace/engine/reasons.hpp"

#include <algorithm>

/// A job from opening to end, as its leases go (rules 5, 6 and 12).
namespace marketplace::engine {

void Engine::Impl::set_job_state(JobRecordState& state, JobState next, std::string_view reason) {
    Job& job = state.job;
    if (job.state == next && job.reason == reason) return;
    if (job.state == JobState::kOpen && next != JobState::kOpen) {
        bids_.remove(state.index);
        ready_.erase(rank_of(state));
        batch_jobs_.erase({state.batch_at_ms, state.index});
        if (state.lacks_money) short_of_money_[job.buyer].erase(state.index);
        state.lacks_money = false;
        open_interest_[job.buyer] -= state.worst_atoms;
        let_stay(state);
    }
    if (job.state != JobState::kOpen && next == JobState::kOpen)
        open_interest_[job.buyer] += state.worst_atoms;
    if (is_final(next)) --open_orders_[job.buyer];
    job.state = next;
    job.reason = reason;
    job.changed_ms = now_ms_;
    emit(domain::JobChanged{job.id, next, job.units_done, job.reason});
}

/// The job waits for a match: for the first time, or again on the same terms.
void Engine::Impl::reopen(JobRecordState& state, std::string_view reason) {
    state.team.clear();
    state.tell_why = true;
    set_job_state(state, JobState::kOpen, reason);
    for (const domain::BidLeg& leg : state.job.legs)
        if (leg.bid.expiry_s * 1000 <= now_ms_)  // its timer found the job at work
            add_timer(leg.bid.expiry_s * 1000, TimerKind::kJobDue, state.index);
    if (is_batched(state.job)) return wait_for_batch(state);
    rest(state);
    if (now_ms_ < state.not_before_ms)
        add_timer(state.not_before_ms, TimerKind::kJobDue, state.index);
    else
        make_ready(state);
}

/// Puts the job's legs into the book of bids.
void Engine::Impl::rest(JobRecordState& state) {
    const Demand first(state.job, &state, 0, now_ms_, PriceAt::kCeiling);
    if (state.job.legs.size() == 1) return bids_.add(rank_of(state), std::array{first.want});
    const Demand second(state.job, &state, 1, now_ms_, PriceAt::kCeiling);
    bids_.add(rank_of(state), std::array{first.want, second.want});
}

void Engine::Impl::end_team(JobRecordState& state, CloseReason close_reason) {
    for (const Index lease : state.team)
        if (is_active(leases_[lease].lease)) end_lease(lease, close_reason);
}

void Engine::Impl::end_job(JobRecordState& state, JobState next, std::string_view reason,
                           CloseReason close_reason) {
    end_team(state, close_reason);
    set_job_state(state, next, reason);
}

/// The state of the member that is least far; one that has finished counts as running.
void Engine::Impl::update_job_from_leases(JobRecordState& state) {
    auto lowest = LeaseState::kRunning;
    for (const Index lease : state.team)
        lowest = std::min(lowest, leases_[lease].lease.state);
    const auto next = lowest == LeaseState::kMatched ? JobState::kMatched
                      : lowest == LeaseState::kOpen  ? JobState::kAssigned
                                                     : JobState::kRunning;
    set_job_state(state, next, {});
}

void Engine::Impl::finish(Index index) {
    const LeaseRecord& record = leases_[index];
    JobRecordState& state = jobs_[record.job];
    ++workers_.at(record.lease.worker).completed;
    refresh_worker(record.lease.worker);
    const bool is_slice = is_training(state.job) && record.lease.units == record.lease.max_units &&
                          state.job.units_done < state.job.terms.total_units;
    if (!is_training(state.job))
        return end_job(state, JobState::kCompleted, {}, CloseReason::kCompleted);
    end_lease(index, CloseReason::kCompleted);
    const bool all = std::all_of(state.team.begin(), state.team.end(), [this](Index member) {
        return leases_[member].lease.close_reason == CloseReason::kCompleted;
    });
    if (!all) return;
    if (is_slice) return reopen(state, reason::kNextSlice);
    set_job_state(state, JobState::kCompleted, {});
}

void Engine::Impl::leave(Index index, const Failure& failure) {
    const Lease& lease = leases_[index].lease;
    JobRecordState& state = jobs_[leases_[index].job];
    // All units receipted before it went: its work is done.
    if (lease.units == lease.max_units && is_active(lease)) return finish(index);
    WorkerState& worker = workers_.at(lease.worker);
    if (failure.close_reason != CloseReason::kProviderLeft) ++worker.failed;
    refresh_worker(lease.worker);
    if (is_active(lease)) end_lease(index, failure.close_reason);
    state.job.excluded.push_back(lease.worker);
    fail_over(state, failure.code, failure.back_off_ms);
}

void Engine::Impl::fail_over(JobRecordState& state, std::string_view code, TimeMs back_off_ms) {
    Job& job = state.job;
    end_team(state, CloseReason::kProviderLeft);
    if (is_training(job) && job.units_done == job.terms.total_units)
        return set_job_state(state, JobState::kCompleted, {});
    // A fault that two workers report alike lies in the job.
    const bool of_the_job = code == reason::kJobSpecInvalid || code == reason::kDataMissing ||
                            code == reason::kDataInvalid;
    if (of_the_job) {
        const auto seen = std::find(state.faults.begin(), state.faults.end(), code);
        if (seen != state.faults.end()) return set_job_state(state, JobState::kFailed, code);
        state.faults.emplace_back(code);
    }
    ++job.attempts;
    if (job.attempts > config_.max_failovers)
        return set_job_state(state, JobState::kFailed, reason::kAttemptsUsedUp);
    if (back_off_ms != 0) state.not_before_ms = now_ms_ + back_off_ms;
    reopen(state, code);
}

/// Its deadline has passed, or its bid's expiry while it waits.
bool Engine::Impl::has_expired(const JobRecordState& state, TimeMs at_ms) {
    const Job& job = state.job;
    return std::any_of(job.legs.begin(), job.legs.end(), [&](const domain::BidLeg& leg) {
        return leg.bid.deadline_s * 1000 <= at_ms ||
               (job.state == JobState::kOpen && leg.bid.expiry_s * 1000 <= at_ms);
    });
}

/// At the timer's own time, however late it is worked off: it may be one that a tick without
/// effect, which is not in the log, had worked off before.
void Engine::Impl::on_job_due(JobRecordState& state, TimeMs at_ms) {
    if (is_final(state.job.state)) return;
    if (has_expired(state, at_ms))
        return end_job(state, JobState::kExpired, reason::kExpired, CloseReason::kExpired);
    if (state.job.state == JobState::kOpen) make_ready(state);
}

}  // namespace marketplace::engine
