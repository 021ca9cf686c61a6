// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/clock.hpp"
#include "ledger/eth/u256.hpp"

#include <algorithm>
#include <cstdint>
#include <limits>

namespace ledger::settlement {

/// When the vouchers of a lease that goes on are worth a claim. (At its close they always are.)
struct ClaimPolicy {
    std::uint64_t least_atoms = 0;  ///< unclaimed value from which a claim is made
    base::TimeMs age_max_ms = 0;    ///< less is claimed, too, when it has waited this long

    [[nodiscard]] bool is_due(std::uint64_t unclaimed_atoms, base::TimeMs waited_ms) const {
        return unclaimed_atoms != 0 && (unclaimed_atoms >= least_atoms || waited_ms >= age_max_ms);
    }
};

/// Gas of one claim in a batch, rounded up; see contracts/test/gas/snapshot.json.
inline constexpr std::uint64_t kClaimGas = 30'000;
/// A claim may cost a hundredth of what it brings.
inline constexpr std::uint64_t kClaimWorth = 100;

/// 100 × the gas of a claim, in atoms of the settlement token. `atoms_per_coin` is the price of the
/// chain's coin (10^18 wei). At least 1; saturates.
[[nodiscard]] inline std::uint64_t worthwhile_atoms(const eth::U256& wei_per_gas,
                                                    std::uint64_t atoms_per_coin) {
    constexpr std::uint64_t kWeiPerCoin = 1'000'000'000'000'000'000;
    // 2^100 wei for a unit of gas is beyond every chain, and keeps the product below 2^256.
    const eth::U256 price = std::min(wei_per_gas, eth::U256(1) << 100);
    const auto atoms =
        eth::to_u64(price * (kClaimGas * kClaimWorth) * atoms_per_coin / kWeiPerCoin);
    return atoms ? std::max<std::uint64_t>(1, *atoms) : std::numeric_limits<std::uint64_t>::max();
}

}  // namespace ledger::settlement
