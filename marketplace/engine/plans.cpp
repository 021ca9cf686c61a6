// SPDX-License-Identifier: Apache-2.0
#include "ledger/base/check.hpp"
#include "marketplace/engine/impl.hpp"

#include <algorithm>

namespace marketplace::engine {
namespace {

std::vector<Hash32> asks_excluded_at(const JobRecordState* state, TimeMs now_ms) {
    std::vector<Hash32> out;
    if (state == nullptr) return out;
    for (const auto& [ask, until_ms] : state->excluded_asks)
        if (now_ms < until_ms) out.push_back(ask);
    return out;
}

std::uint64_t units_wanted(const Job& job, std::size_t leg) {
    if (is_training(job)) return job.terms.total_units - job.units_done;
    return job.legs[leg].bid.volume_units;
}

}  // namespace

std::uint64_t worst_case_atoms(const domain::JobTerms& terms,
                               const std::vector<domain::BidLeg>& legs) {
    std::uint64_t total = 0;
    for (const domain::BidLeg& leg : legs) {
        const std::uint64_t units =
            terms.kind == domain::JobKind::kTrain ? terms.total_units : leg.bid.volume_units;
        const std::uint64_t lock =
            std::min(ledger::eth::amount_for(leg.bid.unit_kind, units, leg.bid.price_ceiling_atoms)
                         .value_or(kMostAtoms),
                     leg.bid.max_amount_atoms);
        for (std::uint16_t i = 0; i < leg.constraints.gang; ++i)
            total = std::min(total + lock, kMostAtoms);
    }
    return total;
}

Demand::Demand(const Job& job, const JobRecordState* state, std::size_t leg, TimeMs now_ms,
               PriceAt at)
    : excluded_asks_(asks_excluded_at(state, now_ms)),
      want{job.legs[leg].bid,
           job.legs[leg].constraints,
           job.terms,
           units_wanted(job, leg),
           job.excluded,
           excluded_asks_,
           now_ms,
           at == PriceAt::kCeiling
               ? job.legs[leg].bid.price_ceiling_atoms
               : matching::offered_price(job.legs[leg].bid, job.legs[leg].constraints, now_ms)} {}

matching::Offer Engine::Impl::offer_of(Index ask) const {
    const AskEntry& entry = asks_[ask].entry;
    matching::Offer offer{entry.id, entry.ask, entry.resource, 0, false, 10'000, nullptr};
    offer.free_units = entry.ask.volume_units - entry.units_out;
    const auto it = workers_.find(entry.resource.worker);
    if (it == workers_.end()) return offer;
    offer.worker_present = it->second.connected && it->second.provider == entry.ask.provider;
    offer.calendar = &it->second.calendar;
    offer.reliability_bp = reliability_of(it->second);
    return offer;
}

/// What a lease under this ask would have; empty when the ask does not fit. What the book finds
/// goes through it too, and so through `first_mismatch` once more.
std::optional<Engine::Impl::Fill> Engine::Impl::fill_of(Index ask,
                                                        const matching::Want& want) const {
    const matching::Offer offer = offer_of(ask);
    if (matching::first_mismatch(offer, want)) return std::nullopt;
    const std::uint64_t units = matching::units_taken(offer, want);
    const auto locked = ledger::eth::amount_for(want.bid.unit_kind, units, offer.ask.price_atoms);
    MR_CHECK(locked.has_value());
    return Fill{ask, units, offer.ask.price_atoms, *locked, offer.reliability_bp};
}

matching::Query Engine::Impl::query_of(const JobRecordState* state,
                                       const matching::Want& want) const {
    matching::Query query = book_.compile(want);
    if (state == nullptr) return query;
    for (const Hash32& ask : want.excluded_asks)
        query.exclude_asks.push_back(ask_by_id_.at(ask));
    return query;
}

/// Of one worker the ask that locks least, then the oldest.
std::optional<Engine::Impl::Fill> Engine::Impl::least_lock(const Address& worker,
                                                           const matching::Want& want) const {
    std::optional<Fill> out;
    const auto asks = asks_of_worker_.find(worker);
    if (asks == asks_of_worker_.end()) return out;
    for (const Index ask : asks->second) {
        const auto fill = fill_of(ask, want);
        if (fill && (!out || fill->locked_atoms < out->locked_atoms)) out = fill;
    }
    return out;
}

/// Both kinds of token from one worker: the pair that locks least, then the more reliable worker,
/// then the older asks. Goes through the workers by the price of their input asks, until none can
/// come that locks less.
Engine::Impl::Plan Engine::Impl::best_pair(const Demand& input, const Demand& output,
                                           const JobRecordState* state) const {
    const matching::Query inputs = query_of(state, input.want);
    const auto cheapest_output = book_.best(query_of(state, output.want));
    if (!cheapest_output) return {};
    const std::uint64_t least_output = fill_of(*cheapest_output, output.want)->locked_atoms;
    const auto key = [](const Plan& pair) {
        return std::tuple(sum_of_locks(pair), ~pair.front().reliability_bp,
                          std::max(pair.front().ask, pair.back().ask), pair.front().ask);
    };
    Plan best;
    std::unordered_set<Address> seen;
    for (auto ask = book_.best(inputs); ask; ask = book_.next(inputs, *ask)) {
        const std::uint64_t locked = fill_of(*ask, input.want)->locked_atoms;
        if (!best.empty() && locked + least_output > sum_of_locks(best)) break;
        const Address& worker = asks_[*ask].entry.resource.worker;
        if (!seen.insert(worker).second) continue;
        const auto in = least_lock(worker, input.want);
        const auto out = least_lock(worker, output.want);
        if (!in || !out) continue;
        Plan pair{*in, *out};
        if (best.empty() || key(pair) < key(best)) best = std::move(pair);
    }
    return best;
}

std::uint64_t Engine::Impl::sum_of_locks(const Plan& plan) {
    std::uint64_t total = 0;
    for (const Fill& fill : plan)
        total = std::min(total + fill.locked_atoms, kMostAtoms);
    return total;
}

Engine::Impl::Plan Engine::Impl::plan(const Job& job, const JobRecordState* state, TimeMs now_ms,
                                      PriceAt at) const {
    const Demand first(job, state, 0, now_ms, at);
    if (job.legs.size() == 2) return best_pair(first, Demand(job, state, 1, now_ms, at), state);
    const matching::Query query = query_of(state, first.want);
    Plan out;
    if (gang_of(job) == 1) {
        if (const auto ask = book_.best(query)) out.push_back(*fill_of(*ask, first.want));
        return out;
    }
    for (const Index ask : book_.best_gang(query, gang_of(job)))
        out.push_back(*fill_of(ask, first.want));
    return out;
}

}  // namespace marketplace::engine
