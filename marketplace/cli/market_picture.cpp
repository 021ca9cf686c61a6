// SPDX-License-Identifier: Apache-2.0
#include "marketplace/cli/market_picture.hpp"

#include "ledger/base/checked.hpp"
#include "ledger/base/money.hpp"
#include "marketplace/cli/terminal.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace marketplace::cli {
namespace {

constexpr std::size_t kScaleColumns = 14;

std::string tokens_of(std::uint64_t atoms) {
    return ledger::base::Money(static_cast<std::int64_t>(atoms)).to_tokens();
}

const char* cell(const CandleBar& candle, std::uint64_t bottom, std::uint64_t top) {
    const std::uint64_t body_low = std::min(candle.open, candle.close);
    const std::uint64_t body_high = std::max(candle.open, candle.close);
    if (body_low <= top && body_high >= bottom) return candle.close >= candle.open ? "┃" : "╏";
    return candle.low <= top && candle.high >= bottom ? "│" : " ";
}

/// Sums from the best price on.
std::vector<std::uint64_t> running(const std::vector<DepthBar>& side, std::size_t rows) {
    std::vector<std::uint64_t> out;
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < std::min(side.size(), rows); ++i) {
        sum = ledger::base::checked_add(sum, side[i].units).value_or(UINT64_MAX);
        out.push_back(sum);
    }
    return out;
}

}  // namespace

std::vector<std::string> candle_picture(const std::vector<CandleBar>& candles, std::size_t columns,
                                        std::size_t rows) {
    if (candles.empty() || columns <= kScaleColumns || rows == 0) return {};
    const std::size_t count = std::min(candles.size(), columns - kScaleColumns);
    const auto first = candles.end() - static_cast<std::ptrdiff_t>(count);
    std::uint64_t low = first->low;
    std::uint64_t high = first->high;
    for (auto candle = first; candle != candles.end(); ++candle) {
        low = std::min(low, candle->low);
        high = std::max(high, candle->high);
    }
    // The prices of row r, from the top: a share of [low, high].
    const auto edge = [&](std::size_t row) {
        return high - ledger::base::mul_div_down(high - low, row, rows).value_or(0);
    };
    std::vector<std::string> out;
    for (std::size_t row = 0; row < rows; ++row) {
        const bool labelled = row == 0 || row + 1 == rows;
        std::string line = fmt::format("{:>{}} ", labelled ? tokens_of(row == 0 ? high : low) : "",
                                       kScaleColumns - 1);
        for (auto candle = first; candle != candles.end(); ++candle)
            line += cell(*candle, edge(row + 1), edge(row));
        out.push_back(std::move(line));
    }
    return out;
}

std::vector<std::string> depth_picture(const std::vector<DepthBar>& asks,
                                       const std::vector<DepthBar>& bids, std::size_t columns,
                                       std::size_t rows) {
    const std::vector<std::uint64_t> above = running(asks, rows);
    const std::vector<std::uint64_t> below = running(bids, rows);
    const std::uint64_t most =
        std::max(above.empty() ? 0 : above.back(), below.empty() ? 0 : below.back());
    if (most == 0 || columns < 40) return {};
    const auto line = [&](const char* name, const DepthBar& level, std::uint64_t sum) {
        const auto permille = ledger::base::mul_div_down(sum, 1000, most).value_or(1000);
        return fmt::format("{} {:>12} {} {}", name, level.price, bar(permille, columns - 38), sum);
    };
    std::vector<std::string> out;
    for (std::size_t i = above.size(); i-- > 0;)
        out.push_back(line("ask", asks[i], above[i]));
    for (std::size_t i = 0; i < below.size(); ++i)
        out.push_back(line("bid", bids[i], below[i]));
    return out;
}

}  // namespace marketplace::cli
