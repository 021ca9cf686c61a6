// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/bytes.hpp"
#include "ledger/base/money.hpp"

#include <compare>
#include <cstdint>
#include <string_view>

namespace ledger::books {

/// What money in an account is for. Every kind but kChain has the floor 0.
enum class AccountKind : std::uint8_t {
    kAvailable = 0,  ///< free in escrow
    kHeld = 1,       ///< reserved by holds
    kCredit = 2,     ///< earned, not yet swept out
    kFees = 3,       ///< the treasury's
    kChain = 4,      ///< the other side of what came in and went out; at most 0
};
inline constexpr std::uint8_t kAccountKindCount = 5;
[[nodiscard]] std::string_view to_string(AccountKind kind) noexcept;

/// One account: whose and what for. Fees and chain have the zero owner.
struct AccountId {
    base::Address owner;
    AccountKind kind = AccountKind::kAvailable;
    friend auto operator<=>(const AccountId&, const AccountId&) = default;
};

/// One side of an entry: above zero is a credit, below a debit.
struct Posting {
    AccountId account;
    base::Money amount;
    friend bool operator==(const Posting&, const Posting&) = default;
};

}  // namespace ledger::books
