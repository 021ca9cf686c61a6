// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

/// Pictures of market data for a terminal. Pure.
namespace marketplace::cli {

struct CandleBar {
    std::uint64_t open = 0;
    std::uint64_t high = 0;
    std::uint64_t low = 0;
    std::uint64_t close = 0;
};
/// The newest candles that fit, one column each, `rows` lines: "│" from low to high, "┃" where the
/// price rose from open to close, "╏" where it fell; the highest and lowest price at the left.
[[nodiscard]] std::vector<std::string> candle_picture(const std::vector<CandleBar>& candles,
                                                      std::size_t columns, std::size_t rows);

struct DepthBar {
    std::string price;  ///< as shown
    std::uint64_t units = 0;
};
/// One line per level: asks from the dearest down, then bids; bars as long as the units summed
/// from the best price on. At most `rows` levels a side. `asks` and `bids` are best first.
[[nodiscard]] std::vector<std::string> depth_picture(const std::vector<DepthBar>& asks,
                                                     const std::vector<DepthBar>& bids,
                                                     std::size_t columns, std::size_t rows);

}  // namespace marketplace::cli
