// SPDX-License-Identifier: Apache-2.0
#include "ledger/base/check.hpp"
#include "marketplace/engine/impl.hpp"

#include <algorithm>

namespace marketplace::engine {

using domain::JobKind;

std::uint64_t Engine::Impl::units_wanted(const Job& job, std::size_t leg) const {
    if (job.terms.kind == JobKind::kTrain) return job.terms.total_units - job.units_done;
    return job.legs[leg].bid.volume_units;
}

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

/// Price, then reliability, then time.
bool Engine::Impl::is_better(const Fill& a, const Fill& b) {
    if (a.cost_atoms != b.cost_atoms) return a.cost_atoms < b.cost_atoms;
    if (a.reliability_bp != b.reliability_bp) return a.reliability_bp > b.reliability_bp;
    return a.ask < b.ask;
}

Engine::Impl::Scan Engine::Impl::scan(const Job& job, const JobRecordState* state, std::size_t leg,
                                      TimeMs now_ms) const {
    std::vector<Hash32> excluded_asks;
    if (state != nullptr)
        for (const auto& [ask, until_ms] : state->excluded_asks)
            if (now_ms < until_ms) excluded_asks.push_back(ask);
    const domain::BidLeg& wanted = job.legs[leg];
    const std::uint64_t units = units_wanted(job, leg);
    const matching::Want want{
        wanted.bid,   wanted.constraints,
        job.terms,    units,
        job.excluded, excluded_asks,
        now_ms,       matching::offered_price(wanted.bid, wanted.constraints, now_ms)};
    Scan out;
    for (const Index ask : open_asks_) {
        const matching::Offer offer = offer_of(ask);
        if (const auto mismatch = matching::first_mismatch(offer, want)) {
            matching::count_mismatch(out.reasons, *mismatch, offer);
            continue;
        }
        ++out.reasons.asks;
        const auto locked =
            ledger::eth::amount_for(wanted.bid.unit_kind, units, offer.ask.price_atoms);
        MR_CHECK(locked.has_value());
        out.fits.push_back({ask, units, *locked, offer.ask.price_atoms, offer.reliability_bp});
    }
    return out;
}

Engine::Impl::Plan Engine::Impl::plan_one(const Job& job, const JobRecordState* state,
                                          TimeMs now_ms) const {
    Scan found = scan(job, state, 0, now_ms);
    Plan out;
    out.reasons = found.reasons;
    const auto best =
        std::min_element(found.fits.begin(), found.fits.end(),
                         [](const Fill& a, const Fill& b) { return is_better(a, b); });
    if (best != found.fits.end()) out.fills.push_back(*best);
    return out;
}

/// Both kinds of token from one worker: the cheapest pair by what is locked for both.
Engine::Impl::Plan Engine::Impl::plan_pair(const Job& job, const JobRecordState* state,
                                           TimeMs now_ms) const {
    const Scan input = scan(job, state, 0, now_ms);
    const Scan output = scan(job, state, 1, now_ms);
    Plan out;
    std::optional<Fill> best;
    for (const Fill& in : input.fits) {
        for (const Fill& with : output.fits) {
            const AskEntry& a = asks_[in.ask].entry;
            const AskEntry& b = asks_[with.ask].entry;
            if (a.resource.worker != b.resource.worker || a.ask.provider != b.ask.provider)
                continue;
            Fill both = in;
            both.cost_atoms = in.locked_atoms + with.locked_atoms;
            both.ask = std::max(in.ask, with.ask);
            if (best && !is_better(both, *best)) continue;
            best = both;
            out.fills = {in, with};
        }
    }
    out.reasons = input.fits.empty() ? input.reasons : output.reasons;
    if (!input.fits.empty() && out.fills.empty()) {
        // These have no partner with the same worker.
        const auto lonely = static_cast<std::uint32_t>(output.fits.size());
        out.reasons.failed[static_cast<std::size_t>(domain::Mismatch::kNotAllowed)] += lonely;
    }
    return out;
}

Engine::Impl::Plan Engine::Impl::plan(const Job& job, const JobRecordState* state,
                                      TimeMs now_ms) const {
    return job.legs.size() == 1 ? plan_one(job, state, now_ms) : plan_pair(job, state, now_ms);
}

void Engine::Impl::try_match(JobRecordState& state) {
    if (state.not_before_ms > now_ms_) return;
    Plan planned = plan(state.job, &state, now_ms_);
    state.job.mismatches = planned.reasons;
    if (planned.fills.empty()) {
        if (state.tell_why) emit(domain::NotMatched{state.job.id, planned.reasons});
        state.tell_why = false;
        return;
    }
    std::uint64_t total = 0;
    for (const Fill& fill : planned.fills)
        total += fill.locked_atoms;
    const auto available = static_cast<std::uint64_t>(books_.available(state.job.buyer).atoms());
    if (available < total) return set_job_state(state, JobState::kOpen, "insufficient_funds");
    match(state, planned);
}

void Engine::Impl::match(JobRecordState& state, const Plan& planned) {
    Job& job = state.job;
    for (std::size_t leg = 0; leg < planned.fills.size(); ++leg) {
        const Fill& fill = planned.fills[leg];
        AskEntry& ask = asks_[fill.ask].entry;
        const auto index = static_cast<Index>(leases_.size());
        LeaseRecord& record = leases_.emplace_back();
        record.job = state.index;
        record.ask = fill.ask;
        Lease& lease = record.lease;
        lease.job = job.id;
        lease.leg = static_cast<std::uint8_t>(leg);
        lease.ask_hash = ask.id;
        lease.bid_hash = job.bid_hashes[leg];
        for (const Hash32& other : job.leases) {
            const Lease& earlier = leases_[lease_by_id_.at(other)].lease;
            if (earlier.ask_hash == ask.id && earlier.bid_hash == lease.bid_hash) ++lease.index;
        }
        lease.id = domain::lease_id(lease.ask_hash, lease.bid_hash, lease.index);
        lease.buyer = job.buyer;
        lease.provider = ask.ask.provider;
        const bool delegated =
            job.delegation && (job.delegation->scope & ledger::eth::kScopeVouchers) != 0;
        lease.voucher_signer = delegated ? job.delegation->delegate : job.buyer;
        lease.worker = ask.resource.worker;
        lease.unit_kind = ask.ask.unit_kind;
        lease.price_atoms = ask.ask.price_atoms;
        lease.max_units = fill.units;
        lease.locked_atoms = fill.locked_atoms;
        lease.start_units = job.units_done;
        lease.start_checkpoint = job.checkpoint;
        lease.receipts_root = record.tree.root();
        lease.matched_ms = lease.changed_ms = now_ms_;
        ask.units_out += fill.units;
        asks_[fill.ask].chain_units += fill.units;
        lease.starts_ms = now_ms_;
        lease.ends_ms = job.legs[leg].bid.deadline_s * 1000;
        if (matching::is_exclusive(job.terms))
            workers_[lease.worker].calendar.hold(lease.starts_ms, lease.ends_ms);
        const ledger::base::Money amount(static_cast<std::int64_t>(fill.locked_atoms));
        MR_CHECK(books_.reserve(lease.id, job.buyer, amount, cause(lease.id)).has_value());
        lease_by_id_.emplace(lease.id, index);
        active_leases_.insert(index);
        to_open_.insert(index);
        job.leases.push_back(lease.id);
        emit(domain::Matched{lease.id, job.id, lease.ask_hash, lease.bid_hash, lease.index,
                             lease.price_atoms, lease.max_units, lease.locked_atoms});
    }
    set_job_state(state, JobState::kMatched, {});
    report_balance(job.buyer);
}

void Engine::Impl::match_open_jobs() {
    // Jobs leave the set as they match: walk a copy of the keys.
    const std::vector<std::pair<std::uint64_t, Index>> waiting(open_jobs_.begin(),
                                                               open_jobs_.end());
    for (const auto& [rank, index] : waiting)
        try_match(jobs_[index]);
}

Engine::Quote Engine::Impl::quote(const domain::PostJob& command, TimeMs now_ms) const {
    Quote out;
    if (!check_shape(command)) return out;
    Job job;
    job.id = command.id;
    job.buyer = command.legs.front().bid.buyer;
    job.terms = command.terms;
    job.legs = command.legs;
    const Plan planned = plan(job, nullptr, now_ms);
    out.reasons = planned.reasons;
    out.matches = !planned.fills.empty();
    for (std::size_t leg = 0; leg < planned.fills.size(); ++leg) {
        const Fill& fill = planned.fills[leg];
        const AskEntry& ask = asks_[fill.ask].entry;
        domain::Matched matched;
        matched.job = command.id;
        matched.ask_hash = ask.id;
        matched.bid_hash = ledger::eth::struct_hash(command.legs[leg].bid);
        matched.price_atoms = ask.ask.price_atoms;
        matched.max_units = fill.units;
        matched.locked_atoms = fill.locked_atoms;
        matched.lease = domain::lease_id(matched.ask_hash, matched.bid_hash, 0);
        out.legs.push_back(matched);
    }
    return out;
}

}  // namespace marketplace::engine
