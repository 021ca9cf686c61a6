// SPDX-License-Identifier: Apache-2.0
#include "ledger/base/hex.hpp"
#include "marketplace/engine/impl.hpp"

#include <algorithm>
#include <map>

namespace marketplace::engine {
namespace {

using Violation = std::optional<std::string>;

std::string say(const char* what, const Hash32& id) {
    return std::string(what) + ": " + ledger::base::to_hex(id);
}

/// I-04, I-06: totals never pass the lock, the lock never passes what the buyer signed.
Violation check_amounts(const Lease& lease, const ledger::eth::Bid& bid) {
    if (lease.locked_atoms > bid.max_amount_atoms) return say("I-04 lock above bid", lease.id);
    const auto worst = ledger::eth::amount_for(lease.unit_kind, lease.max_units, lease.price_atoms);
    if (!worst || *worst != lease.locked_atoms)
        return say("I-04 lock is not the worst case", lease.id);
    if (lease.units > lease.max_units) return say("I-04 units above the lease", lease.id);
    if (lease.amount_atoms > lease.locked_atoms) return say("I-04 receipts above lock", lease.id);
    if (lease.voucher_amount_atoms > lease.amount_atoms)
        return say("I-04 voucher above receipts", lease.id);
    if (lease.claimed_atoms > lease.locked_atoms) return say("I-06 paid above lock", lease.id);
    if (lease.state == LeaseState::kClosed &&
        lease.claimed_atoms + lease.refunded_atoms != lease.locked_atoms)
        return say("I-06 paid and refunded differ from the lock", lease.id);
    return std::nullopt;
}

/// I-11: no fill worse than either limit; a ramp pays no more than it offered.
Violation check_price(const LeaseRecord& record, const domain::BidLeg& leg,
                      const ledger::eth::Ask& ask) {
    const Lease& lease = record.lease;
    if (lease.price_atoms < ask.price_atoms) return say("I-11 price below the ask", lease.id);
    if (record.batch_ms == 0 && lease.price_atoms != ask.price_atoms)
        return say("I-11 not the ask's price", lease.id);
    if (lease.price_atoms > matching::offered_price(leg.bid, leg.constraints, lease.matched_ms))
        return say("I-11 price above the bid", lease.id);
    return std::nullopt;
}

}  // namespace

/// I-11: what is sold of asks and calendars is what active leases hold, and no more than offered.
std::optional<std::string> Engine::Impl::find_oversold() const {
    std::map<Index, std::uint64_t> units_out;
    std::map<Address, matching::Calendar> calendars;
    for (const LeaseRecord& record : leases_) {
        const Lease& lease = record.lease;
        if (record.holds_capacity != is_active(lease))
            return say("I-11 room and state of a lease differ", lease.id);
        if (workers_.at(lease.worker).leases.contains(lease_by_id_.at(lease.id)) !=
            is_active(lease))
            return say("I-11 a worker's active leases", lease.id);
        if (!record.holds_capacity) continue;
        units_out[record.ask] += lease.max_units;
        if (!is_training(jobs_[record.job].job)) continue;
        matching::Calendar& sold = calendars[lease.worker];
        if (!sold.is_free(lease.starts_ms, lease.ends_ms))
            return say("I-11 a window sold twice", lease.id);
        sold.hold(lease.starts_ms, lease.ends_ms);
        if (workers_.at(lease.worker).calendar.is_free(lease.starts_ms, lease.ends_ms))
            return say("I-11 a window that its calendar does not know", lease.id);
    }
    for (const Address& worker : worker_order_) {
        const auto sold = calendars.find(worker);
        const std::size_t windows = sold == calendars.end() ? 0 : sold->second.size();
        if (windows != workers_.at(worker).calendar.size())
            return "I-11 a calendar and its leases differ: " + ledger::base::to_hex(worker);
    }
    for (Index i = 0; i < asks_.size(); ++i) {
        const AskEntry& ask = asks_[i].entry;
        const auto out = units_out.find(i);
        if (ask.units_out != (out == units_out.end() ? 0 : out->second))
            return say("I-11 units out of an ask", ask.id);
        if (ask.units_out > ask.ask.volume_units) return say("I-11 oversold ask", ask.id);
    }
    return std::nullopt;
}

/// I-13: a job's state follows from its leases; a gang is there whole or not at all.
std::optional<std::string> Engine::Impl::find_odd_job() const {
    std::map<Address, ledger::base::Uint128> open_interest;
    for (const JobRecordState& state : jobs_) {
        const Job& job = state.job;
        const auto wrong = [&job](const char* what) {
            return std::string(what) + ": " + job.id.to_string();
        };
        std::size_t active = 0;
        for (const Index lease : state.leases)
            active += is_active(leases_[lease].lease) ? 1U : 0U;
        if (job.state == JobState::kOpen) open_interest[job.buyer] += state.worst_atoms;
        if (job.units_done > job.terms.total_units)
            return wrong("I-04 more units than the job has");
        if (state.reclaims &&
            (job.state != JobState::kOpen || leases_[*state.reclaims].reclaimed_by != state.index))
            return wrong("I-13 a reclaim that nobody waits for");
        if (job.state == JobState::kOpen || is_final(job.state)) {
            if (active != 0) return wrong("I-13 job and leases disagree");
            continue;
        }
        if (state.team.size() != std::max(job.legs.size(), gang_of(job)))
            return wrong("I-11 a gang that is not whole");
        auto lowest = LeaseState::kRunning;
        std::size_t members = 0;
        for (const Index index : state.team) {
            const Lease& lease = leases_[index].lease;
            const bool is_done = lease.close_reason == CloseReason::kCompleted;
            members += is_active(lease) || is_done ? 1U : 0U;
            lowest = std::min(lowest, is_done ? LeaseState::kRunning : lease.state);
        }
        const auto expected = lowest == LeaseState::kMatched ? JobState::kMatched
                              : lowest == LeaseState::kOpen  ? JobState::kAssigned
                                                             : JobState::kRunning;
        if (active == 0 || members != state.team.size() || job.state != expected)
            return wrong("I-13 job and leases disagree");
    }
    for (const auto& [buyer, worth] : open_interest_) {
        const auto it = open_interest.find(buyer);
        if (worth != (it == open_interest.end() ? ledger::base::Uint128{0} : it->second))
            return "I-15 open interest: " + ledger::base::to_hex(buyer);
    }
    return std::nullopt;
}

std::optional<std::string> Engine::Impl::find_violation() const {
    using Batch = std::tuple<TimeMs, ledger::eth::UnitKind, std::set<std::string>>;
    if (auto violation = books_.find_violation()) return violation;
    std::map<Address, std::uint64_t> held;
    std::map<Batch, std::uint64_t> batch_prices;
    for (const LeaseRecord& record : leases_) {
        const Lease& lease = record.lease;
        const domain::BidLeg& leg = jobs_[record.job].job.legs[lease.leg];
        if (auto bad = check_amounts(lease, leg.bid)) return bad;
        if (auto bad = check_price(record, leg, asks_[record.ask].entry.ask)) return bad;
        if (record.batch_ms != 0) {
            const auto& models = leg.constraints.gpu_models;
            const Batch batch{record.batch_ms, lease.unit_kind, {models.begin(), models.end()}};
            if (batch_prices.emplace(batch, lease.price_atoms).first->second != lease.price_atoms)
                return say("I-11 two prices in one batch", lease.id);
        }
        if (record.reclaimed_by && (!is_active(lease) || lease.reclaim_at_ms == 0))
            return say("I-13 a lease that ended is to make room", lease.id);
        if (lease.state < LeaseState::kClosed)
            held[lease.buyer] += lease.locked_atoms - lease.claimed_atoms;
    }
    for (const auto& [buyer, atoms] : held)
        if (static_cast<std::uint64_t>(books_.held(buyer).atoms()) != atoms)
            return "I-01 held is not what is locked: " + ledger::base::to_hex(buyer);
    if (auto violation = find_oversold()) return violation;
    return find_odd_job();
}

}  // namespace marketplace::engine
