// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "marketplace/matching/order_book.hpp"

/// What the two source files of the book of asks share.
namespace marketplace::matching {

inline constexpr std::uint32_t kBestReliability = 10'000;

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

inline AskIndex index_of(const AskRows::Hot& row) noexcept {
    return static_cast<AskIndex>(row.key.second);
}
inline std::uint32_t reliability_of(const AskRows::Hot& row) noexcept {
    return kBestReliability - static_cast<std::uint32_t>(row.key.second >> 32U);
}

}  // namespace marketplace::matching
