// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "marketplace/matching/order_book.hpp"

/// What the two source files of the book of asks share.
namespace marketplace::matching {

inline constexpr std::uint32_t kBestReliability = 10'000;

/// Buckets keep apart what few bids can have: asks that are interruptible or reserved, and those
/// for some buyers only. On-demand and standing asks meet the same bids.
enum Group : std::uint8_t { kPlain, kInterruptible, kReserved, kForSome };
inline constexpr std::uint8_t kGroups = 2 * kForSome;  // the last three: as the first, for some
inline bool is_reserved(std::uint8_t group) noexcept {
    return group % kForSome == kReserved;
}
inline std::uint8_t group_of(ledger::eth::OrderClass order_class, bool is_for_some) noexcept {
    std::uint8_t out = kPlain;
    if (order_class == ledger::eth::OrderClass::kInterruptible) out = kInterruptible;
    if (order_class == ledger::eth::OrderClass::kReserved) out = kReserved;
    return is_for_some ? out + kForSome : out;
}

/// Is the kind metered while several share their worker? Of the others a busy worker takes none.
inline bool is_shared(std::uint8_t unit_kind) noexcept {
    return unit_kind == static_cast<std::uint8_t>(ledger::eth::UnitKind::kInputToken) ||
           unit_kind == static_cast<std::uint8_t>(ledger::eth::UnitKind::kOutputToken);
}

template <typename T>
bool contains(const std::vector<T>& list, T value) noexcept {
    for (const T& item : list)
        if (item == value) return true;
    return false;
}
template <typename T>
bool allows(const std::vector<T>& list, T value) noexcept {
    return list.empty() || contains(list, value);
}

inline AskIndex index_of(const AskRow& row) noexcept {
    return static_cast<AskIndex>(row.key.second);
}
inline std::uint32_t reliability_of(const AskRow& row) noexcept {
    return kBestReliability - static_cast<std::uint32_t>(row.key.second >> 32U);
}

}  // namespace marketplace::matching
