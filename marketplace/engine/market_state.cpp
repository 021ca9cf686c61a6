// SPDX-License-Identifier: Apache-2.0
#include "marketplace/engine/market_data.hpp"
#include "marketplace/engine/snapshot_writer.hpp"

#include <algorithm>
#include <limits>

/// Market data as bytes. Sums, the units sold and who is busy follow from the orders and leases and
/// are made again.
namespace marketplace::domain {

template <>
struct EnumSize<engine::Side> {
    static constexpr std::uint8_t kValue = 2;
};
template <>
struct EnumSize<engine::Interval> {
    static constexpr std::uint8_t kValue = engine::kIntervalCount;
};

}  // namespace marketplace::domain

namespace marketplace::engine {

using domain::Like;
using domain::Reader;

template <typename A>
void fields(A& a, Like<Good> auto& v) {
    a(v.unit_kind, v.gpu_model);
}
template <typename A>
void fields(A& a, Like<Trade> auto& v) {
    a(v.sequence, v.index, v.time_ms, v.lease, v.good, v.region, v.order_class, v.price_atoms,
      v.units);
}
template <typename A>
void fields(A& a, Like<Candle> auto& v) {
    a(v.start_ms, v.open_atoms, v.high_atoms, v.low_atoms, v.close_atoms, v.volume_units,
      v.turnover, v.trades);
}
template <typename A>
void fields(A& a, Like<ClosedCandle> auto& v) {
    a(v.good, v.interval, v.candle);
}
template <typename A>
void fields(A& a, Like<BidRef> auto& v) {
    a(v.job, v.leg);
}
template <typename A>
void fields(A& a, Like<PriceLevel> auto& v) {
    a(v.side, v.unit_kind, v.gpu_models, v.price_atoms, v.units, v.orders);
}
template <typename A>
void fields(A& a, Like<OrderAccepted> auto& v) {
    a(v.side, v.ask, v.bid, v.unit_kind, v.gpu_models, v.region, v.order_class, v.price_atoms,
      v.units);
}
template <typename A>
void fields(A& a, Like<OrderClosed> auto& v) {
    a(v.side, v.ask, v.bid, v.reason);
}
template <typename A>
void fields(A& a, Like<MarketBook::Bid> auto& v) {
    a(v.unit_kind, v.gpu_models, v.ceiling_atoms);
}

namespace {

/// Of a map that is in no order, in the order of its keys: one state, one form.
template <typename Map>
auto sorted_entries(const Map& map) {
    std::vector<const typename Map::value_type*> out;
    out.reserve(map.size());
    for (const auto& entry : map)
        out.push_back(&entry);
    std::sort(out.begin(), out.end(),
              [](const auto* a, const auto* b) { return a->first < b->first; });
    return out;
}

template <std::size_t I = 0>
void read_change(Reader& in, std::uint8_t kind, Change& change) {
    if constexpr (I == std::variant_size_v<Change>) {
        in.refuse();
    } else {
        if (kind != I) return read_change<I + 1>(in, kind, change);
        auto& value = change.emplace<I>();
        if constexpr (std::is_same_v<std::decay_t<decltype(value)>, domain::BatchCleared>)
            in(value.unit_kind, value.gpu_models, value.price_atoms, value.bids, value.matched);
        else
            in(value);
    }
}

void write_change(SnapshotWriter& out, const Change& change) {
    out(static_cast<std::uint8_t>(change.index()));
    std::visit(
        [&out](const auto& value) {
            if constexpr (std::is_same_v<std::decay_t<decltype(value)>, domain::BatchCleared>)
                out(value.unit_kind, value.gpu_models, value.price_atoms, value.bids,
                    value.matched);
            else
                out(value);
        },
        change);
}

}  // namespace

// Trades and candles ----------------------------------------------------------------------------

void TradeHistory::save(SnapshotWriter& out) const {
    out.count(trades_.size());
    for (const Trade& trade : trades_)
        out(trade);
    out.count(series_.size());
    for (const auto& [good, series] : series_) {
        out(good, series.traded_ms);
        for (const auto& candles : series.candles) {
            out.count(candles.size());
            for (const Candle& candle : candles)
                out(candle);
        }
    }
    out.count(open_.size());
    for (const auto& [end_ms, good, interval] : open_)
        out(end_ms, good, interval);
}

bool TradeHistory::load(Reader& in) {
    for (std::uint64_t left = read_count(in, 77); left > 0 && in.ok(); --left)
        in(trades_.emplace_back());
    for (std::uint64_t left = read_count(in, 45); left > 0 && in.ok(); --left) {
        Good good;
        Series series;
        in(good, series.traded_ms);
        for (auto& candles : series.candles)
            for (std::uint64_t more = read_count(in, 80); more > 0 && in.ok(); --more)
                in(candles.emplace_back());
        series_.emplace_hint(series_.end(), std::move(good), std::move(series));
    }
    for (std::uint64_t left = read_count(in, 14); left > 0 && in.ok(); --left) {
        TimeMs end_ms = 0;
        Good good;
        auto interval = Interval::kMinute;
        in(end_ms, good, interval);
        // It is the newest of its series; see close_candles.
        const auto& series = candles(good, interval);
        if (series.empty() || series.back().start_ms + length_ms(interval) != end_ms) return false;
        open_.emplace_hint(open_.end(), end_ms, std::move(good), interval);
    }
    return in.ok();
}

// The book --------------------------------------------------------------------------------------

void MarketBook::save(SnapshotWriter& out) const {
    out(next_number_);
    std::unordered_map<const void*, std::uint32_t> numbers;
    out.count(workers_.size());
    for (const auto& [address, worker] : workers_) {
        numbers.emplace(&worker, static_cast<std::uint32_t>(numbers.size()));
        out(address, worker.provider, worker.connected);
    }
    out.count(leases_.size());
    for (const auto* lease : sorted_entries(leases_))
        out(lease->first, lease->second.ask, lease->second.worker, lease->second.units,
            lease->second.exclusive);
    out.count(ask_shelves_.size());
    for (const auto& [key, shelf] : ask_shelves_) {
        out(key.unit_kind, key.gpu_models, key.region);
        out.count(shelf.orders.size());
        for (const auto& [rank, id] : shelf.orders) {
            const AskRow& row = asks_.at(id);
            out(rank, id, numbers.at(&row.worker->second), row.provider, row.order_class,
                row.volume_units);
        }
    }
    out.count(bid_shelves_.size());
    for (const auto& [key, shelf] : bid_shelves_) {
        out(key.unit_kind, key.gpu_models);
        out.count(shelf.orders.size());
        for (const auto& [rank, id] : shelf.orders)
            out(rank, id, bids_.at(id).shown_units);
    }
}

template <typename Row>
void MarketBook::count_in(Row& row, std::uint64_t units) {
    row.shown_units = units;
    if (units == 0) return;
    Sum& sum = row.shelf->second.sums[row.rank.first];
    sum.units += units;
    ++sum.orders;
}

bool MarketBook::load(Reader& in) {
    in(next_number_);
    std::vector<Workers::iterator> workers;
    for (std::uint64_t left = read_count(in, 41); left > 0 && in.ok(); --left) {
        domain::Address address;
        Worker worker;
        in(address, worker.provider, worker.connected);
        workers.push_back(workers_.emplace_hint(workers_.end(), address, std::move(worker)));
    }
    std::unordered_map<domain::Hash32, std::uint64_t> sold_units;
    return load_leases(in, sold_units) && load_asks(in, workers, sold_units) && load_bids(in);
}

bool MarketBook::load_leases(Reader& in,
                             std::unordered_map<domain::Hash32, std::uint64_t>& sold_units) {
    for (std::uint64_t left = read_count(in, 93); left > 0 && in.ok(); --left) {
        domain::Hash32 id;
        LeaseRow row;
        in(id, row.ask, row.worker, row.units, row.exclusive);
        if (!leases_.emplace(id, row).second) return false;
        sold_units[row.ask] += row.units;
        if (!row.exclusive) continue;
        const auto worker = workers_.find(row.worker);
        if (worker == workers_.end()) return false;
        ++worker->second.busy;
    }
    return in.ok();
}

bool MarketBook::load_asks(Reader& in, const std::vector<Workers::iterator>& workers,
                           const std::unordered_map<domain::Hash32, std::uint64_t>& sold_units) {
    asks_.reserve(in.remaining() / 110);
    for (std::uint64_t shelves = read_count(in, 17); shelves > 0 && in.ok(); --shelves) {
        ShelfKey key;
        in(key.unit_kind, key.gpu_models, key.region);
        if (!in.ok() || key.gpu_models.size() != 1) return false;
        const auto shelf =
            ask_shelves_.emplace_hint(ask_shelves_.end(), std::move(key), Shelf<domain::Hash32>{});
        for (std::uint64_t left = read_count(in, 81); left > 0 && in.ok(); --left) {
            domain::Hash32 id;
            std::uint32_t worker = 0;
            AskRow row;
            in(row.rank, id, worker, row.provider, row.order_class, row.volume_units);
            if (!in.ok() || worker >= workers.size()) return false;
            row.shelf = shelf;
            row.worker = workers[worker];
            const auto sold = sold_units.find(id);
            row.sold_units = sold == sold_units.end() ? 0 : sold->second;
            const auto [place, is_new] = asks_.emplace(id, row);
            const std::size_t before = shelf->second.orders.size();
            shelf->second.orders.emplace_hint(shelf->second.orders.end(), row.rank, id);
            if (!is_new || shelf->second.orders.size() == before) return false;
            row.worker->second.asks.push_back(&place->second);
            count_in(place->second, free_units(place->second));
        }
        if (shelf->second.orders.empty()) return false;
    }
    return in.ok();
}

bool MarketBook::load_bids(Reader& in) {
    for (std::uint64_t shelves = read_count(in, 13); shelves > 0 && in.ok(); --shelves) {
        ShelfKey key;
        in(key.unit_kind, key.gpu_models);
        const auto shelf =
            bid_shelves_.emplace_hint(bid_shelves_.end(), std::move(key), Shelf<BidRef>{});
        for (std::uint64_t left = read_count(in, 41); left > 0 && in.ok(); --left) {
            BidRef id;
            BidRow row;
            std::uint64_t units = 0;
            in(row.rank, id, units);
            row.shelf = shelf;
            const auto [place, is_new] = bids_.emplace(id, row);
            const std::size_t before = shelf->second.orders.size();
            shelf->second.orders.emplace_hint(shelf->second.orders.end(), row.rank, id);
            if (!is_new || shelf->second.orders.size() == before) return false;
            count_in(place->second, units);
        }
        if (shelf->second.orders.empty()) return false;
    }
    return in.ok();
}

// The fold --------------------------------------------------------------------------------------

void MarketData::save(SnapshotWriter& out) const {
    out(sequence_, dropped_);
    history_.save(out);
    book_.save(out);
    out.count(jobs_.size());
    for (const auto* entry : sorted_entries(jobs_)) {
        const JobRow& job = entry->second;
        out(entry->first, job.legs, job.classes, job.volumes, job.total_units, job.gang,
            job.listed);
    }
    out.count(changes_.size());
    for (const NumberedChange& change : changes_) {
        out(change.sequence, change.time_ms);
        write_change(out, change.change);
    }
}

bool MarketData::load_from(Reader& in) {
    in(sequence_, dropped_);
    if (!in.ok() || !history_.load(in) || !book_.load(in)) return false;
    for (std::uint64_t left = read_count(in, 45); left > 0 && in.ok(); --left) {
        domain::JobId id;
        JobRow job;
        in(id, job.legs, job.classes, job.volumes, job.total_units, job.gang, job.listed);
        const bool fits = job.classes.size() == job.legs.size() &&
                          job.volumes.size() == job.legs.size() &&
                          job.legs.size() <= std::numeric_limits<std::uint8_t>::max();
        if (!fits || !jobs_.emplace(id, std::move(job)).second) return false;
    }
    for (std::uint64_t left = read_count(in, 18); left > 0 && in.ok(); --left) {
        NumberedChange& change = changes_.emplace_back();
        std::uint8_t kind = 0;
        in(change.sequence, change.time_ms, kind);
        if (in.ok()) read_change(in, kind, change.change);
    }
    return in.complete();
}

ledger::base::Result<MarketData> MarketData::load(ledger::base::ByteView bytes) {
    MarketData data;
    Reader in(bytes);
    if (!data.load_from(in))
        return ledger::base::fail(ledger::base::ErrorCode::invalid_encoding, "market data");
    return data;
}

}  // namespace marketplace::engine
