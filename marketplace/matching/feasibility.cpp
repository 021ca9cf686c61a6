// SPDX-License-Identifier: Apache-2.0
#include "marketplace/matching/feasibility.hpp"

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
    return offer.ask.earliest_s <= want.now_s && want.now_s < offer.ask.expiry_s &&
           want.bid.earliest_s <= want.now_s && want.now_s < want.bid.expiry_s &&
           want.now_s < want.bid.deadline_s;
}

bool is_excluded(const Offer& offer, const Want& want) {
    return offer.ask.provider == want.bid.buyer ||
           contains(want.constraints.exclude_providers, offer.ask.provider) ||
           contains(want.excluded_workers, offer.resource.worker) ||
           contains(want.excluded_asks, offer.id);
}

bool price_fits(const Offer& offer, const Want& want) {
    if (offer.ask.price_atoms > want.bid.price_ceiling_atoms) return false;
    const auto amount =
        ledger::eth::amount_for(want.bid.unit_kind, want.units, offer.ask.price_atoms);
    return amount && *amount <= want.bid.max_amount_atoms;
}

}  // namespace

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
    if (!allows(constraints.gpu_models, resource.gpu_model)) return Mismatch::kGpuModel;
    if (resource.gpu_count < constraints.min_gpu_count) return Mismatch::kGpuCount;
    if (resource.vram_mib < constraints.min_vram_mib) return Mismatch::kVram;
    if (!allows(constraints.regions, resource.region)) return Mismatch::kRegion;
    if (!allows(constraints.runtimes, resource.runtime)) return Mismatch::kRuntime;
    if (want.terms.kind == domain::JobKind::kTrain &&
        want.terms.flops_per_step > resource.max_flops_per_step)
        return Mismatch::kStepTooLarge;
    if (!in_window(offer, want)) return Mismatch::kWindow;
    if (want.units < offer.ask.min_units || want.units > offer.ask.max_units)
        return Mismatch::kQuantity;
    if (want.units > offer.free_units) return Mismatch::kCapacity;
    if (offer.worker_busy && want.terms.kind == domain::JobKind::kTrain) return Mismatch::kCapacity;
    if (!price_fits(offer, want)) return Mismatch::kPrice;
    return std::nullopt;
}

void count_mismatch(domain::Mismatches& reasons, Mismatch mismatch, std::uint64_t price_atoms) {
    ++reasons.asks;
    ++reasons.failed[static_cast<std::size_t>(mismatch)];
    if (mismatch != Mismatch::kPrice) return;
    if (reasons.cheapest_feasible_atoms == 0 || price_atoms < reasons.cheapest_feasible_atoms)
        reasons.cheapest_feasible_atoms = price_atoms;
}

}  // namespace marketplace::matching
