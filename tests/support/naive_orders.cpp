// SPDX-License-Identifier: Apache-2.0
#include "ledger/base/checked.hpp"
#include "ledger/base/limits.hpp"
#include "tests/support/naive_market.hpp"

#include <algorithm>
#include <limits>
#include <variant>

/// Orders, workers and escrow (rules 1, 14 and 15): what is refused, and why.
namespace tests {

using namespace marketplace::domain;
using Code = ledger::base::ErrorCode;
namespace limits = ledger::base::limits;

namespace {

constexpr std::size_t kNameSize = 64;
constexpr std::size_t kListSize = 64;
constexpr auto kMaxAtoms = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());

bool is_price(std::uint64_t atoms) {
    return atoms >= 1 && atoms <= limits::kMaxPriceAtoms;
}
bool is_quantity(std::uint64_t units) {
    return units >= 1 && units <= limits::kMaxUnits;
}
/// An allow list and a deny list.
bool are_parties(const std::vector<Address>& only, const std::vector<Address>& none) {
    return only.size() <= kListSize && none.size() <= kListSize &&
           std::none_of(only.begin(), only.end(), [&none](const Address& party) {
               return std::find(none.begin(), none.end(), party) != none.end();
           });
}
bool are_names(const std::vector<std::string>& names) {
    return names.size() <= kListSize && std::all_of(names.begin(), names.end(), [](const auto& n) {
               return !n.empty() && n.size() <= kNameSize;
           });
}

}  // namespace

NaiveMarket::Outcome NaiveMarket::apply(const Command& command, TimeMs now_ms) {
    const TimeMs before = std::exchange(now_, now_ms);
    out_ = {};
    out_.refused = std::visit([this](const auto& c) { return take(c); }, command);
    if (out_.refused) {
        now_ = before;
        return out_;
    }
    work_off_timers();
    round();
    return out_;
}

NaiveMarket::Account NaiveMarket::account(const Address& owner) const {
    const auto found = accounts_.find(owner);
    return found == accounts_.end() ? Account{} : found->second;
}

/// The most a job may lock.
ledger::base::Uint128 NaiveMarket::worth(const PostJob& c) const {
    ledger::base::Uint128 out = 0;
    for (const BidLeg& leg : c.legs) {
        const bool trains = c.terms.kind == JobKind::kTrain;
        const std::uint64_t units = trains ? c.terms.total_units : leg.bid.volume_units;
        const auto amount =
            ledger::eth::amount_for(leg.bid.unit_kind, units, leg.bid.price_ceiling_atoms);
        out +=
            std::min(amount.value_or(kMaxAtoms), leg.bid.max_amount_atoms) * leg.constraints.gang;
    }
    return out;
}

NaiveMarket::Refusal NaiveMarket::shape_of(const PostAsk& c) const {
    const auto& ask = c.ask;
    const Resource& has = c.resource;
    if (!is_price(ask.price_atoms)) return Code::invalid_price;
    if (!is_quantity(ask.max_units) || !is_quantity(ask.volume_units) ||
        ask.min_units > ask.max_units || ask.min_units > ask.volume_units)
        return Code::invalid_quantity;
    if (ask.earliest_s >= ask.expiry_s) return Code::invalid_window;
    if (ask.provider.is_zero() || has.worker.is_zero()) return Code::invalid_field;
    if (!ask.matcher.is_zero() && ask.matcher != config_.operator_address)
        return Code::invalid_field;
    if (!are_names({has.gpu_model, has.region, has.runtime}) ||
        has.interconnect.size() > kNameSize || !are_parties(has.buyers, has.exclude_buyers))
        return Code::out_of_range;
    if (has.max_gang == 0 || (has.numeric_classes >> 4U) != 0) return Code::out_of_range;
    return std::nullopt;
}

NaiveMarket::Refusal NaiveMarket::shape_of(const PostJob& c, const BidLeg& leg) const {
    const auto& bid = leg.bid;
    const Constraints& want = leg.constraints;
    if (!is_price(bid.price_ceiling_atoms)) return Code::invalid_price;
    if (!is_quantity(bid.volume_units) || bid.max_amount_atoms == 0 ||
        bid.max_amount_atoms > kMaxAtoms / 2)
        return Code::invalid_quantity;
    if (bid.earliest_s >= bid.deadline_s || bid.earliest_s >= bid.expiry_s)
        return Code::invalid_window;
    if (bid.buyer.is_zero() || bid.buyer != c.legs[0].bid.buyer) return Code::invalid_field;
    if (!bid.matcher.is_zero() && bid.matcher != config_.operator_address)
        return Code::invalid_field;
    if (!are_names(want.gpu_models) || !are_names(want.regions) || !are_names(want.runtimes) ||
        !are_names(want.interconnects) || !are_parties(want.providers, want.exclude_providers) ||
        want.min_reliability_bp > 10'000 || want.max_duration_s > limits::kMaxDurationS)
        return Code::out_of_range;
    if (want.gang == 0 || want.gang > limits::kGangSize) return Code::invalid_quantity;
    const bool trains = c.terms.kind == JobKind::kTrain;
    const bool ramps = want.ramp_from_atoms != 0;
    const bool slices = want.min_slice_units != 0;
    if (!trains && (want.gang != 1 || slices || ramps ||
                    bid.order_class == ledger::eth::OrderClass::kReserved))
        return Code::unsupported;
    if (slices && (want.gang != 1 || want.min_slice_units > c.terms.total_units ||
                   c.terms.total_units / want.min_slice_units > limits::kSlicesPerJob))
        return Code::invalid_quantity;
    if (ramps && want.ramp_from_atoms >= bid.price_ceiling_atoms) return Code::invalid_price;
    if (ramps ? want.ramp_start_s >= want.ramp_end_s : (want.ramp_start_s | want.ramp_end_s) != 0)
        return Code::invalid_window;
    if (want.clearing == Clearing::kBatch && (!trains || ramps || want.gang != 1))
        return Code::unsupported;
    return std::nullopt;
}

NaiveMarket::Refusal NaiveMarket::shape_of(const PostJob& c) const {
    using ledger::eth::UnitKind;
    const bool trains = c.terms.kind == JobKind::kTrain;
    if (c.legs.size() != (trains ? 1U : 2U)) return Code::invalid_field;
    for (const BidLeg& leg : c.legs)
        if (const auto refusal = shape_of(c, leg)) return refusal;
    if (trains) {
        const std::uint64_t total = c.terms.total_units;
        if (total == 0 || c.terms.segment_units == 0 || c.terms.segment_units > total)
            return Code::invalid_quantity;
        const BidLeg& leg = c.legs[0];
        const bool is_time = leg.bid.unit_kind == UnitKind::kGpuMs;
        if (total > (is_time ? limits::kMaxUnits : limits::kMaxTrainingSteps))
            return Code::job_limit;
        if (leg.bid.volume_units / leg.constraints.gang < total) return Code::invalid_quantity;
        if (!is_time && leg.bid.unit_kind != UnitKind::kTrainingStep) return Code::invalid_field;
    } else if (c.terms.total_units != 0 || c.terms.segment_units != 0 ||
               c.terms.flops_per_step != 0 || c.legs[0].bid.unit_kind != UnitKind::kInputToken ||
               c.legs[1].bid.unit_kind != UnitKind::kOutputToken) {
        return Code::invalid_field;
    }
    if (c.delegation &&
        (c.delegation->owner != c.legs[0].bid.buyer || c.delegation->delegate.is_zero() ||
         c.delegation->scope == 0 || c.delegation->scope > ledger::eth::kScopeAll))
        return Code::invalid_field;
    return std::nullopt;
}

/// All that speaks against a new ask, as if the ask `instead_of` were gone.
NaiveMarket::Refusal NaiveMarket::check(const PostAsk& c, const Ask* instead_of) const {
    if (const auto refusal = shape_of(c)) return refusal;
    for (const Ask& known : asks_)
        if (known.id == struct_hash(c.ask))
            return known.post != c ? Code::exists_with_different_body : Code::replayed_order;
    if (c.ask.expiry_s * 1000 <= now_) return Code::expired;
    std::size_t of_worker = 0;
    std::size_t of_provider = 0;
    for (const Ask& ask : asks_) {
        if (!ask.open || &ask == instead_of) continue;
        of_worker += ask.post.resource.worker == c.resource.worker ? 1U : 0U;
        of_provider += ask.post.ask.provider == c.ask.provider ? 1U : 0U;
    }
    for (const Job& job : jobs_)
        of_provider += !is_final(job.state) && job.buyer() == c.ask.provider ? 1U : 0U;
    if (of_provider >= limits::kOpenOrdersPerAccount || of_worker >= limits::kOpenAsksPerWorker)
        return Code::rate_limited;
    return std::nullopt;
}

/// All that speaks against a new job, as if the job `instead_of` were gone.
NaiveMarket::Refusal NaiveMarket::check(const PostJob& c, const Job* instead_of) const {
    if (const auto refusal = shape_of(c)) return refusal;
    for (const Job& known : jobs_)
        if (known.post.id == c.id) return Code::exists_with_different_body;
    for (const Job& known : jobs_) {
        for (const Hash32& bid : known.bids)
            for (const BidLeg& leg : c.legs)
                if (bid == struct_hash(leg.bid)) return Code::replayed_order;
    }
    const Address& buyer = c.legs[0].bid.buyer;
    for (const BidLeg& leg : c.legs)
        if (leg.bid.expiry_s * 1000 <= now_ || leg.bid.deadline_s * 1000 <= now_)
            return Code::expired;
    const auto most = worth(c);
    if (c.delegation && c.delegation->expiry_s * 1000 <= now_) return Code::expired;
    if (c.delegation && c.delegation->spend_cap_atoms < most) return Code::delegation_cap_exceeded;
    const auto free = static_cast<std::uint64_t>(std::max<std::int64_t>(0, account(buyer).free));
    if (free < most) return Code::insufficient_funds;
    auto open_worth = most;
    for (const Job& job : jobs_)
        if (job.state == JobState::kOpen && job.buyer() == buyer && &job != instead_of)
            open_worth += worth(job.post);
    if (open_worth > ledger::base::Uint128{free} * limits::kOpenInterestTimes)
        return Code::insufficient_funds;
    return std::nullopt;
}

void NaiveMarket::add(const PostAsk& c) {
    asks_.push_back({struct_hash(c.ask), c});
}

void NaiveMarket::add(const PostJob& c) {
    Job job;
    job.post = c;
    for (const BidLeg& leg : c.legs)
        job.bids.push_back(struct_hash(leg.bid));
    jobs_.push_back(std::move(job));
    reopen(jobs_.back());
}

NaiveMarket::Refusal NaiveMarket::take(const PostAsk& c) {
    for (const Ask& known : asks_)
        if (known.open && known.post == c) return std::nullopt;
    if (const auto refusal = check(c, nullptr)) return refusal;
    add(c);
    return std::nullopt;
}

NaiveMarket::Refusal NaiveMarket::take(const PostJob& c) {
    for (const Job& known : jobs_)
        if (known.post == c) return std::nullopt;
    if (const auto refusal = check(c, nullptr)) return refusal;
    add(c);
    return std::nullopt;
}

NaiveMarket::Refusal NaiveMarket::take(const CancelAsk& c) {
    for (Ask& ask : asks_) {
        if (ask.id != c.ask) continue;
        if (ask.post.ask.provider != c.by) return Code::forbidden;
        if (!ask.open) return ask.expired ? Code::expired : Code::already_cancelled;
        ask.open = false;
        return std::nullopt;
    }
    return Code::not_found;
}

NaiveMarket::Refusal NaiveMarket::take(const CancelJob& c) {
    for (Job& job : jobs_) {
        if (job.post.id != c.job) continue;
        if (job.buyer() != c.by) return Code::forbidden;
        if (job.state == JobState::kCancelled) return Code::already_cancelled;
        if (is_final(job.state)) return Code::wrong_state;
        end_job(job, JobState::kCancelled, CloseReason::kBuyerCancelled);
        return std::nullopt;
    }
    return Code::not_found;
}

/// Rule 15.
NaiveMarket::Refusal NaiveMarket::take(const AmendAsk& c) {
    const auto old = std::find_if(asks_.begin(), asks_.end(),
                                  [&c](const Ask& ask) { return ask.id == c.old_ask; });
    if (old == asks_.end()) return Code::not_found;
    const bool again = std::any_of(asks_.begin(), asks_.end(), [&c](const Ask& ask) {
        return ask.open && ask.post == c.replacement;
    });
    if (!again)
        if (const auto refusal = check(c.replacement, &*old)) return refusal;
    if (old->post.ask.provider != c.replacement.ask.provider) return Code::forbidden;
    if (again && old->amended) return std::nullopt;
    if (!old->open) return old->expired ? Code::expired : Code::already_cancelled;
    if (again) return Code::replayed_order;
    old->open = false;
    old->amended = true;
    add(c.replacement);
    return std::nullopt;
}

NaiveMarket::Refusal NaiveMarket::take(const AmendJob& c) {
    const auto old = std::find_if(jobs_.begin(), jobs_.end(),
                                  [&c](const Job& job) { return job.post.id == c.old_job; });
    if (old == jobs_.end()) return Code::not_found;
    const bool again = std::any_of(jobs_.begin(), jobs_.end(),
                                   [&c](const Job& job) { return job.post == c.replacement; });
    if (!again)
        if (const auto refusal = check(c.replacement, &*old)) return refusal;
    if (old->buyer() != c.replacement.legs[0].bid.buyer) return Code::forbidden;
    if (again && old->amended) return std::nullopt;
    if (old->state == JobState::kCancelled) return Code::already_cancelled;
    if (old->state != JobState::kOpen) return Code::wrong_state;
    if (again) return Code::exists_with_different_body;
    end_job(*old, JobState::kCancelled, CloseReason::kBuyerCancelled);
    old->amended = true;
    add(c.replacement);
    return std::nullopt;
}

NaiveMarket::Refusal NaiveMarket::take(const WorkerConnected& c) {
    if (c.worker.is_zero() || c.provider.is_zero()) return Code::invalid_field;
    workers_[c.worker].provider = c.provider;
    workers_[c.worker].connected = true;
    return std::nullopt;
}

NaiveMarket::Refusal NaiveMarket::take(const WorkerLost& c) {
    const auto worker = workers_.find(c.worker);
    if (worker == workers_.end() || !worker->second.connected) return std::nullopt;
    worker->second.connected = false;
    for (Lease& lease : leases_)
        if (lease.is.worker == c.worker && holds_room(lease))
            leave(lease, CloseReason::kWorkerLost, "worker_lost", /*backs_off=*/false);
    return std::nullopt;
}

NaiveMarket::Refusal NaiveMarket::take(const EscrowDeposited& c) {
    if (c.amount_atoms == 0) return Code::invalid_quantity;
    if (c.amount_atoms > kMaxAtoms / 2) return Code::out_of_range;
    if (!escrow_events_.emplace(c.transaction, c.log_index).second) return std::nullopt;
    release(c.account, c.amount_atoms);
    return std::nullopt;
}

NaiveMarket::Refusal NaiveMarket::take(const EscrowWithdrawn& c) {
    if (c.amount_atoms == 0) return Code::invalid_quantity;
    if (c.amount_atoms > kMaxAtoms / 2) return Code::out_of_range;
    if (!escrow_events_.emplace(c.transaction, c.log_index).second) return std::nullopt;
    Account& account = accounts_[c.account];
    const auto amount = static_cast<std::int64_t>(c.amount_atoms);
    const std::int64_t taken = std::min(amount, account.free);
    account.free -= taken;
    account.shortfall += amount - taken;
    return std::nullopt;
}

}  // namespace tests
