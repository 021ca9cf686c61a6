// SPDX-License-Identifier: Apache-2.0
#include "marketplace/matching/signature.hpp"

#include <string>
#include <vector>

namespace marketplace::matching {
namespace {

using ledger::eth::OrderClass;

// Bytes of `a`, from the low end.
enum FieldA : std::uint32_t {
    kUnits,
    kVram,
    kFlops,
    kGpus,
    kRam,
    kCores,
    kDisk,
    kBandwidth,
};
// Bytes of `b`; below them the flags.
enum FieldB : std::uint32_t {
    kReliability = 3,
    kTier,
    kGang,
    kReclaim,
    kSmallness,  // 127 less the minimum per lease
};
// Flags of `b`: four order classes, four numeric classes it cannot run, its runtime as one of
// eight, its interconnect as one of four.
constexpr std::uint32_t kClassBit = 0;
constexpr std::uint32_t kLacksNumericBit = 4;
constexpr std::uint32_t kRuntimeBit = 8;
constexpr std::uint32_t kRuntimeKinds = 8;
constexpr std::uint32_t kInterconnectBit = 16;
constexpr std::uint32_t kInterconnectKinds = 4;
constexpr std::uint64_t kNumericMask = 0xf;

constexpr std::uint64_t put(std::uint64_t code, std::uint32_t field) noexcept {
    return code << (8U * field);
}
constexpr std::uint64_t small(std::uint64_t value) noexcept {
    return std::min<std::uint64_t>(127, value);
}
constexpr std::uint64_t reliability_code(std::uint32_t bp) noexcept {
    return std::min<std::uint64_t>(bp, 10'000) / 100;
}

/// One of `kinds`, by FNV-1a: the same for the same text wherever it runs.
std::uint32_t kind_of(std::string_view text, std::uint32_t kinds) noexcept {
    std::uint32_t hash = 2'166'136'261U;
    for (const char c : text)
        hash = (hash ^ static_cast<std::uint8_t>(c)) * 16'777'619U;
    return (hash ^ hash >> 16U) % kinds;
}

/// The kinds that no name of the list has; none for an empty list.
std::uint64_t other_kinds(const std::vector<std::string>& names, std::uint32_t kinds) {
    if (names.empty()) return 0;
    std::uint64_t out = (1ULL << kinds) - 1;
    for (const std::string& name : names)
        out &= ~(1ULL << kind_of(name, kinds));
    return out;
}

}  // namespace

Signature with_state(const Signature& offer, std::uint64_t limit_units,
                     std::uint32_t reliability_bp, bool available) noexcept {
    Signature out = offer;
    out.a = (out.a & ~put(0xff, kUnits)) | put(code_of(limit_units), kUnits);
    out.b = (out.b & ~put(0xff, kReliability) & ~kAwayFlag) |
            put(reliability_code(reliability_bp), kReliability) | (available ? 0 : kAwayFlag);
    return out;
}

Signature offer_signature(const ledger::eth::Ask& ask, const domain::Resource& resource,
                          const AskState& state) {
    Signature out;
    out.a = put(code_of(resource.vram_mib), kVram) |
            put(code_of(resource.max_flops_per_step), kFlops) |
            put(code_of(resource.gpu_count), kGpus) | put(code_of(resource.ram_mib), kRam) |
            put(code_of(resource.cpu_cores), kCores) | put(code_of(resource.disk_mib), kDisk) |
            put(code_of(resource.bandwidth_mbps), kBandwidth);
    const bool reclaimed = ask.order_class == OrderClass::kInterruptible;
    const std::uint64_t lacks = ~std::uint64_t{resource.numeric_classes} & kNumericMask;
    out.b = put(small(resource.verification_tier), kTier) | put(code_of(resource.max_gang), kGang) |
            put(reclaimed ? code_of(ask.reclaim_window_s) : 127, kReclaim) |
            put(127 - code_of(ask.min_units), kSmallness) |
            1ULL << (kClassBit + static_cast<std::uint32_t>(ask.order_class)) |
            lacks << kLacksNumericBit |
            1ULL << (kRuntimeBit + kind_of(resource.runtime, kRuntimeKinds)) |
            1ULL << (kInterconnectBit + kind_of(resource.interconnect, kInterconnectKinds));
    return with_state(out, lease_limit(ask.min_units, ask.max_units, state.free_units),
                      state.reliability_bp, state.available);
}

Signature need_signature(const Want& want) {
    const domain::Constraints& wanted = want.constraints;
    const bool trains = want.terms.kind == domain::JobKind::kTrain;
    Signature out;
    out.a = put(code_of(least_units(want)), kUnits) | put(code_of(wanted.min_vram_mib), kVram) |
            put(trains ? code_of(want.terms.flops_per_step) : 0, kFlops) |
            put(code_of(wanted.min_gpu_count), kGpus) | put(code_of(wanted.min_ram_mib), kRam) |
            put(code_of(wanted.min_cpu_cores), kCores) | put(code_of(wanted.min_disk_mib), kDisk) |
            put(code_of(wanted.min_bandwidth_mbps), kBandwidth);
    std::uint64_t refused = kAwayFlag;
    for (std::uint8_t i = 0; i < ledger::eth::kOrderClassCount; ++i)
        if (!classes_meet(static_cast<OrderClass>(i), want.bid.order_class))
            refused |= 1ULL << (kClassBit + i);
    out.b = put(reliability_code(wanted.min_reliability_bp), kReliability) |
            put(small(want.bid.verification_tier), kTier) | put(code_of(wanted.gang), kGang) |
            put(code_of(wanted.min_reclaim_window_s), kReclaim) |
            put(127 - code_of(want.units), kSmallness) | refused |
            std::uint64_t{domain::bit_of(wanted.numeric_class)} << kLacksNumericBit |
            other_kinds(wanted.runtimes, kRuntimeKinds) << kRuntimeBit |
            other_kinds(wanted.interconnects, kInterconnectKinds) << kInterconnectBit;
    return out;
}

}  // namespace marketplace::matching
