// SPDX-License-Identifier: Apache-2.0
#include "marketplace/engine/impl.hpp"

#include <algorithm>

namespace marketplace::engine {
namespace {

/// The first moment from which the worker has the whole window free; 0: never before the deadline.
TimeMs earliest_start(const matching::Calendar& calendar, const ledger::eth::Bid& bid,
                      const domain::Constraints& constraints, TimeMs from) {
    const TimeMs deadline = bid.deadline_s * 1000;
    for (TimeMs at = calendar.free_from(from); at < deadline;) {
        TimeMs until = deadline;
        if (constraints.max_duration_s != 0)
            until = std::min(until, at + constraints.max_duration_s * 1000);
        const TimeMs next = calendar.free_until(at);
        if (until <= next) return at;
        at = calendar.free_from(next);
    }
    return 0;
}

}  // namespace

/// Counts every ask at its first failing test. Asks that fit and are of no use alone are counted
/// where they fall short: a gang's at kGang, a serving job's without partner at kNotAllowed.
domain::Mismatches Engine::Impl::reasons(const Job& job, const JobRecordState* state,
                                         TimeMs now_ms) const {
    domain::Mismatches out;
    now_ms = std::max(now_ms, last_ms_);
    const bool is_short = plan(job, state, now_ms).empty();
    for (std::size_t leg = 0; leg < job.legs.size(); ++leg) {
        const Demand demand(job, state, leg, now_ms, PriceAt::kNow);
        domain::Mismatches found;
        std::uint32_t fitting = 0;
        for (const Index ask : open_asks_) {
            const matching::Offer offer = offer_of(ask);
            if (const auto mismatch = matching::first_mismatch(offer, demand.want))
                matching::count_mismatch(found, *mismatch, offer);
            else
                ++fitting;
        }
        found.asks += fitting;
        out = found;
        if (fitting == 0) break;  // of two legs the first without any ask tells
        const auto short_of =
            job.legs.size() == 2 ? domain::Mismatch::kNotAllowed : domain::Mismatch::kGang;
        if (is_short) out.failed[static_cast<std::size_t>(short_of)] += fitting;
    }
    return out;
}

Result<Engine::Quote> Engine::Impl::quote(const domain::PostJob& command, TimeMs now_ms) const {
    Quote out;
    now_ms = std::max(now_ms, last_ms_);  // the books look only ahead
    TRY(check_shape(command));
    Job job;
    job.id = command.id;
    job.buyer = command.legs.front().bid.buyer;
    job.terms = command.terms;
    job.legs = command.legs;
    for (const domain::BidLeg& leg : job.legs)
        job.bid_hashes.push_back(ledger::eth::struct_hash(leg.bid));
    const Plan planned = plan(job, nullptr, now_ms);
    out.reasons = reasons(job, nullptr, now_ms);
    out.matches = !planned.empty();
    out.total_atoms = sum_of_locks(planned);
    out.worst_case_atoms = worst_case_atoms(command.terms, command.legs);
    out.candidates = count_candidates(job, now_ms);
    out.starts_ms = expected_start(job, planned, now_ms);
    for (std::size_t i = 0; i < planned.size(); ++i) {
        const Fill& fill = planned[i];
        domain::Matched matched;
        matched.job = command.id;
        matched.ask_hash = asks_[fill.ask].entry.id;
        matched.bid_hash = job.bid_hashes[job.legs.size() == 1 ? 0 : i];
        matched.price_atoms = fill.price_atoms;
        matched.max_units = fill.units;
        matched.locked_atoms = fill.locked_atoms;
        matched.lease = domain::lease_id(matched.ask_hash, matched.bid_hash, 0);
        out.legs.push_back(matched);
    }
    return out;
}

std::uint32_t Engine::Impl::count_candidates(const Job& job, TimeMs now_ms) const {
    std::set<Address> workers;  // with a fitting input ask
    std::uint32_t out = 0;
    for (std::size_t leg = 0; leg < job.legs.size(); ++leg) {
        const Demand demand(job, nullptr, leg, now_ms, PriceAt::kNow);
        const matching::Query query = query_of(nullptr, demand.want);
        for (auto ask = book_.best(query); ask; ask = book_.next(query, *ask)) {
            const Address& worker = asks_[*ask].entry.resource.worker;
            if (job.legs.size() == 1)
                ++out;
            else if (leg == 0)
                workers.insert(worker);
            else
                out += static_cast<std::uint32_t>(workers.erase(worker));
        }
    }
    return out;
}

/// Now, or at a reserved start, or with the next batch; without a plan the first moment at which a
/// busy worker is free or a ramp has risen to an ask. Gangs and pairs without a plan: unknown.
TimeMs Engine::Impl::expected_start(const Job& job, const Plan& planned, TimeMs now_ms) const {
    const Demand demand(job, nullptr, 0, now_ms, PriceAt::kCeiling);
    const TimeMs from = matching::work_window(demand.want).from;
    if (!planned.empty()) {
        if (!is_batched(job)) return from;
        const TimeMs period = config_.batch_period_ms;
        return std::max(from, (now_ms / period + 1) * period);
    }
    if (job.legs.size() != 1 || gang_of(job) != 1) return 0;
    TimeMs out = 0;
    for (const Index ask : open_asks_) {
        matching::Offer offer = offer_of(ask);
        const matching::Calendar* calendar = offer.calendar;
        offer.calendar = nullptr;
        if (matching::first_mismatch(offer, demand.want)) continue;
        const auto& leg = job.legs.front();
        const TimeMs price_at =
            matching::offers_from(leg.bid, leg.constraints, offer.ask.price_atoms);
        const TimeMs at =
            earliest_start(*calendar, leg.bid, leg.constraints, std::max({now_ms, from, price_at}));
        if (at != 0 && (out == 0 || at < out)) out = at;
    }
    return out;
}

}  // namespace marketplace::engine
