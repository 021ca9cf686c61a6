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

/// I-04: totals never pass the lock, the lock never passes what the buyer signed.
Violation check_amounts(const Lease& lease, const ledger::eth::Bid& bid,
                        const ledger::eth::Ask& ask) {
    if (lease.price_atoms < ask.price_atoms) return say("I-11 price below the ask", lease.id);
    if (lease.price_atoms > bid.price_ceiling_atoms)
        return say("I-11 price above the bid", lease.id);
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

/// I-13: a job's state follows from its leases.
bool state_fits(const Job& job, std::size_t active, LeaseState lowest) {
    switch (job.state) {
        case JobState::kMatched:
            return active == job.legs.size() && lowest == LeaseState::kMatched;
        case JobState::kAssigned:
            return active == job.legs.size() && lowest == LeaseState::kOpen;
        case JobState::kRunning:
            return active == job.legs.size() && lowest == LeaseState::kRunning;
        case JobState::kOpen:
        case JobState::kCompleted:
        case JobState::kFailed:
        case JobState::kCancelled:
        case JobState::kExpired:
            return active == 0;
    }
    return false;
}

}  // namespace

std::optional<std::string> Engine::Impl::find_violation() const {
    if (auto violation = books_.find_violation()) return violation;
    std::map<Index, std::uint64_t> units_out;
    std::map<Address, matching::Calendar> calendars;
    std::map<Address, std::uint64_t> held;
    for (const LeaseRecord& record : leases_) {
        const Lease& lease = record.lease;
        const Job& job = jobs_[record.job].job;
        if (auto bad = check_amounts(lease, job.legs[lease.leg].bid, asks_[record.ask].entry.ask))
            return bad;
        if (record.holds_capacity != is_active(lease))
            return say("I-11 room and state of a lease differ", lease.id);
        if (record.holds_capacity) {
            units_out[record.ask] += lease.max_units;
            if (matching::is_exclusive(job.terms)) {
                matching::Calendar& sold = calendars[lease.worker];
                if (!sold.is_free(lease.starts_ms, lease.ends_ms))
                    return say("I-11 a window sold twice", lease.id);
                sold.hold(lease.starts_ms, lease.ends_ms);
            }
        }
        if (lease.state < LeaseState::kClosed)
            held[lease.buyer] += lease.locked_atoms - lease.claimed_atoms;
    }
    for (const auto& [worker, sold] : calendars)
        if (sold.size() != workers_.at(worker).calendar.size())
            return "I-11 a calendar and its leases differ: " + ledger::base::to_hex(worker);
    for (const auto& [buyer, atoms] : held)
        if (static_cast<std::uint64_t>(books_.held(buyer).atoms()) != atoms)
            return "I-01 held is not what is locked: " + ledger::base::to_hex(buyer);
    for (Index i = 0; i < asks_.size(); ++i) {
        const AskEntry& ask = asks_[i].entry;
        const auto out = units_out.find(i);
        if (ask.units_out != (out == units_out.end() ? 0 : out->second))
            return say("I-11 units out of an ask", ask.id);
        if (ask.units_out > ask.ask.volume_units) return say("I-11 oversold ask", ask.id);
    }
    for (const JobRecordState& state : jobs_) {
        std::size_t active = 0;
        auto lowest = LeaseState::kRunning;
        for (const Hash32& id : state.job.leases) {
            const Lease& lease = leases_[lease_by_id_.at(id)].lease;
            if (!is_active(lease)) continue;
            ++active;
            lowest = std::min(lowest, lease.state);
        }
        if (!state_fits(state.job, active, lowest))
            return "I-13 job and leases disagree: " + state.job.id.to_string();
        if (state.job.units_done > state.job.terms.total_units)
            return "I-04 more units than the job has: " + state.job.id.to_string();
    }
    return std::nullopt;
}

}  // namespace marketplace::engine
