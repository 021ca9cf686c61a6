// SPDX-License-Identifier: Apache-2.0
#include "marketplace/engine/impl.hpp"
#include "marketplace/engine/reasons.hpp"

/// Rule 9: interruptible leases make room for a bid that finds none.
namespace marketplace::engine {

using ledger::eth::OrderClass;

bool Engine::Impl::may_ask_for_room(const JobRecordState& state) {
    const OrderClass wanted = state.job.legs.front().bid.order_class;
    return is_training(state.job) && gang_of(state.job) == 1 && !state.reclaims &&
           (wanted == OrderClass::kOnDemand || wanted == OrderClass::kStanding);
}

/// The lowest price at which the lease's worker could do the work if the lease were gone; empty
/// when it could not, or when the lease cannot be reclaimed (again).
std::optional<std::uint64_t> Engine::Impl::price_without(const LeaseRecord& record,
                                                         const matching::Want& want) const {
    const Lease& lease = record.lease;
    if (record.reclaimed_by || !is_active(lease) || !is_training(jobs_[record.job].job) ||
        asks_[record.ask].entry.ask.order_class != OrderClass::kInterruptible)
        return std::nullopt;
    const auto asks = asks_of_worker_.find(lease.worker);
    if (asks == asks_of_worker_.end()) return std::nullopt;
    matching::Calendar without = workers_.at(lease.worker).calendar;
    without.release(lease.starts_ms, lease.ends_ms);
    std::optional<std::uint64_t> out;
    for (const Index ask : asks->second) {
        matching::Offer offer = offer_of(ask);
        offer.calendar = &without;
        if (matching::first_mismatch(offer, want)) continue;
        if (!out || offer.ask.price_atoms < *out) out = offer.ask.price_atoms;
    }
    return out;
}

/// Cheapest price first, then youngest.
void Engine::Impl::ask_for_room(JobRecordState& state) {
    if (reclaimable_.empty() || !may_ask_for_room(state)) return;
    const Demand demand(state.job, &state, 0, now_ms_, PriceAt::kNow);
    for (const auto& entry : reclaimable_) {
        const Index index = ~entry.second;
        LeaseRecord& record = leases_[index];
        if (!price_without(record, demand.want)) continue;
        const std::uint64_t window_s = asks_[record.ask].entry.ask.reclaim_window_s;
        record.reclaimed_by = state.index;
        record.lease.reclaim_at_ms = now_ms_ + window_s * 1000;
        state.reclaims = index;
        reclaimable_.erase(entry);
        add_timer(record.lease.reclaim_at_ms, TimerKind::kReclaimDue, index);
        emit(domain::LeaseReclaimed{record.lease.id, state.job.id, record.lease.reclaim_at_ms});
        return;
    }
}

/// The job that asked for room needs none any more.
void Engine::Impl::let_stay(JobRecordState& state) {
    if (!state.reclaims) return;
    const Index index = *state.reclaims;
    LeaseRecord& record = leases_[index];
    forget_reclaim(record);
    emit(domain::LeaseReclaimed{record.lease.id, state.job.id, 0});
    update_queues(index);
    touch_worker(record.lease.worker);
}

void Engine::Impl::forget_reclaim(LeaseRecord& record) {
    if (!record.reclaimed_by) return;
    jobs_[*record.reclaimed_by].reclaims.reset();
    record.reclaimed_by.reset();
    record.lease.reclaim_at_ms = 0;
}

void Engine::Impl::on_reclaim_due(Index index, TimeMs at_ms) {
    LeaseRecord& record = leases_[index];
    if (!record.reclaimed_by || record.lease.reclaim_at_ms != at_ms) return;  // of an earlier one
    first_.push_back(*record.reclaimed_by);
    if (record.lease.units == record.lease.max_units) return finish(index);
    JobRecordState& loser = jobs_[record.job];
    end_team(loser, CloseReason::kOutbid);
    reopen(loser, reason::kOutbid);
}

}  // namespace marketplace::engine
