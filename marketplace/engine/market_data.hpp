// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "marketplace/engine/journal.hpp"
#include "marketplace/engine/market_book.hpp"
#include "marketplace/engine/trade_history.hpp"

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>

/// What the public sees of the exchange, folded from the journal's records alone: the same records
/// give the same trades, candles, levels and changes to everybody.
namespace marketplace::engine {

/// An order that can be matched from now on; a job that waits again comes again.
struct OrderAccepted {
    Side side = Side::kAsk;
    domain::Hash32 ask;  ///< of an ask
    BidRef bid;          ///< of a bid
    UnitKind unit_kind = UnitKind::kTrainingStep;
    std::vector<std::string> gpu_models;  ///< of the ask; that the bid accepts, empty: any
    std::string region;                   ///< of the ask
    ledger::eth::OrderClass order_class = ledger::eth::OrderClass::kOnDemand;
    std::uint64_t price_atoms = 0;  ///< of the ask; the bid's ceiling
    std::uint64_t units = 0;        ///< the ask's volume; what the bid wants
    friend bool operator==(const OrderAccepted&, const OrderAccepted&) = default;
};
/// An order left the book. A bid's reason is the job's state ("matched", "cancelled", …).
struct OrderClosed {
    Side side = Side::kAsk;
    domain::Hash32 ask;
    BidRef bid;
    std::string reason;
    friend bool operator==(const OrderClosed&, const OrderClosed&) = default;
};

/// One change of the public picture.
using Change =
    std::variant<OrderAccepted, OrderClosed, Trade, ClosedCandle, domain::BatchCleared, PriceLevel>;
struct NumberedChange {
    std::uint64_t sequence = 0;  ///< of the record
    TimeMs time_ms = 0;
    Change change;
    friend bool operator==(const NumberedChange&, const NumberedChange&) = default;
};

/// What one unit of a good is worth today.
struct IndexPrice {
    Good good;
    std::optional<std::uint64_t> price_atoms;  ///< empty: neither traded nor offered
    enum class Source : std::uint8_t { kNone, kTrades, kBestAsk } source = Source::kNone;
};

/// The fold. Bounded: trades, candles and changes are rings; the book has what is open. Pure; not
/// thread-safe.
class MarketData {
 public:
    static constexpr std::size_t kChangesKept = 32'768;

    /// Records in order, each once.
    void add(const Record& record);

    /// Sequence of the last record; empty before the first.
    [[nodiscard]] std::optional<std::uint64_t> sequence() const noexcept { return sequence_; }
    [[nodiscard]] const TradeHistory& history() const noexcept { return history_; }
    [[nodiscard]] const MarketBook& book() const noexcept { return book_; }
    /// Volume-weighted price of the last 24 hours (TradeHistory::mean_price), else the best ask's.
    [[nodiscard]] std::vector<IndexPrice> index(TimeMs now_ms) const;

    /// Changes after record `after` (empty: all there are), oldest first: whole records, about
    /// `limit` changes. Empty when some of them are no longer kept.
    [[nodiscard]] std::optional<std::vector<NumberedChange>> changes(
        std::optional<std::uint64_t> after, std::size_t limit) const;

    /// Everything kept, so that the fold goes on as if it had seen the records.
    void save(SnapshotWriter& out) const;
    /// invalid_encoding when the bytes are no fold.
    [[nodiscard]] static ledger::base::Result<MarketData> load(ledger::base::ByteView bytes);

 private:
    struct JobRow {
        std::vector<MarketBook::Bid> legs;
        std::vector<ledger::eth::OrderClass> classes;
        std::vector<std::uint64_t> volumes;
        std::uint64_t total_units = 0;  ///< 0: serving, the volumes count
        std::uint64_t gang = 1;
        bool listed = false;
    };

    // Orders that the record's command brings, in case they are accepted.
    void expect(const domain::PostAsk& command);
    void expect(const domain::PostJob& command);
    void on(const domain::AskAccepted& event);
    void on(const domain::AskClosed& event);
    void on(const domain::JobChanged& event);
    void on(const domain::Matched& event);
    void on(const domain::LeaseChanged& event);
    void on(const domain::WorkerChanged& event);
    void on(const domain::BatchCleared& event);
    template <typename Other>
    void on(const Other& /*event*/) {}
    void list(const domain::JobId& id, JobRow& job, std::uint64_t units_done);
    [[nodiscard]] bool load_from(domain::Reader& in);
    void tell(Change change);

    TradeHistory history_;
    MarketBook book_;
    std::unordered_map<domain::JobId, JobRow> jobs_;  ///< not final, not sealed
    std::deque<NumberedChange> changes_;
    std::optional<std::uint64_t> dropped_;  ///< the newest record with a change that is gone
    std::optional<std::uint64_t> sequence_;

    // While a record is added:
    const domain::PostAsk* new_ask_ = nullptr;
    TimeMs now_ms_ = 0;
    std::uint32_t trades_ = 0;
};

}  // namespace marketplace::engine
