// SPDX-License-Identifier: Apache-2.0
#include "tests/support/naive_market.hpp"

#include <algorithm>

/// Sealed batches (rule 11).
namespace tests {

using namespace marketplace::domain;

/// The next multiple of the period at which the bid may take part.
void NaiveMarket::wait_for_batch(Job& job) const {
    const auto& bid = job.post.legs[0].bid;
    TimeMs from = std::max(now_ + 1, job.wait_until);
    if (bid.order_class != ledger::eth::OrderClass::kReserved)
        from = std::max(from, bid.earliest_s * 1000);
    const TimeMs period = config_.batch_period_ms;
    job.batch_at = from % period == 0 ? from : (from / period + 1) * period;
}

void NaiveMarket::clear_batch(TimeMs at) {
    std::map<Group, std::vector<std::size_t>> groups;
    for (std::size_t i = 0; i < jobs_.size(); ++i) {
        Job& job = jobs_[i];
        if (job.batch_at == 0 || job.batch_at > at) continue;
        if (has_expired(job)) continue;
        wait_for_batch(job);
        const BidLeg& leg = job.post.legs[0];
        const auto& models = leg.constraints.gpu_models;
        groups[{leg.bid.unit_kind, {models.begin(), models.end()}}].push_back(i);
    }
    for (const auto& [group, bids] : groups)
        clear_group(group, bids);
}

void NaiveMarket::clear_group(const Group& group, std::vector<std::size_t> bids) {
    const auto ceiling = [this](std::size_t job) {
        return jobs_[job].post.legs[0].bid.price_ceiling_atoms;
    };
    std::stable_sort(bids.begin(), bids.end(),
                     [&](std::size_t a, std::size_t b) { return ceiling(a) > ceiling(b); });
    BatchCleared cleared{group.first,
                         {group.second.begin(), group.second.end()},
                         0,
                         static_cast<std::uint32_t>(bids.size()),
                         0};
    std::vector<std::pair<std::size_t, Take>> taken;
    for (bool planned = false; !planned;) {
        planned = true;
        taken.clear();
        cleared.price_atoms = 0;
        for (const std::size_t job : bids) {
            const auto best = plan(jobs_[job]);
            if (!best) continue;
            taken.emplace_back(job, best->front());
            planned_.push_back(lease_for(job, best->front()));
            cleared.price_atoms = std::max(cleared.price_atoms, best->front().price);
        }
        planned_.clear();
        // Who cannot pay the price of all drops out, the last of the rank first.
        std::map<Address, std::int64_t> spent;
        std::optional<std::size_t> drops;
        for (auto& [job, take] : taken) {
            take.price = cleared.price_atoms;
            const auto& bid = jobs_[job].post.legs[0].bid;
            const auto lock = ledger::eth::amount_for(bid.unit_kind, take.units, take.price);
            take.lock = lock.value_or(~0ULL);
            const std::int64_t free = account(jobs_[job].buyer()).free - spent[bid.buyer];
            if (take.price > ceiling(job) || !lock || take.lock > bid.max_amount_atoms ||
                std::cmp_greater(take.lock, free)) {
                drops = job;
            } else {
                spent[bid.buyer] += static_cast<std::int64_t>(take.lock);
            }
        }
        if (drops) {
            bids.erase(std::find(bids.begin(), bids.end(), *drops));
            planned = false;
        }
    }
    cleared.matched = static_cast<std::uint32_t>(taken.size());
    for (const auto& [job, take] : taken)
        match(job, {take});
    out_.batches.push_back(cleared);
}

}  // namespace tests
