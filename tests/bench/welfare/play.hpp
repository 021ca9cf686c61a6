// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tests/bench/welfare/market.hpp"

#include <cstdint>
#include <string_view>
#include <vector>

/// Plays a market's day through the engine: asks and jobs are posted, leases opened, worked, paid
/// and closed, so that machines come back.
namespace welfare {

/// How bids are cleared. Gangs are always cleared by limit crossing in `kBatch`: they cannot be
/// batched.
enum class Mode : std::uint8_t { kLimit = 0, kRamp = 1, kBatch = 2 };
inline constexpr std::array<Mode, 3> kModes = {Mode::kLimit, Mode::kRamp, Mode::kBatch};
[[nodiscard]] std::string_view to_string(Mode mode) noexcept;

struct Trade {
    std::uint32_t demand = 0;
    std::uint32_t machine = 0;
    std::uint64_t start_s = 0;  ///< after midnight UTC
    std::uint64_t price_atoms = 0;
};
/// Every match, one entry per lease; checks that each was paid in full and that the engine's
/// invariants hold at the end.
[[nodiscard]] std::vector<Trade> play(const Market& market, Mode mode);

}  // namespace welfare
