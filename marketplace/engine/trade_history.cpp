// SPDX-License-Identifier: Apache-2.0
#include "marketplace/engine/trade_history.hpp"

#include <algorithm>

namespace marketplace::engine {
namespace {

constexpr std::array<std::string_view, kIntervalCount> kNames = {"1m", "5m", "1h", "1d"};
constexpr std::array<TimeMs, kIntervalCount> kLengthsMs = {60'000, 300'000, 3'600'000, 86'400'000};

constexpr Interval kIntervals[] = {Interval::kMinute, Interval::kFiveMinutes, Interval::kHour,
                                   Interval::kDay};

void count(Candle& candle, const Trade& trade) {
    candle.high_atoms = std::max(candle.high_atoms, trade.price_atoms);
    candle.low_atoms = std::min(candle.low_atoms, trade.price_atoms);
    candle.close_atoms = trade.price_atoms;
    candle.volume_units += trade.units;
    candle.turnover += Uint128{trade.price_atoms} * trade.units;
    ++candle.trades;
}

}  // namespace

std::string_view to_string(Interval interval) noexcept {
    return kNames[static_cast<std::size_t>(interval)];
}

std::optional<Interval> parse_interval(std::string_view text) noexcept {
    for (const Interval interval : kIntervals)
        if (text == to_string(interval)) return interval;
    return std::nullopt;
}

TimeMs length_ms(Interval interval) noexcept {
    return kLengthsMs[static_cast<std::size_t>(interval)];
}

TradeHistory::Series& TradeHistory::series_of(const Good& good) {
    const auto found = series_.find(good);
    if (found != series_.end()) return found->second;
    if (series_.size() >= kGoodsKept) {
        const auto oldest = std::min_element(
            series_.begin(), series_.end(),
            [](const auto& a, const auto& b) { return a.second.traded_ms < b.second.traded_ms; });
        std::erase_if(open_,
                      [&](const auto& entry) { return std::get<Good>(entry) == oldest->first; });
        series_.erase(oldest);
    }
    return series_[good];
}

void TradeHistory::add(const Trade& trade) {
    trades_.push_back(trade);
    if (trades_.size() > kTradesKept) trades_.pop_front();
    Series& series = series_of(trade.good);
    series.traded_ms = trade.time_ms;
    for (const Interval interval : kIntervals) {
        auto& candles = series.candles[static_cast<std::size_t>(interval)];
        const TimeMs start_ms = trade.time_ms - trade.time_ms % length_ms(interval);
        if (candles.empty() || candles.back().start_ms != start_ms) {
            const std::uint64_t price = trade.price_atoms;
            candles.push_back({start_ms, price, price, price, price, 0, 0, 0});
            if (candles.size() > kCandlesKept[static_cast<std::size_t>(interval)])
                candles.pop_front();
            open_.insert({start_ms + length_ms(interval), trade.good, interval});
        }
        count(candles.back(), trade);
    }
}

std::vector<ClosedCandle> TradeHistory::close_candles(TimeMs now_ms) {
    std::vector<ClosedCandle> out;
    while (!open_.empty() && std::get<TimeMs>(*open_.begin()) <= now_ms) {
        const auto& [end_ms, good, interval] = *open_.begin();
        // It is the newest of its series: a newer trade would have closed it before.
        out.push_back({good, interval, candles(good, interval).back()});
        open_.erase(open_.begin());
    }
    return out;
}

const std::deque<Candle>& TradeHistory::candles(const Good& good, Interval interval) const {
    static const std::deque<Candle> kNone;
    const auto found = series_.find(good);
    return found == series_.end() ? kNone
                                  : found->second.candles[static_cast<std::size_t>(interval)];
}

std::optional<std::uint64_t> TradeHistory::mean_price(const Good& good, TimeMs now_ms) const {
    Uint128 turnover = 0;
    Uint128 units = 0;
    const auto& minutes = candles(good, Interval::kMinute);
    for (auto minute = minutes.rbegin(); minute != minutes.rend(); ++minute) {
        if (minute->start_ms + length_ms(Interval::kMinute) + kIndexWindowMs <= now_ms) break;
        turnover += minute->turnover;
        units += minute->volume_units;
    }
    if (units == 0) return std::nullopt;
    return static_cast<std::uint64_t>(turnover / units);
}

std::vector<Good> TradeHistory::goods() const {
    std::vector<Good> out;
    for (const auto& [good, series] : series_)
        out.push_back(good);
    return out;
}

}  // namespace marketplace::engine
