// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "marketplace/matching/feasibility.hpp"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <string_view>

/// What an ask offers, or a bid needs, in sixteen bytes: a cheap test that every fitting pair
/// passes. Both books look at these first. Pure.
namespace marketplace::matching {

/// Thirteen quantities of seven bits, each in its own byte under a guard bit, so that one
/// subtraction compares eight of them; and flags in the low 24 bits of `b`. Of an offer: what it
/// has, and the flags of what it is. Of a need: the least it takes, and the flags it refuses.
struct Signature {
    std::uint64_t a = 0;
    std::uint64_t b = 0;
    friend bool operator==(const Signature&, const Signature&) = default;
};

inline constexpr std::uint64_t kGuardsA = 0x8080'8080'8080'8080ULL;
inline constexpr std::uint64_t kGuardsB = 0x8080'8080'8000'0000ULL;
inline constexpr std::uint64_t kFlagsB = 0x0000'0000'00ff'ffffULL;
/// Flag: the worker is away. Every need refuses it.
inline constexpr std::uint64_t kAwayFlag = 1ULL << 23U;

/// May the offer do for the need? Never false for a pair that fits. Without a branch.
[[nodiscard]] constexpr bool may_meet(const Signature& offer, const Signature& need) noexcept {
    const std::uint64_t lacks_a = (((offer.a | kGuardsA) - need.a) & kGuardsA) ^ kGuardsA;
    const std::uint64_t lacks_b =
        (((offer.b | kGuardsB) - (need.b & ~kFlagsB)) & kGuardsB) ^ kGuardsB;
    return (lacks_a | lacks_b | (offer.b & need.b & kFlagsB)) == 0;
}

/// Per field the greater (least) of two, per flag what both have: what the best of two offers (the
/// easier of two needs) may do.
[[nodiscard]] constexpr std::uint64_t greatest(std::uint64_t x, std::uint64_t y,
                                               std::uint64_t guards) noexcept {
    const std::uint64_t wins = ((x | guards) - y) & guards;  // guard bit: x >= y
    const std::uint64_t mask = wins - (wins >> 7U);
    return (x & mask) | (y & ~mask);
}
[[nodiscard]] constexpr Signature best_of(const Signature& x, const Signature& y) noexcept {
    return {
        greatest(x.a, y.a, kGuardsA),
        (greatest(x.b & ~kFlagsB, y.b & ~kFlagsB, kGuardsB) & ~kFlagsB) | (x.b & y.b & kFlagsB)};
}
[[nodiscard]] constexpr Signature easiest_of(const Signature& x, const Signature& y) noexcept {
    constexpr std::uint64_t kFieldsA = ~kGuardsA;
    constexpr std::uint64_t kFieldsB = ~kGuardsB & ~kFlagsB;
    return {
        ~greatest(~x.a & kFieldsA, ~y.a & kFieldsA, kGuardsA) & kFieldsA,
        (~greatest(~x.b & kFieldsB, ~y.b & kFieldsB, kGuardsB) & kFieldsB) | (x.b & y.b & kFlagsB)};
}
/// Neutral for `best_of`: meets no need. Neutral for `easiest_of`: met by no offer.
inline constexpr Signature kNoOffer{0, kFlagsB};
inline constexpr Signature kNoNeed{~kGuardsA, ~kGuardsB};

/// Is the worker there, and one unit left to lease?
[[nodiscard]] constexpr bool can_be_had(const Signature& offer) noexcept {
    return (offer.b & kAwayFlag) == 0 && (offer.a & 0x7fU) != 0;
}

/// A quantity in seven bits: never falls as the quantity rises; two steps per power of two.
[[nodiscard]] constexpr std::uint64_t code_of(std::uint64_t value) noexcept {
    if (value < 2) return value;
    const auto exponent = static_cast<std::uint32_t>(std::bit_width(value)) - 1U;
    const std::uint64_t half = value >> (exponent - 1U) & 1U;
    return std::min<std::uint64_t>(127, 2ULL * exponent + half);
}

/// The state of an ask that changes while it rests.
struct AskState {
    std::uint64_t free_units = 0;  ///< volume less what is sold
    std::uint32_t reliability_bp = 10'000;
    bool available = false;  ///< its worker is connected, for this provider
};

/// The most one lease of the ask can have now; 0 when that is less than its minimum.
[[nodiscard]] constexpr std::uint64_t lease_limit(std::uint64_t min_units, std::uint64_t max_units,
                                                  std::uint64_t free_units) noexcept {
    const std::uint64_t limit = std::min(max_units, free_units);
    return limit < min_units ? 0 : limit;
}

[[nodiscard]] Signature offer_signature(const ledger::eth::Ask& ask,
                                        const domain::Resource& resource, const AskState& state);
/// The same ask in another state.
[[nodiscard]] Signature with_state(const Signature& offer, std::uint64_t limit_units,
                                   std::uint32_t reliability_bp, bool available) noexcept;
[[nodiscard]] Signature need_signature(const Want& want);

}  // namespace marketplace::matching
