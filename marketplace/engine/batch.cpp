// SPDX-License-Identifier: Apache-2.0
#include "ledger/base/check.hpp"
#include "marketplace/engine/impl.hpp"

#include <algorithm>

/// Rule 11: sealed bids, cleared together at one price per group.
namespace marketplace::engine {

/// The next multiple of the period at which the bid may take part.
void Engine::Impl::wait_for_batch(JobRecordState& state) {
    const domain::BidLeg& leg = state.job.legs.front();
    TimeMs from = std::max(now_ms_ + 1, state.not_before_ms);
    if (leg.bid.order_class != ledger::eth::OrderClass::kReserved)
        from = std::max(from, leg.bid.earliest_s * 1000);
    const TimeMs period = config_.batch_period_ms;
    batch_jobs_.erase({state.batch_at_ms, state.index});
    state.batch_at_ms = (from + period - 1) / period * period;
    batch_jobs_.emplace(state.batch_at_ms, state.index);
    add_timer(state.batch_at_ms, TimerKind::kBatch, 0);
}

void Engine::Impl::clear_batch(TimeMs at_ms) {
    using Group = std::pair<ledger::eth::UnitKind, std::vector<std::string>>;
    std::map<Group, std::vector<BatchBid>> groups;
    std::vector<Index> due;
    for (const auto& [batch_ms, job] : batch_jobs_) {
        if (batch_ms > at_ms) break;
        due.push_back(job);
    }
    for (const Index job : due) {
        JobRecordState& state = jobs_[job];
        if (has_expired(state, now_ms_)) continue;  // its own timer is due as well
        wait_for_batch(state);
        const domain::BidLeg& leg = state.job.legs.front();
        std::vector<std::string> models = leg.constraints.gpu_models;
        std::sort(models.begin(), models.end());
        models.erase(std::unique(models.begin(), models.end()), models.end());
        BatchBid bid;
        bid.job = job;
        groups[{leg.bid.unit_kind, std::move(models)}].push_back(bid);
    }
    for (auto& [group, bids] : groups) {
        std::sort(bids.begin(), bids.end(), [this](const BatchBid& a, const BatchBid& b) {
            return rank_of(jobs_[a.job]) < rank_of(jobs_[b.job]);
        });
        const auto count = static_cast<std::uint32_t>(bids.size());
        clear_group(at_ms, {group.first, group.second, 0, count, 0}, std::move(bids));
    }
}

/// The bids from `from` on take their best asks, each the room that those before it left.
void Engine::Impl::plan_batch(std::vector<BatchBid>& bids, std::size_t from) {
    for (std::size_t i = from; i < bids.size(); ++i) {
        BatchBid& bid = bids[i];
        JobRecordState& state = jobs_[bid.job];
        const Plan planned = plan(state.job, &state, now_ms_);
        bid.fill.reset();
        if (planned.empty()) continue;
        bid.fill = planned.front();
        bid.window =
            matching::work_window(Demand(state.job, &state, 0, now_ms_, PriceAt::kNow).want);
        take_room(*bid.fill, state.job, bid.window);
    }
}

void Engine::Impl::undo_batch(std::vector<BatchBid>& bids, std::size_t from) {
    for (std::size_t i = from; i < bids.size(); ++i)
        if (bids[i].fill) give_room(*bids[i].fill, jobs_[bids[i].job].job, bids[i].window);
}

/// The last in rank of those that took an ask and cannot pay what everybody pays. Sets what each
/// would pay and lock.
std::optional<std::size_t> Engine::Impl::who_drops_out(std::vector<BatchBid>& bids,
                                                       std::uint64_t price_atoms) const {
    std::optional<std::size_t> out;
    std::map<Address, std::uint64_t> spent;
    for (std::size_t i = 0; i < bids.size(); ++i) {
        if (!bids[i].fill) continue;
        Fill& fill = *bids[i].fill;
        const Job& job = jobs_[bids[i].job].job;
        const ledger::eth::Bid& bid = job.legs.front().bid;
        const auto lock = ledger::eth::amount_for(bid.unit_kind, fill.units, price_atoms);
        const auto free = static_cast<std::uint64_t>(books_.available(job.buyer).atoms());
        std::uint64_t& other = spent[job.buyer];
        if (price_atoms > bid.price_ceiling_atoms || !lock || *lock > bid.max_amount_atoms ||
            *lock > free - other) {
            out = i;
            continue;
        }
        other += *lock;
        fill.locked_atoms = *lock;
    }
    return out;
}

void Engine::Impl::clear_group(TimeMs at_ms, domain::BatchCleared cleared,
                               std::vector<BatchBid> bids) {
    std::vector<Index> all;
    for (const BatchBid& bid : bids)
        all.push_back(bid.job);
    plan_batch(bids, 0);
    while (true) {
        cleared.price_atoms = 0;
        for (const BatchBid& bid : bids)
            if (bid.fill)
                cleared.price_atoms = std::max(cleared.price_atoms, bid.fill->price_atoms);
        const auto drops = who_drops_out(bids, cleared.price_atoms);
        if (!drops) break;
        // Those before it chose first: only those after it choose again.
        undo_batch(bids, *drops);
        bids.erase(bids.begin() + static_cast<std::ptrdiff_t>(*drops));
        plan_batch(bids, *drops);
    }
    undo_batch(bids, 0);
    for (const BatchBid& bid : bids)
        cleared.matched += bid.fill ? 1U : 0U;
    emit(cleared);
    for (BatchBid& bid : bids) {
        if (!bid.fill) continue;
        bid.fill->price_atoms = cleared.price_atoms;
        match(jobs_[bid.job], {*bid.fill});
        leases_.back().batch_ms = at_ms;
    }
    for (const Index job : all)
        if (jobs_[job].job.state == JobState::kOpen) tell_why(jobs_[job]);
}

}  // namespace marketplace::engine
