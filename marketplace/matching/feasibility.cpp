// SPDX-License-Identifier: Apache-2.0
#include "marketplace/matching/feasibility.hpp"

#include "ledger/base/checked.hpp"

#include <algorithm>

namespace marketplace::matching {
namespace {

template <typename List, typename T>
bool contains(const List& list, const T& value) {
    return std::find(list.begin(), list.end(), value) != list.end();
}

/// Empty list: any.
template <typename List, typename T>
bool allows(const List& list, const T& value) {
    return list.empty() || contains(list, value);
}

bool in_window(const Offer& offer, const Want& want) {
    const std::uint64_t from_s = work_window(want).from / 1000;
    return offer.ask.earliest_s <= from_s && from_s < offer.ask.expiry_s &&
           want.bid.earliest_s <= from_s && from_s < want.bid.expiry_s &&
           from_s < want.bid.deadline_s;
}

bool is_excluded(const Offer& offer, const Want& want) {
    return offer.ask.provider == want.bid.buyer || offer.resource.worker == want.bid.buyer ||
           contains(want.constraints.exclude_providers, offer.ask.provider) ||
           contains(want.excluded_workers, offer.resource.worker) ||
           contains(want.excluded_asks, offer.id);
}

bool refuses(const domain::Resource& resource, const domain::Address& buyer) {
    return !allows(resource.buyers, buyer) || contains(resource.exclude_buyers, buyer);
}

bool runs_class(const domain::Resource& resource, domain::NumericClass wanted) {
    const std::uint8_t bit = domain::bit_of(wanted);
    return (resource.numeric_classes & bit) == bit;
}

bool agreed_to_reclaim(const Offer& offer, const Want& want) {
    return offer.ask.order_class != ledger::eth::OrderClass::kInterruptible ||
           offer.ask.reclaim_window_s >= want.constraints.min_reclaim_window_s;
}

bool price_fits(const Offer& offer, const Want& want) {
    if (offer.ask.price_atoms > want.price_atoms) return false;
    const auto amount = ledger::eth::amount_for(want.bid.unit_kind, units_taken(offer, want),
                                                offer.ask.price_atoms);
    return amount && *amount <= want.bid.max_amount_atoms;
}

/// The machine itself: what it is made of and where it stands.
std::optional<Mismatch> machine_mismatch(const domain::Resource& resource,
                                         const domain::Constraints& wanted) {
    if (!allows(wanted.gpu_models, resource.gpu_model)) return Mismatch::kGpuModel;
    if (resource.gpu_count < wanted.min_gpu_count) return Mismatch::kGpuCount;
    if (resource.vram_mib < wanted.min_vram_mib) return Mismatch::kVram;
    if (!allows(wanted.interconnects, resource.interconnect)) return Mismatch::kInterconnect;
    if (resource.ram_mib < wanted.min_ram_mib) return Mismatch::kRam;
    if (resource.cpu_cores < wanted.min_cpu_cores) return Mismatch::kCpuCores;
    if (resource.disk_mib < wanted.min_disk_mib) return Mismatch::kDisk;
    if (resource.bandwidth_mbps < wanted.min_bandwidth_mbps) return Mismatch::kBandwidth;
    if (resource.gflop_per_s < wanted.min_gflop_per_s) return Mismatch::kCompute;
    if (resource.memory_mb_per_s < wanted.min_memory_mb_per_s) return Mismatch::kMemoryBandwidth;
    if (!allows(wanted.regions, resource.region)) return Mismatch::kRegion;
    if (!allows(wanted.runtimes, resource.runtime)) return Mismatch::kRuntime;
    if (!runs_class(resource, wanted.numeric_class)) return Mismatch::kNumericClass;
    return std::nullopt;
}

std::optional<Mismatch> room_mismatch(const Offer& offer, const Want& want) {
    const std::uint64_t most = std::min(want.units, offer.ask.max_units);
    const std::uint64_t least = std::max(least_units(want), offer.ask.min_units);
    if (most < least) return Mismatch::kQuantity;
    if (offer.free_units < least) return Mismatch::kCapacity;
    if (!is_exclusive(want.terms) || offer.calendar == nullptr) return std::nullopt;
    const Window window = work_window(want);
    if (!offer.calendar->is_free(window.from, window.until)) return Mismatch::kCapacity;
    return std::nullopt;
}

/// What the ask has of what it lacks; 0 where the test is no quantity.
std::uint64_t value_at(const Offer& offer, Mismatch mismatch) {
    switch (mismatch) {
        case Mismatch::kGpuCount:
            return offer.resource.gpu_count;
        case Mismatch::kVram:
            return offer.resource.vram_mib;
        case Mismatch::kRam:
            return offer.resource.ram_mib;
        case Mismatch::kCpuCores:
            return offer.resource.cpu_cores;
        case Mismatch::kDisk:
            return offer.resource.disk_mib;
        case Mismatch::kBandwidth:
            return offer.resource.bandwidth_mbps;
        case Mismatch::kCompute:
            return offer.resource.gflop_per_s;
        case Mismatch::kMemoryBandwidth:
            return offer.resource.memory_mb_per_s;
        case Mismatch::kVerificationTier:
            return offer.resource.verification_tier;
        case Mismatch::kStepTooLarge:
            return offer.resource.max_flops_per_step;
        case Mismatch::kGang:
            return offer.resource.max_gang;
        case Mismatch::kReliability:
            return offer.reliability_bp;
        case Mismatch::kReclaimWindow:
            return offer.ask.reclaim_window_s;
        case Mismatch::kWindow:
            return offer.ask.earliest_s;
        case Mismatch::kQuantity:
            return offer.ask.max_units;
        case Mismatch::kCapacity:
            return offer.free_units;
        case Mismatch::kPrice:
            return offer.ask.price_atoms;
        default:
            return 0;
    }
}

}  // namespace

std::uint64_t offered_price(const ledger::eth::Bid& bid, const domain::Constraints& constraints,
                            TimeMs now_ms) {
    const std::uint64_t ceiling = bid.price_ceiling_atoms;
    if (constraints.ramp_from_atoms == 0 || constraints.ramp_from_atoms >= ceiling) return ceiling;
    const TimeMs start = constraints.ramp_start_s * 1000;
    const TimeMs end = constraints.ramp_end_s * 1000;
    if (now_ms >= end) return ceiling;
    if (now_ms <= start) return constraints.ramp_from_atoms;
    const std::uint64_t rise = ceiling - constraints.ramp_from_atoms;
    return constraints.ramp_from_atoms +
           ledger::base::mul_div_down(rise, now_ms - start, end - start).value_or(rise);
}

TimeMs offers_from(const ledger::eth::Bid& bid, const domain::Constraints& constraints,
                   std::uint64_t price_atoms) {
    const std::uint64_t ceiling = bid.price_ceiling_atoms;
    if (constraints.ramp_from_atoms == 0 || price_atoms <= constraints.ramp_from_atoms) return 0;
    const TimeMs start = constraints.ramp_start_s * 1000;
    const TimeMs end = constraints.ramp_end_s * 1000;
    const std::uint64_t rise = ceiling - constraints.ramp_from_atoms;
    const std::uint64_t step = price_atoms - constraints.ramp_from_atoms;
    return start + ledger::base::mul_div_up(step, end - start, rise).value_or(end - start);
}

Window work_window(const Want& want) {
    const bool reserved = want.bid.order_class == ledger::eth::OrderClass::kReserved;
    const TimeMs from = reserved ? std::max(want.now_ms, want.bid.earliest_s * 1000) : want.now_ms;
    TimeMs until = want.bid.deadline_s * 1000;
    if (want.constraints.max_duration_s != 0)
        until = std::min(until, from + want.constraints.max_duration_s * 1000);
    return {from, until};
}

std::uint64_t least_units(const Want& want) noexcept {
    if (want.constraints.min_slice_units == 0) return want.units;
    return std::min(want.constraints.min_slice_units, want.units);
}

std::uint64_t units_taken(const Offer& offer, const Want& want) noexcept {
    return std::min({want.units, offer.ask.max_units, offer.free_units});
}

bool classes_meet(ledger::eth::OrderClass ask, ledger::eth::OrderClass bid) noexcept {
    using ledger::eth::OrderClass;
    if (ask == OrderClass::kReserved || bid == OrderClass::kReserved) return ask == bid;
    if (ask == OrderClass::kInterruptible) return bid == OrderClass::kInterruptible;
    return true;
}

std::optional<Mismatch> first_mismatch(const Offer& offer, const Want& want) {
    const auto& resource = offer.resource;
    const auto& constraints = want.constraints;
    if (offer.ask.unit_kind != want.bid.unit_kind) return Mismatch::kUnitKind;
    if (!classes_meet(offer.ask.order_class, want.bid.order_class)) return Mismatch::kOrderClass;
    if (!offer.worker_present) return Mismatch::kWorkerAway;
    if (is_excluded(offer, want)) return Mismatch::kExcluded;
    if (!allows(constraints.providers, offer.ask.provider)) return Mismatch::kNotAllowed;
    if (refuses(resource, want.bid.buyer)) return Mismatch::kBuyerRefused;
    if (const auto mismatch = machine_mismatch(resource, constraints)) return mismatch;
    if (resource.verification_tier < want.bid.verification_tier) return Mismatch::kVerificationTier;
    if (want.terms.kind == domain::JobKind::kTrain &&
        want.terms.flops_per_step > resource.max_flops_per_step)
        return Mismatch::kStepTooLarge;
    if (resource.max_gang < constraints.gang) return Mismatch::kGang;
    if (offer.reliability_bp < constraints.min_reliability_bp) return Mismatch::kReliability;
    if (!agreed_to_reclaim(offer, want)) return Mismatch::kReclaimWindow;
    if (!in_window(offer, want)) return Mismatch::kWindow;
    if (const auto mismatch = room_mismatch(offer, want)) return mismatch;
    if (!price_fits(offer, want)) return Mismatch::kPrice;
    return std::nullopt;
}

void count_mismatch(domain::Mismatches& reasons, Mismatch mismatch, const Offer& offer) {
    ++reasons.asks;
    ++reasons.failed[static_cast<std::size_t>(mismatch)];
    const std::uint64_t value = value_at(offer, mismatch);
    std::uint64_t& nearest = reasons.nearest_of(mismatch);
    const bool least_is_best = mismatch == Mismatch::kPrice || mismatch == Mismatch::kWindow;
    const bool nearer = least_is_best ? value < nearest : value > nearest;
    if (value != 0 && (nearest == 0 || nearer)) nearest = value;
}

}  // namespace marketplace::matching
