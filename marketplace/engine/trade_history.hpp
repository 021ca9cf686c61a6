// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/checked.hpp"
#include "ledger/eth/messages.hpp"
#include "marketplace/domain/event.hpp"

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

namespace marketplace::domain {
class Reader;
}

namespace marketplace::engine {

class SnapshotWriter;

using domain::TimeMs;
using ledger::base::Uint128;
using ledger::eth::UnitKind;

/// What is traded: units of one kind on one GPU model.
struct Good {
    UnitKind unit_kind = UnitKind::kTrainingStep;
    std::string gpu_model;
    friend auto operator<=>(const Good&, const Good&) = default;
};

/// A match. Its name is (sequence, index): the record of the journal, and which match of it.
struct Trade {
    std::uint64_t sequence = 0;
    std::uint32_t index = 0;
    TimeMs time_ms = 0;
    domain::Hash32 lease;
    Good good;
    std::string region;
    ledger::eth::OrderClass order_class = ledger::eth::OrderClass::kOnDemand;  ///< the ask's
    std::uint64_t price_atoms = 0;
    std::uint64_t units = 0;  ///< most that the lease may use
    friend bool operator==(const Trade&, const Trade&) = default;
};

enum class Interval : std::uint8_t { kMinute = 0, kFiveMinutes, kHour, kDay };
inline constexpr std::size_t kIntervalCount = 4;
[[nodiscard]] std::string_view to_string(Interval interval) noexcept;  ///< "1m", "5m", "1h", "1d"
[[nodiscard]] std::optional<Interval> parse_interval(std::string_view text) noexcept;
[[nodiscard]] TimeMs length_ms(Interval interval) noexcept;

/// Trades of one good in [start, start + interval); UTC. Empty stretches have no candle.
struct Candle {
    TimeMs start_ms = 0;
    std::uint64_t open_atoms = 0;
    std::uint64_t high_atoms = 0;
    std::uint64_t low_atoms = 0;
    std::uint64_t close_atoms = 0;
    Uint128 volume_units = 0;
    Uint128 turnover = 0;  ///< sum of price * units
    std::uint64_t trades = 0;
    friend bool operator==(const Candle&, const Candle&) = default;
};

/// A candle that gets no more trades.
struct ClosedCandle {
    Good good;
    Interval interval = Interval::kMinute;
    Candle candle;
    friend bool operator==(const ClosedCandle&, const ClosedCandle&) = default;
};

/// The last trades and the candles of every good, bounded. Pure; not thread-safe.
class TradeHistory {
 public:
    static constexpr std::size_t kTradesKept = 65'536;
    static constexpr std::size_t kGoodsKept = 1024;  ///< the one not traded for longest goes first
    /// A day of minutes and more, a week, two months, three years.
    static constexpr std::array<std::size_t, kIntervalCount> kCandlesKept = {1500, 2016, 1440,
                                                                             1096};
    static constexpr TimeMs kIndexWindowMs = 24ULL * 60 * 60 * 1000;

    /// Trades come in order of time.
    void add(const Trade& trade);
    /// Candles that ended by `now_ms` and were not given before, in order of their end.
    [[nodiscard]] std::vector<ClosedCandle> close_candles(TimeMs now_ms);

    /// Oldest first.
    [[nodiscard]] const std::deque<Trade>& trades() const noexcept { return trades_; }
    /// Oldest first; empty when the good was never traded.
    [[nodiscard]] const std::deque<Candle>& candles(const Good& good, Interval interval) const;
    /// Volume-weighted price over the minutes that touch the last 24 hours, rounded down:
    /// sum(price * units) / sum(units). Empty when nothing was traded in them.
    [[nodiscard]] std::optional<std::uint64_t> mean_price(const Good& good, TimeMs now_ms) const;
    /// Goods with candles, in order.
    [[nodiscard]] std::vector<Good> goods() const;

    void save(SnapshotWriter& out) const;
    /// Into an empty history; false when it cannot be one.
    [[nodiscard]] bool load(domain::Reader& in);

 private:
    struct Series {
        std::array<std::deque<Candle>, kIntervalCount> candles;
        TimeMs traded_ms = 0;
    };
    Series& series_of(const Good& good);

    std::deque<Trade> trades_;
    std::map<Good, Series> series_;
    std::set<std::tuple<TimeMs, Good, Interval>> open_;  ///< by their end
};

}  // namespace marketplace::engine
