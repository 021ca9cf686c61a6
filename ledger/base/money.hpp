// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

namespace ledger::base {

/// A signed count of atoms (10^-6 of the settlement token). No floating point, ever.
class Money {
 public:
    static constexpr int kDecimals = 6;

    constexpr Money() noexcept = default;
    constexpr explicit Money(std::int64_t atoms) noexcept : atoms_(atoms) {}

    [[nodiscard]] constexpr std::int64_t atoms() const noexcept { return atoms_; }

    /// Fails with out_of_range on overflow.
    [[nodiscard]] Result<Money> plus(Money other) const;
    [[nodiscard]] Result<Money> minus(Money other) const;

    /// Decimal count of atoms, as on the wire: "1500000".
    [[nodiscard]] static Result<Money> parse_atoms(std::string_view text);
    /// A person's amount in tokens: "1.5" is 1,500,000 atoms; at most 6 decimals, no sign.
    [[nodiscard]] static Result<Money> parse_tokens(std::string_view text);

    /// "1500000", the wire form.
    [[nodiscard]] std::string to_atoms() const;
    /// "1.5", for people: no trailing zeros.
    [[nodiscard]] std::string to_tokens() const;

    friend constexpr auto operator<=>(Money, Money) = default;

 private:
    std::int64_t atoms_ = 0;
};

/// Parses a decimal unsigned integer without sign, spaces or leading zeros ("0" is fine).
[[nodiscard]] Result<std::uint64_t> parse_u64(std::string_view text);

}  // namespace ledger::base
