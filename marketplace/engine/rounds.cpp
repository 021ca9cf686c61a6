// SPDX-License-Identifier: Apache-2.0
#include "ledger/base/limits.hpp"
#include "marketplace/engine/impl.hpp"
#include "marketplace/engine/reasons.hpp"

#include <algorithm>

/// Rules 1, 2 and 10: timers, then one round. Looking at every open job in order of rank would give
/// the same matches: a job is left out only when nothing happened that could help it.
namespace marketplace::engine {

void Engine::Impl::work_off_timers() {
    book_.advance(now_ms_);
    while (!timers_.empty() && std::get<TimeMs>(timers_.top()) <= now_ms_) {
        const Timer due = timers_.top();
        while (!timers_.empty() && timers_.top() == due)
            timers_.pop();
        const auto [at_ms, kind, index] = due;
        on_timer(at_ms, kind, index);
    }
}

void Engine::Impl::on_timer(TimeMs at_ms, TimerKind kind, Index index) {
    switch (kind) {
        case TimerKind::kAskOpens:
            return touch_ask(index);
        case TimerKind::kAskExpires:
            if (asks_[index].entry.open) close_ask(index, reason::kExpired);
            return;
        case TimerKind::kJobDue:
            return on_job_due(jobs_[index], at_ms);
        case TimerKind::kLeaseBegins:
            return on_lease_begins(index);
        case TimerKind::kLeaseEnds:
            return on_lease_ends(index);
        case TimerKind::kReclaimDue:
            return on_reclaim_due(index, at_ms);
        case TimerKind::kVoucherDue:
            return on_voucher_due(index, at_ms);
        case TimerKind::kBatch:
            return clear_batch(at_ms);
    }
}

// What to look at -------------------------------------------------------------------------------

void Engine::Impl::touch_ask(Index ask) {
    if (!asks_[ask].entry.open) return;
    touched_.insert(ask);
    touched_in_round_.insert(ask);
    next_bids_.erase(ask);
}

void Engine::Impl::touch_worker(const Address& worker) {
    const auto it = asks_of_worker_.find(worker);
    if (it == asks_of_worker_.end()) return;
    for (const Index ask : it->second)
        touch_ask(ask);
}

void Engine::Impl::make_ready(JobRecordState& state) {
    if (!is_batched(state.job)) ready_.insert(rank_of(state));
}

/// In back-off, before its start, or in a batch. A reserved bid is matched ahead of its start.
bool Engine::Impl::is_waiting(const JobRecordState& state) const {
    const Job& job = state.job;
    if (is_batched(job) || now_ms_ < state.not_before_ms) return true;
    return std::any_of(job.legs.begin(), job.legs.end(), [this](const domain::BidLeg& leg) {
        return leg.bid.order_class != ledger::eth::OrderClass::kReserved &&
               now_ms_ < leg.bid.earliest_s * 1000;
    });
}

/// May this ask give the bid a plan, or room to ask for? Looks at the bid's ceiling: a ramp that
/// offers less has to learn when it will reach the ask.
bool Engine::Impl::may_help(Index ask, const JobRecordState& state) const {
    const AskEntry& entry = asks_[ask].entry;
    for (std::size_t leg = 0; leg < state.job.legs.size(); ++leg) {
        const ledger::eth::Bid& bid = state.job.legs[leg].bid;
        if (bid.unit_kind != entry.ask.unit_kind || bid.price_ceiling_atoms < entry.ask.price_atoms)
            continue;
        const Demand demand(state.job, &state, leg, now_ms_, PriceAt::kCeiling);
        const auto mismatch = matching::first_mismatch(offer_of(ask), demand.want);
        if (!mismatch) return true;
        if (*mismatch != domain::Mismatch::kCapacity || !may_ask_for_room(state)) continue;
        for (const Index lease : workers_.at(entry.resource.worker).leases)
            if (price_without(leases_[lease], demand.want)) return true;
    }
    return false;
}

/// A worker at exclusive work, none of which can be reclaimed: nothing now, save reservations.
bool Engine::Impl::is_out_of_use(Index ask) const {
    const AskEntry& entry = asks_[ask].entry;
    const auto it = workers_.find(entry.resource.worker);
    if (!entry.open || it == workers_.end() || !it->second.connected) return true;
    const bool is_exclusive = entry.ask.unit_kind == ledger::eth::UnitKind::kTrainingStep ||
                              entry.ask.unit_kind == ledger::eth::UnitKind::kGpuMs;
    if (!is_exclusive || entry.ask.order_class == ledger::eth::OrderClass::kReserved ||
        it->second.calendar.free_from(now_ms_) == now_ms_)
        return false;
    return std::none_of(it->second.leases.begin(), it->second.leases.end(), [this](Index lease) {
        return reclaimable_.contains({leases_[lease].lease.price_atoms, ~lease});
    });
}

std::optional<Rank> Engine::Impl::next_bid(Index ask, std::optional<Rank> after) const {
    if (is_out_of_use(ask)) return std::nullopt;
    const AskEntry& entry = asks_[ask].entry;
    const auto offered = bids_.offered(entry.ask, entry.resource, book_state(ask));
    for (auto next = bids_.next(offered, after); next; next = bids_.next(offered, next)) {
        const JobRecordState& state = jobs_[next->job];
        if (!is_waiting(state) && may_help(ask, state)) return next;
    }
    return std::nullopt;
}

// The round -------------------------------------------------------------------------------------

void Engine::Impl::run_round() {
    touched_in_round_.clear();
    for (const Index job : std::exchange(first_, {}))
        try_job(jobs_[job]);
    next_bids_.clear();
    std::optional<Rank> at;
    while (true) {
        auto it = at ? ready_.upper_bound(*at) : ready_.begin();
        std::optional<Rank> best = it == ready_.end() ? std::nullopt : std::optional(*it);
        for (const Index ask : touched_) {
            const auto [known, is_new] = next_bids_.try_emplace(ask);
            if (is_new || (known->second && at && *known->second <= *at))
                known->second = next_bid(ask, at);
            if (known->second && (!best || *known->second < *best)) best = known->second;
        }
        if (!best) break;
        at = best;
        ready_.erase(*best);
        try_job(jobs_[best->job]);
    }
    // What became better during the round may still help those that were looked at before it did.
    touched_ = std::exchange(touched_in_round_, {});
}

void Engine::Impl::try_job(JobRecordState& state) {
    Job& job = state.job;
    if (job.state != JobState::kOpen || is_waiting(state)) return;
    std::erase_if(state.excluded_asks, [this](const auto& ask) { return ask.second <= now_ms_; });
    const Plan planned = plan(job, &state, now_ms_);
    if (planned.empty()) {
        tell_why(state);
        if (!state.lacks_money) ask_for_room(state);
        wait_for_ramp(state);
        return;
    }
    const auto available = static_cast<std::uint64_t>(books_.available(job.buyer).atoms());
    if (sum_of_locks(planned) <= available) return match(state, planned);
    state.tell_why = false;
    state.lacks_money = true;
    short_of_money_[job.buyer].insert(state.index);
    set_job_state(state, JobState::kOpen, reason::kInsufficientFunds);
}

/// Once per opening; in a large book without counting.
void Engine::Impl::tell_why(JobRecordState& state) {
    if (!state.tell_why) return;
    state.tell_why = false;
    domain::NotMatched event{state.job.id, {}};
    if (open_asks_.size() <= ledger::base::limits::kCountedAsks)
        event.reasons = reasons(state.job, &state, now_ms_);
    emit(std::move(event));
}

/// Sets the moment at which the ramp reaches what it could have at its ceiling.
void Engine::Impl::wait_for_ramp(JobRecordState& state) {
    const Job& job = state.job;
    if (!has_ramp(job)) return;
    const Demand demand(job, &state, 0, now_ms_, PriceAt::kCeiling);
    std::uint64_t price = 0;
    for (const Fill& fill : plan(job, &state, now_ms_, PriceAt::kCeiling))
        price = std::max(price, fill.price_atoms);
    if (may_ask_for_room(state) && !state.lacks_money) {
        for (const auto& [lease_price, lease] : reclaimable_) {
            const auto other = price_without(leases_[~lease], demand.want);
            if (other && (price == 0 || *other < price)) price = *other;
        }
    }
    if (price == 0) return;
    const TimeMs at_ms = matching::offers_from(demand.want.bid, demand.want.constraints, price);
    if (at_ms > now_ms_) add_timer(at_ms, TimerKind::kJobDue, state.index);
}

}  // namespace marketplace::engine
