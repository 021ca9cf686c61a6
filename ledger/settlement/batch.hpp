// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"

#include <cstddef>
#include <functional>
#include <vector>

namespace ledger::settlement {

/// Positions in the caller's list, ascending.
using Positions = std::vector<std::size_t>;

struct BatchFit {
    Positions sent;       ///< in one transaction; empty: none could go
    Positions set_aside;  ///< cannot go even alone: refused, or above the gas limit
};

/// Submits as many of `count` items as one transaction takes. While the batch is too_large or
/// chain_refused its first half is tried; an item that cannot go alone is set aside and does not
/// hold up the others. Any other error of `submit` ends it: nothing was sent.
[[nodiscard]] base::Result<BatchFit> submit_fitting(
    std::size_t count, const std::function<base::Result<void>(const Positions&)>& submit);

/// The items at these positions.
template <typename Item>
[[nodiscard]] std::vector<Item> pick(const std::vector<Item>& items, const Positions& positions) {
    std::vector<Item> out;
    out.reserve(positions.size());
    for (const std::size_t position : positions)
        out.push_back(items[position]);
    return out;
}

}  // namespace ledger::settlement
