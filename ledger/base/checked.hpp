// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <cstdint>
#include <limits>
#include <optional>

namespace ledger::base {

__extension__ using Uint128 = unsigned __int128;

template <std::integral T>
[[nodiscard]] constexpr std::optional<T> checked_add(T a, T b) noexcept {
    T out{};
    if (__builtin_add_overflow(a, b, &out)) return std::nullopt;
    return out;
}
template <std::integral T>
[[nodiscard]] constexpr std::optional<T> checked_sub(T a, T b) noexcept {
    T out{};
    if (__builtin_sub_overflow(a, b, &out)) return std::nullopt;
    return out;
}
template <std::integral T>
[[nodiscard]] constexpr std::optional<T> checked_mul(T a, T b) noexcept {
    T out{};
    if (__builtin_mul_overflow(a, b, &out)) return std::nullopt;
    return out;
}

/// floor(a · b / c): what a payee gets. Empty when c is 0 or the result passes 64 bits.
[[nodiscard]] constexpr std::optional<std::uint64_t> mul_div_down(std::uint64_t a, std::uint64_t b,
                                                                  std::uint64_t c) noexcept {
    if (c == 0) return std::nullopt;
    const Uint128 q = Uint128{a} * b / c;
    if (q > std::numeric_limits<std::uint64_t>::max()) return std::nullopt;
    return static_cast<std::uint64_t>(q);
}

/// ceil(a · b / c): what a payer owes. Empty when c is 0 or the result passes 64 bits.
[[nodiscard]] constexpr std::optional<std::uint64_t> mul_div_up(std::uint64_t a, std::uint64_t b,
                                                                std::uint64_t c) noexcept {
    if (c == 0) return std::nullopt;
    const Uint128 q = (Uint128{a} * b + (c - 1)) / c;
    if (q > std::numeric_limits<std::uint64_t>::max()) return std::nullopt;
    return static_cast<std::uint64_t>(q);
}

}  // namespace ledger::base
