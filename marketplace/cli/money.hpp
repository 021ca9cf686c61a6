// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "marketplace/cli/context.hpp"

#include <cstdint>
#include <optional>

namespace marketplace::cli {

/// An account's money: in the wallet, in escrow, and as the market's books have it.
struct Funds {
    ledger::eth::U256 coin;                        ///< of the chain, for gas; its smallest unit
    ledger::eth::U256 wallet_units;                ///< settlement tokens outside escrow, atoms
    std::uint64_t free_atoms = 0;                  ///< in escrow, not locked
    std::optional<std::uint64_t> available_atoms;  ///< empty: the market does not know the account
};
[[nodiscard]] Result<Funds> read_funds(Context& context, const Address& account);

enum class DepositWait : std::uint8_t { kUntilMined, kUntilSeen };
/// Puts tokens of the wallet into escrow (permit and deposit in one transaction) and waits until
/// that is mined, or until the market's books have it. Gives the transaction. insufficient_funds
/// when the wallet holds less.
[[nodiscard]] Result<Hash32> deposit_tokens(Context& context, std::uint64_t atoms,
                                            DepositWait wait);

}  // namespace marketplace::cli
