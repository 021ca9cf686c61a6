// SPDX-License-Identifier: Apache-2.0
#include "marketplace/engine/market_data.hpp"

#include "tests/support/market.hpp"

#include <doctest/doctest.h>

#include <map>
#include <random>

using namespace tests;
using marketplace::domain::Event;
using marketplace::domain::JobState;
using namespace marketplace::engine;

namespace {

/// A market whose records are folded as they come.
struct Watched {
    Market market;
    MarketData data;
    std::vector<Record> records;

    void apply(const marketplace::domain::Command& command) {
        const auto events = market.engine.apply(command, market.now_ms);
        if (events && !events->empty()) add(command, *events);
    }
    void add(const marketplace::domain::Command& command, std::vector<Event> events) {
        records.push_back({records.size(), market.now_ms, {}, command, std::move(events), {}});
        data.add(records.back());
    }
    Hash32 list(std::uint64_t n, std::uint64_t salt, std::uint64_t price,
                UnitKind kind = UnitKind::kTrainingStep) {
        apply(marketplace::domain::WorkerConnected{worker(n), provider(n)});
        const auto ask = make_ask(n, salt, price, kind);
        apply(ask);
        return struct_hash(ask.ask);
    }
    void deposit(std::uint64_t n, std::uint64_t atoms) {
        apply(marketplace::domain::EscrowDeposited{buyer(n), atoms, fixed<Hash32>(n), 0});
    }
    [[nodiscard]] std::vector<PriceLevel> levels(Side side) const {
        return data.book().levels(side, {}, 1000);
    }
};

const Good kSteps{UnitKind::kTrainingStep, "cpu"};

Trade trade_at(TimeMs time_ms, std::uint64_t price, std::uint64_t units) {
    Trade out;
    out.time_ms = time_ms;
    out.good = kSteps;
    out.price_atoms = price;
    out.units = units;
    return out;
}

}  // namespace

TEST_CASE("market_data: a record without public events changes nothing but the sequence") {
    Watched w;
    CHECK(!w.data.sequence().has_value());
    w.deposit(1, 1000);
    CHECK(w.data.sequence() == 0);
    CHECK(w.data.changes(std::nullopt, 10)->empty());
    CHECK(w.data.index(w.market.now_ms).empty());
    CHECK(w.levels(Side::kAsk).empty());
}

TEST_CASE("market_data: an ask counts while its worker is there, for what is not sold") {
    Watched w;
    w.apply(make_ask(1, 1, 500));
    CHECK(w.levels(Side::kAsk).empty());
    CHECK(w.data.book().best_asks({}, 10).size() == 1);  // listed all the same
    w.apply(marketplace::domain::WorkerConnected{worker(1), provider(2)});
    CHECK(w.levels(Side::kAsk).empty());  // there for another provider
    w.apply(marketplace::domain::WorkerConnected{worker(1), provider(1)});
    REQUIRE(w.levels(Side::kAsk).size() == 1);
    CHECK(w.levels(Side::kAsk)[0].price_atoms == 500);
    CHECK(w.levels(Side::kAsk)[0].units == 10'000'000);
    CHECK(w.levels(Side::kAsk)[0].orders == 1);
    w.apply(marketplace::domain::WorkerLost{worker(1)});
    CHECK(w.levels(Side::kAsk).empty());
}

TEST_CASE("market_data: a match is a trade with the ask's facts; room comes back when it closes") {
    Watched w;
    const Hash32 ask = w.list(1, 1, 500);
    w.list(1, 2, 700, UnitKind::kInputToken);
    w.deposit(1, 100'000'000);
    w.apply(make_train_job(1, 7, 100, 2000));
    REQUIRE(w.data.history().trades().size() == 1);
    const Trade& trade = w.data.history().trades()[0];
    CHECK(trade.sequence == *w.data.sequence());
    CHECK(trade.index == 0);
    CHECK(trade.time_ms == w.market.now_ms);
    CHECK(trade.good == kSteps);
    CHECK(trade.region == "local");
    CHECK(trade.price_atoms == 500);
    CHECK(trade.units == 100);
    CHECK(trade.lease == w.market.lease(7).id);
    // The worker is busy with it: no further steps, but tokens may be had.
    REQUIRE(w.levels(Side::kAsk).size() == 1);
    CHECK(w.levels(Side::kAsk)[0].unit_kind == UnitKind::kInputToken);
    w.apply(marketplace::domain::CancelJob{fixed<JobId>(7), buyer(1)});
    CHECK(w.levels(Side::kAsk).size() == 2);
    CHECK(w.data.book().find_ask(ask)->price_atoms == 500);
    w.apply(marketplace::domain::CancelAsk{ask, provider(1)});
    CHECK(!w.data.book().find_ask(ask));
    CHECK(w.levels(Side::kAsk).size() == 1);
}

TEST_CASE("market_data: waiting bids stand by ceiling; sealed ones are not shown") {
    Watched w;
    w.deposit(1, 1'000'000'000);
    w.apply(make_train_job(1, 1, 100, 2000));
    w.apply(make_train_job(1, 2, 50, 3000));
    w.apply(make_train_job(1, 3, 10, 2000));
    auto bids = w.levels(Side::kBid);
    REQUIRE(bids.size() == 2);
    CHECK(bids[0].price_atoms == 3000);
    CHECK(bids[0].units == 50);
    CHECK(bids[1].units == 110);
    CHECK(bids[1].orders == 2);
    auto sealed = make_train_job(1, 4);
    sealed.legs[0].constraints.clearing = marketplace::domain::Clearing::kBatch;
    w.add(sealed, {marketplace::domain::JobChanged{sealed.id, JobState::kOpen, 0, {}}});
    CHECK(w.levels(Side::kBid) == bids);
    w.apply(marketplace::domain::CancelJob{fixed<JobId>(2), buyer(1)});
    bids = w.levels(Side::kBid);
    REQUIRE(bids.size() == 1);
    // A bid that accepts no "cpu" is not among those for it.
    CHECK(w.data.book().levels(Side::kBid, {std::nullopt, "cpu", std::nullopt}, 9).size() == 1);
    auto choosy = make_train_job(1, 5);
    choosy.legs[0].constraints.gpu_models = {"A100", "H100"};
    w.apply(choosy);
    CHECK(w.data.book().levels(Side::kBid, {std::nullopt, "cpu", std::nullopt}, 9).size() == 1);
    CHECK(w.data.book().levels(Side::kBid, {std::nullopt, "H100", std::nullopt}, 9).size() == 2);
    const auto best = w.data.book().best_bids({}, 10);
    REQUIRE(best.size() == 3);
    CHECK(best[0].job == fixed<JobId>(1));
}

TEST_CASE("market_data: the book is best first over regions and models, and bounded") {
    Watched w;
    const auto put = [&](std::uint64_t salt, std::uint64_t price, std::string model,
                         std::string region) {
        auto ask = make_ask(salt, salt, price);
        ask.resource.gpu_model = std::move(model);
        ask.resource.region = std::move(region);
        w.apply(marketplace::domain::WorkerConnected{worker(salt), provider(salt)});
        w.apply(ask);
        return struct_hash(ask.ask);
    };
    const Hash32 a = put(1, 30, "H100", "eu");
    const Hash32 b = put(2, 10, "H100", "us");
    const Hash32 c = put(3, 20, "A100", "eu");
    const Hash32 d = put(4, 10, "H100", "eu");
    CHECK(w.data.book().best_asks({}, 10) == std::vector<Hash32>{b, d, c, a});
    CHECK(w.data.book().best_asks({}, 2).size() == 2);
    const BookFilter h100{UnitKind::kTrainingStep, "H100", std::nullopt};
    CHECK(w.data.book().best_asks(h100, 10) == std::vector<Hash32>{b, d, a});
    const BookFilter europe{std::nullopt, std::nullopt, "eu"};
    CHECK(w.data.book().best_asks(europe, 10) == std::vector<Hash32>{d, c, a});
    const auto levels = w.data.book().levels(Side::kAsk, h100, 10);
    REQUIRE(levels.size() == 2);  // the regions of a model are one level
    CHECK(levels[0].orders == 2);
    CHECK(levels[0].units == 20'000'000);
    CHECK(w.data.book().levels(Side::kAsk, h100, 1).size() == 1);
}

TEST_CASE("trade_history: candles have open, high, low, close, volume, and close once") {
    TradeHistory history;
    const TimeMs day = 20'000ULL * 86'400'000;
    history.add(trade_at(day + 1000, 100, 10));
    history.add(trade_at(day + 2000, 300, 1));
    history.add(trade_at(day + 59'999, 200, 5));
    CHECK(history.close_candles(day + 59'999).empty());
    const auto closed = history.close_candles(day + 60'000);
    REQUIRE(closed.size() == 1);
    CHECK(closed[0].interval == Interval::kMinute);
    CHECK(closed[0].candle == Candle{day, 100, 300, 100, 200, 16, 2300, 3});
    CHECK(history.close_candles(day + 60'000).empty());
    history.add(trade_at(day + 60'000, 50, 2));
    CHECK(history.candles(kSteps, Interval::kMinute).size() == 2);
    REQUIRE(history.candles(kSteps, Interval::kDay).size() == 1);
    CHECK(history.candles(kSteps, Interval::kDay)[0] == Candle{day, 100, 300, 50, 50, 18, 2400, 4});
    CHECK(history.candles({UnitKind::kGpuMs, "cpu"}, Interval::kDay).empty());
    // The rest of them: five minutes, hour and day, in order of their end.
    const auto later = history.close_candles(day + 2 * 86'400'000);
    REQUIRE(later.size() == 4);
    CHECK(later[0].interval == Interval::kMinute);
    CHECK(later[3].interval == Interval::kDay);
}

TEST_CASE("trade_history: the mean price forgets what is older than a day") {
    TradeHistory history;
    const TimeMs day = 20'000ULL * 86'400'000;
    CHECK(!history.mean_price(kSteps, day));
    history.add(trade_at(day, 100, 1));
    history.add(trade_at(day + 3'600'000, 200, 3));
    CHECK(history.mean_price(kSteps, day + 3'600'000) == 175);
    CHECK(history.mean_price(kSteps, day + TradeHistory::kIndexWindowMs + 59'999) == 175);
    CHECK(history.mean_price(kSteps, day + TradeHistory::kIndexWindowMs + 60'000) == 200);
    CHECK(!history.mean_price(kSteps, day + 2 * TradeHistory::kIndexWindowMs));
    // Far beyond 64 bits.
    const std::uint64_t most = 1ULL << 50;
    history.add(trade_at(day + 3'600'001, most, 1ULL << 53));
    CHECK(*history.mean_price(kSteps, day + 3'600'001) == most - 1);
}

TEST_CASE("trade_history: trades, candles and goods are bounded") {
    TradeHistory history;
    for (std::size_t i = 0; i < TradeHistory::kTradesKept + 10; ++i)
        history.add(trade_at(i * 60'000, 1 + i, 1));
    CHECK(history.trades().size() == TradeHistory::kTradesKept);
    CHECK(history.trades().front().price_atoms == 11);
    for (const auto interval : {Interval::kMinute, Interval::kFiveMinutes})
        CHECK(history.candles(kSteps, interval).size() ==
              TradeHistory::kCandlesKept[static_cast<std::size_t>(interval)]);
    for (std::size_t i = 0; i < TradeHistory::kGoodsKept; ++i) {
        auto trade = trade_at(1'000'000'000'000 + i, 5, 5);
        trade.good.gpu_model = std::to_string(i);
        history.add(trade);
    }
    CHECK(history.goods().size() == TradeHistory::kGoodsKept);
    CHECK(history.candles(kSteps, Interval::kDay).empty());  // not traded for longest
}

TEST_CASE("market_data: the index is the mean of a day's trades, else the best ask") {
    Watched w;
    w.list(1, 1, 900);
    w.list(2, 2, 500);
    auto index = w.data.index(w.market.now_ms);
    REQUIRE(index.size() == 1);
    CHECK(index[0].good == kSteps);
    CHECK(index[0].price_atoms == 500);
    CHECK(index[0].source == IndexPrice::Source::kBestAsk);
    w.deposit(1, 100'000'000);
    w.apply(make_train_job(1, 1, 100, 2000));  // at 500
    w.apply(make_train_job(1, 2, 300, 2000));  // at 900
    index = w.data.index(w.market.now_ms);
    CHECK(index[0].price_atoms == 800);
    CHECK(index[0].source == IndexPrice::Source::kTrades);
    index = w.data.index(w.market.now_ms + 2 * TradeHistory::kIndexWindowMs);
    CHECK(index[0].source == IndexPrice::Source::kNone);  // both workers are busy
    CHECK(!index[0].price_atoms);
}

TEST_CASE(
    "market_data: changes resume behind a record, whole records, and say when some are gone") {
    Watched w;
    w.list(1, 1, 500);  // records 0 and 1
    const auto all = w.data.changes(std::nullopt, 100);
    REQUIRE(all);
    REQUIRE(all->size() == 2);
    CHECK(std::get<OrderAccepted>((*all)[0].change).price_atoms == 500);
    CHECK(std::get<PriceLevel>((*all)[1].change).units == 10'000'000);
    CHECK((*all)[0].sequence == 1);
    CHECK(w.data.changes(std::nullopt, 1)->size() == 2);  // never half a record
    CHECK(w.data.changes(0, 100) == all);
    CHECK(w.data.changes(1, 100)->empty());
    CHECK(w.data.changes(99, 100)->empty());
    std::uint64_t salt = 100;
    while (w.data.changes(0, 1)) {
        REQUIRE(salt < 2 * MarketData::kChangesKept);
        w.add(make_ask(3, salt, 500),
              {marketplace::domain::AskAccepted{fixed<Hash32>(salt)},
               marketplace::domain::AskClosed{fixed<Hash32>(salt), "cancelled"}});
        ++salt;
    }
    CHECK(!w.data.changes(std::nullopt, 1));
    CHECK(w.data.changes(1, 1));  // record 1 is gone, what follows is there
}

namespace {

/// Random orders, workers, cancellations and lost workers.
void random_step(Watched& w, std::mt19937_64& random, std::uint64_t salt) {
    const auto pick = [&](std::uint64_t n) { return random() % n; };
    w.market.now_ms += pick(30'000);
    const std::uint64_t n = 1 + pick(6);
    switch (pick(8)) {
        case 0:
            return w.apply(marketplace::domain::WorkerLost{worker(n)});
        case 1:
            return w.apply(marketplace::domain::WorkerConnected{worker(n), provider(n)});
        case 2:
            return w.apply(
                marketplace::domain::CancelJob{fixed<JobId>(1 + pick(salt)), buyer(1 + pick(3))});
        case 3: {
            const auto ids = w.data.book().best_asks({}, 50);
            if (ids.empty()) return;
            const Hash32 id = ids[pick(ids.size())];
            const auto ask = w.data.book().find_ask(id);
            return w.apply(marketplace::domain::CancelAsk{id, ask->provider});
        }
        case 4:
        case 5: {
            auto ask = make_ask(n, salt, 100 * (1 + pick(10)));
            if (pick(2) == 0) ask.resource.region = "eu";
            if (pick(3) == 0) ask.resource.gpu_model = "H100";
            return w.apply(ask);
        }
        case 6: {
            auto job = make_train_job(1 + pick(3), salt, 1 + pick(1000), 100 * (1 + pick(10)));
            if (pick(3) == 0) job.legs[0].constraints.gpu_models = {"H100"};
            return w.apply(job);
        }
        default:
            return w.apply(marketplace::domain::Tick{});
    }
}

using LevelKey = std::tuple<UnitKind, std::vector<std::string>, std::uint64_t>;
using LevelMap = std::map<LevelKey, std::pair<std::uint64_t, std::uint32_t>>;

/// The same levels without an index, from the engine's own state.
LevelMap naive_levels(const Watched& w, Side side) {
    LevelMap out;
    const auto& engine = w.market.engine;
    const auto put = [&](LevelKey key, std::uint64_t units) {
        auto& [sum, orders] = out[std::move(key)];
        sum += units;
        ++orders;
    };
    if (side == Side::kBid) {
        engine.for_each_job([&](const Job& job) {
            const auto& leg = job.legs[0];
            if (job.state == JobState::kOpen)
                put({leg.bid.unit_kind, leg.constraints.gpu_models, leg.bid.price_ceiling_atoms},
                    job.terms.total_units - job.units_done);
            return true;
        });
        return out;
    }
    std::set<Address> here;
    for (const Address& worker : engine.connected_workers())
        here.insert(worker);
    engine.for_each_lease([&](const marketplace::domain::Lease& lease) {
        const bool active = lease.state < marketplace::domain::LeaseState::kClosing &&
                            lease.close_reason == marketplace::domain::CloseReason::kNone;
        if (active) here.erase(lease.worker);
        return true;
    });
    engine.for_each_ask([&](const AskEntry& ask) {
        const std::uint64_t left = ask.ask.volume_units - ask.units_out;
        if (ask.open && here.contains(ask.resource.worker) && left > 0)
            put({ask.ask.unit_kind, {ask.resource.gpu_model}, ask.ask.price_atoms}, left);
        return true;
    });
    return out;
}

LevelMap to_map(const std::vector<PriceLevel>& levels) {
    LevelMap out;
    for (const PriceLevel& level : levels)
        out[{level.unit_kind, level.gpu_models, level.price_atoms}] = {level.units, level.orders};
    return out;
}

}  // namespace

TEST_CASE("market_data: levels equal a scan of the engine, and the changes alone rebuild them") {
    const std::uint64_t seed = 20'261'126;
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    Watched w;
    for (std::uint64_t n = 1; n <= 3; ++n)
        w.deposit(n, 1'000'000'000);
    std::array<LevelMap, 2> follower;
    std::optional<std::uint64_t> seen;
    for (std::uint64_t step = 1; step <= 2000; ++step) {
        CAPTURE(step);
        random_step(w, random, step);
        const auto changes = w.data.changes(seen, 10'000);
        REQUIRE(changes);
        for (const auto& change : *changes) {
            seen = change.sequence;
            const auto* level = std::get_if<PriceLevel>(&change.change);
            if (level == nullptr) continue;
            auto& side = follower[static_cast<std::size_t>(level->side)];
            const LevelKey key{level->unit_kind, level->gpu_models, level->price_atoms};
            if (level->orders == 0)
                side.erase(key);
            else
                side[key] = {level->units, level->orders};
        }
        for (const Side side : {Side::kAsk, Side::kBid}) {
            const LevelMap levels = to_map(w.levels(side));
            REQUIRE(levels == naive_levels(w, side));
            REQUIRE(levels == follower[static_cast<std::size_t>(side)]);
        }
    }
    CHECK(w.data.history().trades().size() > 50);
    MarketData again;
    for (const Record& record : w.records)
        again.add(record);
    CHECK(again.changes(std::nullopt, 100'000) == w.data.changes(std::nullopt, 100'000));
    CHECK(again.history().trades() == w.data.history().trades());
}
