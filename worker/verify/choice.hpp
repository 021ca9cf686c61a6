// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/bytes.hpp"

#include <cstdint>
#include <vector>

namespace worker::verify {

/// `k` distinct segments of `count`, in ascending order, that follow from `seed` alone. The seed
/// must be unknown until the segments are committed: SHA-256 of the transcript root and a beacon.
[[nodiscard]] std::vector<std::uint64_t> choose_segments(const ledger::base::Hash32& seed,
                                                         std::uint64_t count, std::uint64_t k);

}  // namespace worker::verify
