// SPDX-License-Identifier: Apache-2.0
#include "ledger/base/checked.hpp"
#include "ledger/log/merkle_tree.hpp"
#include "tests/support/naive_market.hpp"

#include <algorithm>
#include <tuple>

/// Fit, choice, rounds, reclaims and batches (rules 2 to 11), by looking at everything.
namespace tests {

using namespace marketplace::domain;
using ledger::eth::OrderClass;

namespace {

/// An empty list allows everything.
template <typename T>
bool allows(const std::vector<T>& list, const T& value) {
    return list.empty() || std::find(list.begin(), list.end(), value) != list.end();
}
template <typename T>
bool contains(const std::vector<T>& list, const T& value) {
    return std::find(list.begin(), list.end(), value) != list.end();
}

bool classes_fit(OrderClass ask, OrderClass bid) {
    switch (ask) {
        case OrderClass::kInterruptible:
            return bid == OrderClass::kInterruptible;
        case OrderClass::kReserved:
            return bid == OrderClass::kReserved;
        default:
            return bid != OrderClass::kReserved;
    }
}

enum TimerKind : int { kAskExpiry, kJobExpiry, kLeaseEnd, kReclaim, kVoucherDue, kBatch };

}  // namespace

bool NaiveMarket::holds_room(const Lease& lease) {
    return lease.is.state == LeaseState::kOpen || lease.is.state == LeaseState::kRunning ||
           (lease.is.state == LeaseState::kMatched && lease.is.close_reason == CloseReason::kNone);
}

std::uint64_t NaiveMarket::units_out(const Ask& ask) const {
    std::uint64_t out = 0;
    for (const Lease& lease : leases_)
        if (&lease != gone_ && holds_room(lease) && lease.is.ask_hash == ask.id)
            out += lease.is.max_units;
    for (const Lease& lease : planned_)
        if (lease.is.ask_hash == ask.id) out += lease.is.max_units;
    return out;
}

bool NaiveMarket::is_free(const Address& worker, TimeMs from, TimeMs until) const {
    const auto overlaps = [&](const Lease& lease) {
        return &lease != gone_ && lease.exclusive && holds_room(lease) &&
               lease.is.worker == worker && lease.is.starts_ms < until && from < lease.is.ends_ms;
    };
    return std::none_of(leases_.begin(), leases_.end(), overlaps) &&
           std::none_of(planned_.begin(), planned_.end(), overlaps);
}

std::uint32_t NaiveMarket::reliability_bp(const Address& worker) const {
    const auto found = workers_.find(worker);
    if (found == workers_.end()) return 10'000;
    const auto& [provider, connected, completed, failed] = found->second;
    return static_cast<std::uint32_t>((completed + 1) * 10'000 / (completed + failed + 1));
}

/// Rule 7.
std::pair<TimeMs, TimeMs> NaiveMarket::window_of(const BidLeg& leg) const {
    TimeMs from = now_;
    if (leg.bid.order_class == OrderClass::kReserved)
        from = std::max(from, leg.bid.earliest_s * 1000);
    TimeMs until = leg.bid.deadline_s * 1000;
    if (leg.constraints.max_duration_s != 0)
        until = std::min(until, from + leg.constraints.max_duration_s * 1000);
    return {from, until};
}

std::uint64_t NaiveMarket::offered(const BidLeg& leg) const {
    const auto& ramp = leg.constraints;
    const std::uint64_t ceiling = leg.bid.price_ceiling_atoms;
    if (ramp.ramp_from_atoms == 0 || now_ >= ramp.ramp_end_s * 1000) return ceiling;
    if (now_ <= ramp.ramp_start_s * 1000) return ramp.ramp_from_atoms;
    const std::uint64_t rise =
        ledger::base::mul_div_down(ceiling - ramp.ramp_from_atoms, now_ - ramp.ramp_start_s * 1000,
                                   (ramp.ramp_end_s - ramp.ramp_start_s) * 1000)
            .value();
    return ramp.ramp_from_atoms + rise;
}

/// Who may deal with whom.
bool NaiveMarket::names_fit(const Ask& ask, const Job& job, const BidLeg& leg) const {
    const Resource& has = ask.post.resource;
    const Address& provider = ask.post.ask.provider;
    const auto worker = workers_.find(has.worker);
    if (worker == workers_.end() || !worker->second.connected ||
        worker->second.provider != provider)
        return false;
    if (contains(leg.constraints.exclude_providers, provider) || provider == job.buyer() ||
        has.worker == job.buyer() || contains(job.excluded, has.worker))
        return false;
    for (const auto& [refused, until] : job.refused_asks)
        if (refused == ask.id && now_ < until) return false;
    return allows(leg.constraints.providers, provider) && allows(has.buyers, job.buyer()) &&
           !contains(has.exclude_buyers, job.buyer());
}

bool NaiveMarket::machine_fits(const Ask& ask, const Job& job, const BidLeg& leg) const {
    const Resource& has = ask.post.resource;
    const Constraints& want = leg.constraints;
    const bool interruptible = ask.post.ask.order_class == OrderClass::kInterruptible;
    return allows(want.gpu_models, has.gpu_model) && has.gpu_count >= want.min_gpu_count &&
           has.vram_mib >= want.min_vram_mib && allows(want.interconnects, has.interconnect) &&
           has.ram_mib >= want.min_ram_mib && has.cpu_cores >= want.min_cpu_cores &&
           has.disk_mib >= want.min_disk_mib && has.bandwidth_mbps >= want.min_bandwidth_mbps &&
           has.gflop_per_s >= want.min_gflop_per_s &&
           has.memory_mb_per_s >= want.min_memory_mb_per_s && allows(want.regions, has.region) &&
           allows(want.runtimes, has.runtime) &&
           (want.numeric_class == NumericClass::kAny ||
            (has.numeric_classes & bit_of(want.numeric_class)) != 0) &&
           has.verification_tier >= leg.bid.verification_tier &&
           job.post.terms.flops_per_step <= has.max_flops_per_step && has.max_gang >= want.gang &&
           reliability_bp(has.worker) >= want.min_reliability_bp &&
           (!interruptible || ask.post.ask.reclaim_window_s >= want.min_reclaim_window_s);
}

/// Rules 3 and 5: what the ask would give; empty when it does not fit.
std::optional<NaiveMarket::Take> NaiveMarket::fit(std::size_t index, const Job& job,
                                                  std::size_t leg_index) const {
    const Ask& ask = asks_[index];
    const auto& offer = ask.post.ask;
    const BidLeg& leg = job.post.legs[leg_index];
    if (!ask.open || offer.unit_kind != leg.bid.unit_kind ||
        !classes_fit(offer.order_class, leg.bid.order_class))
        return std::nullopt;
    if (!names_fit(ask, job, leg) || !machine_fits(ask, job, leg)) return std::nullopt;
    const auto [from, until] = window_of(leg);
    if (from < offer.earliest_s * 1000 || from >= offer.expiry_s * 1000) return std::nullopt;
    if (job.trains() && !is_free(ask.post.resource.worker, from, until)) return std::nullopt;

    const std::uint64_t free = offer.volume_units - std::min(offer.volume_units, units_out(ask));
    Take take{index, leg_index, leg.bid.volume_units, offer.price_atoms, 0};
    if (job.trains()) take.units = job.post.terms.total_units - job.done;
    if (const std::uint64_t slice = leg.constraints.min_slice_units; slice != 0) {
        const std::uint64_t least = std::min(slice, take.units);
        take.units = std::min({take.units, free, offer.max_units});
        if (take.units < least) return std::nullopt;
    }
    if (take.units < offer.min_units || take.units > offer.max_units || take.units > free)
        return std::nullopt;
    const auto lock = ledger::eth::amount_for(offer.unit_kind, take.units, offer.price_atoms);
    if (offer.price_atoms > offered(leg) || !lock || *lock > leg.bid.max_amount_atoms)
        return std::nullopt;
    take.lock = *lock;
    return take;
}

/// Rule 4.
bool NaiveMarket::better(const Take& a, const Take& b) const {
    const auto rank = [this](const Take& take) {
        return std::tuple(take.price, 10'000 - reliability_bp(asks_[take.ask].post.resource.worker),
                          take.ask);
    };
    return rank(a) < rank(b);
}

std::optional<NaiveMarket::Plan> NaiveMarket::plan(const Job& job) const {
    return job.trains() ? plan_gang(job) : plan_serving(job);
}

/// Rules 4 and 6; one worker is a gang of one.
std::optional<NaiveMarket::Plan> NaiveMarket::plan_gang(const Job& job) const {
    std::map<Address, Take> best_of_worker;
    for (std::size_t i = 0; i < asks_.size(); ++i) {
        const auto take = fit(i, job, 0);
        if (!take) continue;
        const auto [it, is_first] =
            best_of_worker.try_emplace(asks_[i].post.resource.worker, *take);
        if (!is_first && better(*take, it->second)) it->second = *take;
    }
    if (best_of_worker.size() < job.gang()) return std::nullopt;
    Plan out;
    for (const auto& [worker, take] : best_of_worker)
        out.push_back(take);
    std::sort(out.begin(), out.end(),
              [this](const Take& a, const Take& b) { return better(a, b); });
    out.resize(job.gang());
    return out;
}

/// Rule 4: the pair of one worker and provider with the least sum of locks.
std::optional<NaiveMarket::Plan> NaiveMarket::plan_serving(const Job& job) const {
    using Rank = std::tuple<std::uint64_t, std::uint32_t, std::size_t, std::size_t>;
    std::optional<std::pair<Rank, Plan>> best;
    for (std::size_t i = 0; i < asks_.size(); ++i) {
        const auto input = fit(i, job, 0);
        if (!input) continue;
        for (std::size_t o = 0; o < asks_.size(); ++o) {
            const PostAsk& a = asks_[i].post;
            const PostAsk& b = asks_[o].post;
            if (a.resource.worker != b.resource.worker || a.ask.provider != b.ask.provider)
                continue;
            const auto output = fit(o, job, 1);
            if (!output) continue;
            const Rank rank{input->lock + output->lock, 10'000 - reliability_bp(a.resource.worker),
                            std::max(i, o), i};
            if (!best || rank < best->first) best.emplace(rank, Plan{*input, *output});
        }
    }
    if (!best) return std::nullopt;
    return best->second;
}

bool NaiveMarket::has_money(const Job& job, const Plan& plan) const {
    ledger::base::Uint128 sum = 0;
    for (const Take& take : plan)
        sum += take.lock;
    const std::int64_t free = account(job.buyer()).free;
    return free >= 0 && sum <= static_cast<std::uint64_t>(free);
}

NaiveMarket::Lease NaiveMarket::lease_for(std::size_t job_index, const Take& take) const {
    const Job& job = jobs_[job_index];
    const Ask& ask = asks_[take.ask];
    Lease lease;
    lease.ask = take.ask;
    lease.job = job_index;
    lease.exclusive = job.trains();
    lease.is.job = job.post.id;
    lease.is.leg = static_cast<std::uint8_t>(take.leg);
    lease.is.ask_hash = ask.id;
    lease.is.bid_hash = job.bids[take.leg];
    for (const Lease& other : leases_)
        if (other.is.ask_hash == lease.is.ask_hash && other.is.bid_hash == lease.is.bid_hash)
            ++lease.is.index;
    lease.is.id = lease_id(lease.is.ask_hash, lease.is.bid_hash, lease.is.index);
    lease.is.buyer = job.buyer();
    lease.is.provider = ask.post.ask.provider;
    lease.is.worker = ask.post.resource.worker;
    lease.is.unit_kind = ask.post.ask.unit_kind;
    lease.is.price_atoms = take.price;
    lease.is.max_units = take.units;
    lease.is.locked_atoms = take.lock;
    lease.is.receipts_root = ledger::log::CompactTree{}.root();
    lease.is.start_units = job.done;
    lease.is.start_checkpoint = job.checkpoint;
    std::tie(lease.is.starts_ms, lease.is.ends_ms) = window_of(job.post.legs[take.leg]);
    return lease;
}

void NaiveMarket::match(std::size_t index, const Plan& plan) {
    Job& job = jobs_[index];
    job.attempt_from = job.leases.size();
    for (const Take& take : plan) {
        leases_.push_back(lease_for(index, take));
        job.leases.push_back(leases_.size() - 1);
        const md::Lease& made = leases_.back().is;
        accounts_[job.buyer()].free -= static_cast<std::int64_t>(made.locked_atoms);
        accounts_[job.buyer()].held += static_cast<std::int64_t>(made.locked_atoms);
        out_.matched.push_back({made.id, made.job, made.ask_hash, made.bid_hash, made.index,
                                made.price_atoms, made.max_units, made.locked_atoms});
    }
    job.state = JobState::kMatched;
    job.batch_at = 0;
    job.lacks_money = false;
    forget_reclaims_by(job);
}

/// Rule 2: who is not looked at in a round.
bool NaiveMarket::waits(const Job& job) const {
    const auto& bid = job.post.legs[0].bid;
    const bool early =
        bid.order_class != OrderClass::kReserved &&
        std::any_of(job.post.legs.begin(), job.post.legs.end(),
                    [this](const BidLeg& leg) { return now_ < leg.bid.earliest_s * 1000; });
    return early || now_ < job.wait_until;
}

void NaiveMarket::round() {
    const auto rank = [this](std::size_t index) {
        const BidLeg& leg = jobs_[index].post.legs[0];
        const std::uint64_t ramp = leg.constraints.ramp_from_atoms;
        return std::pair(~(ramp != 0 ? ramp : leg.bid.price_ceiling_atoms), index);
    };
    std::vector<std::size_t> order;
    for (std::size_t i = 0; i < jobs_.size(); ++i)
        order.push_back(i);
    std::sort(order.begin(), order.end(),
              [&rank](std::size_t a, std::size_t b) { return rank(a) < rank(b); });
    order.insert(order.begin(), first_in_round_.begin(), first_in_round_.end());
    first_in_round_.clear();
    for (const std::size_t index : order) {
        const Job& job = jobs_[index];
        if (job.state == JobState::kOpen && job.batch_at == 0 && !waits(job)) try_job(index);
    }
}

void NaiveMarket::try_job(std::size_t index) {
    const auto best = plan(jobs_[index]);
    if (!best) return ask_for_room(index);
    if (has_money(jobs_[index], *best)) return match(index, *best);
    jobs_[index].lacks_money = true;
}

/// Rule 9.
void NaiveMarket::ask_for_room(std::size_t index) {
    const Job& job = jobs_[index];
    const OrderClass wanted = job.post.legs[0].bid.order_class;
    if (!job.trains() || job.gang() != 1 || job.lacks_money ||
        (wanted != OrderClass::kOnDemand && wanted != OrderClass::kStanding))
        return;
    std::vector<std::pair<std::uint64_t, std::size_t>> candidates;  // price, youngest first
    for (std::size_t i = 0; i < leases_.size(); ++i) {
        const Lease& lease = leases_[i];
        if (lease.reclaimed_by == index) return;
        if (holds_room(lease) && lease.exclusive && !lease.reclaimed_by &&
            asks_[lease.ask].post.ask.order_class == OrderClass::kInterruptible)
            candidates.emplace_back(lease.is.price_atoms, ~i);
    }
    std::sort(candidates.begin(), candidates.end());
    for (const auto& [price, number] : candidates) {
        Lease& lease = leases_[~number];
        gone_ = &lease;
        bool makes_room = false;
        for (std::size_t i = 0; i < asks_.size() && !makes_room; ++i)
            makes_room =
                asks_[i].post.resource.worker == lease.is.worker && fit(i, job, 0).has_value();
        gone_ = nullptr;
        if (!makes_room) continue;
        lease.reclaimed_by = index;
        lease.is.reclaim_at_ms = now_ + TimeMs{asks_[lease.ask].post.ask.reclaim_window_s} * 1000;
        out_.reclaims.push_back({lease.is.id, job.post.id, lease.is.reclaim_at_ms});
        return;
    }
}

/// Its expiry is worked off in this command, maybe after a batch that came before it.
bool NaiveMarket::has_expired(const Job& job) const {
    return std::any_of(job.post.legs.begin(), job.post.legs.end(), [this](const BidLeg& leg) {
        return std::min(leg.bid.expiry_s, leg.bid.deadline_s) * 1000 <= now_;
    });
}

std::vector<NaiveMarket::Due> NaiveMarket::due() const {
    std::vector<Due> out;
    const auto note = [&](TimeMs at, int kind, std::size_t number) {
        if (at <= now_) out.push_back({at, kind, number});
    };
    for (std::size_t i = 0; i < asks_.size(); ++i)
        if (asks_[i].open) note(asks_[i].post.ask.expiry_s * 1000, kAskExpiry, i);
    for (std::size_t i = 0; i < jobs_.size(); ++i) {
        const Job& job = jobs_[i];
        if (is_final(job.state)) continue;
        for (const BidLeg& leg : job.post.legs) {
            note(leg.bid.deadline_s * 1000, kJobExpiry, i);
            if (job.state == JobState::kOpen) note(leg.bid.expiry_s * 1000, kJobExpiry, i);
        }
        if (job.batch_at != 0 && !has_expired(job)) note(job.batch_at, kBatch, 0);
    }
    for (std::size_t i = 0; i < leases_.size(); ++i) {
        const Lease& lease = leases_[i];
        if (lease.is.state == LeaseState::kClosing && !lease.voucher_overdue && lease.voucher_due)
            note(*lease.voucher_due, kVoucherDue, i);
        if (!holds_room(lease)) continue;
        if (lease.is.ends_ms != 0) note(lease.is.ends_ms, kLeaseEnd, i);
        if (lease.reclaimed_by) note(lease.is.reclaim_at_ms, kReclaim, i);
    }
    return out;
}

/// Rule 1.
void NaiveMarket::work_off_timers() {
    for (auto timers = due(); !timers.empty(); timers = due())
        work_off(*std::min_element(timers.begin(), timers.end()));
}

void NaiveMarket::work_off(const Due& timer) {
    switch (timer.kind) {
        case kAskExpiry:
            asks_[timer.number].open = false;
            asks_[timer.number].expired = true;
            return;
        case kJobExpiry:
            return end_job(jobs_[timer.number], JobState::kExpired, CloseReason::kExpired);
        case kLeaseEnd:
            return end_job(jobs_[leases_[timer.number].job], JobState::kExpired,
                           CloseReason::kExpired);
        case kReclaim: {
            Lease& lease = leases_[timer.number];
            first_in_round_.push_back(*lease.reclaimed_by);
            if (lease.is.units == lease.is.max_units) return finish(lease);
            Job& job = jobs_[lease.job];
            end_attempt(job, CloseReason::kOutbid);
            return reopen(job);
        }
        case kVoucherDue:
            leases_[timer.number].voucher_overdue = true;
            return;
        default:
            return clear_batch(timer.at);
    }
}

}  // namespace tests
