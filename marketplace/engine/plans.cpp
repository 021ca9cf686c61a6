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

/// What a lease under this ask would have; empty when the ask does not fit.
std::optional<Engine::Impl::Fill> Engine::Impl::fill_of(Index ask,
                                                        const matching::Want& want) const {
    const matching::Offer offer = offer_of(ask);
    if (matching::first_mismatch(offer, want)) return std::nullopt;
    const std::uint64_t units = matching::units_taken(offer, want);
    const auto locked = ledger::eth::amount_for(want.bid.unit_kind, units, offer.ask.price_atoms);
    MR_CHECK(locked.has_value());
    return Fill{ask, units, offer.ask.price_atoms, *locked, offer.reliability_bp};
}

/// Price, then reliability, then time.
bool Engine::Impl::is_better(const Fill& a, const Fill& b) {
    if (a.price_atoms != b.price_atoms) return a.price_atoms < b.price_atoms;
    if (a.reliability_bp != b.reliability_bp) return a.reliability_bp > b.reliability_bp;
    return a.ask < b.ask;
}

std::vector<Engine::Impl::Fill> Engine::Impl::fits(const matching::Want& want) const {
    std::vector<Fill> out;
    for (const Index ask : open_asks_)
        if (const auto fill = fill_of(ask, want)) out.push_back(*fill);
    return out;
}

/// The best `count` on as many workers; whole or not at all.
Engine::Impl::Plan Engine::Impl::best_of_workers(std::vector<Fill> fits, std::size_t count) const {
    if (count == 1) {
        const auto best = std::min_element(fits.begin(), fits.end(), is_better);
        return best == fits.end() ? Plan{} : Plan{*best};
    }
    std::sort(fits.begin(), fits.end(), is_better);
    Plan out;
    std::unordered_set<Address> workers;
    for (const Fill& fill : fits) {
        if (out.size() == count) break;
        if (workers.insert(asks_[fill.ask].entry.resource.worker).second) out.push_back(fill);
    }
    if (out.size() < count) out.clear();
    return out;
}

/// Both kinds of token from one worker and provider: the pair that locks least, then the more
/// reliable worker, then the older asks. Per worker the least of each kind make its best pair.
Engine::Impl::Plan Engine::Impl::best_pair(const std::vector<Fill>& inputs,
                                           const std::vector<Fill>& outputs) const {
    using Host = std::pair<Address, Address>;  // worker, provider
    const auto host_of = [this](const Fill& fill) {
        const AskEntry& entry = asks_[fill.ask].entry;
        return Host{entry.resource.worker, entry.ask.provider};
    };
    const auto locks_less = [](const Fill& a, const Fill& b) {
        return std::pair(a.locked_atoms, a.ask) < std::pair(b.locked_atoms, b.ask);
    };
    std::map<Host, Plan> pairs;
    for (const Fill& in : inputs) {
        const auto [it, is_new] = pairs.try_emplace(host_of(in), Plan{in});
        if (!is_new && locks_less(in, it->second.front())) it->second.front() = in;
    }
    for (const Fill& out : outputs) {
        const auto it = pairs.find(host_of(out));
        if (it == pairs.end()) continue;
        Plan& pair = it->second;
        if (pair.size() == 1)
            pair.push_back(out);
        else if (locks_less(out, pair.back()))
            pair.back() = out;
    }
    const auto key = [](const Plan& pair) {
        return std::tuple(sum_of_locks(pair), ~pair.front().reliability_bp,
                          std::max(pair.front().ask, pair.back().ask), pair.front().ask);
    };
    const Plan* best = nullptr;
    for (const auto& [host, pair] : pairs)
        if (pair.size() == 2 && (best == nullptr || key(pair) < key(*best))) best = &pair;
    return best == nullptr ? Plan{} : *best;
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
    if (job.legs.size() == 1) return best_of_workers(fits(first.want), gang_of(job));
    const std::vector<Fill> inputs = fits(first.want);
    if (inputs.empty()) return {};
    const Demand second(job, state, 1, now_ms, at);
    return best_pair(inputs, fits(second.want));
}

}  // namespace marketplace::engine
