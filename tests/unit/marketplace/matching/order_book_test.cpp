// SPDX-License-Identifier: Apache-2.0
#include "marketplace/matching/order_book.hpp"

#include "tests/support/asks.hpp"

#include <doctest/doctest.h>

#include <map>

namespace marketplace::matching {

using tests::Crowd;
using tests::CrowdOptions;
using tests::ListedAsk;

namespace {

constexpr TimeMs kNowMs = tests::kStartS * 1000;

/// Asks in a book and in a plain list, and their workers' calendars.
struct Both {
    std::vector<ListedAsk> asks;
    OrderBook book;
    std::map<domain::Address, Calendar> calendars;

    void add(ListedAsk ask) {
        ask.listed = true;
        const auto calendar = calendars.find(ask.resource.worker);
        if (calendar != calendars.end()) ask.calendar = &calendar->second;
        REQUIRE(book.can_add(ask.resource));
        book.add(static_cast<AskIndex>(asks.size()), ask.ask, ask.resource, ask.state);
        asks.push_back(std::move(ask));
    }
    void remove(AskIndex index) {
        asks[index].listed = false;
        book.remove(index);
    }
    void update(AskIndex index, const AskState& state) {
        asks[index].state = state;
        book.update(index, state);
    }
    /// Promises the worker for a while, or gives all its promises back.
    void move_calendar(Crowd& crowd, const domain::Address& worker) {
        Calendar& calendar = calendars[worker];
        if (crowd.below(8) == 0) calendar = {};
        const TimeMs from = kNowMs + crowd.below(20) * 300'700 - 1'000'000;
        const TimeMs until = from + 1 + crowd.below(6'000'000);
        if (calendar.is_free(from, until)) calendar.hold(from, until);
        for (ListedAsk& ask : asks)
            if (ask.resource.worker == worker) ask.calendar = &calendar;
        book.set_calendar(worker, &calendar, kNowMs);
    }
    [[nodiscard]] Query compile(const Crowd::Bid& bid) const {
        Query query = book.compile(bid.want());
        for (AskIndex i = 0; i < asks.size(); ++i)
            for (const auto& excluded : bid.excluded_asks)
                if (asks[i].id == excluded) query.exclude_asks.push_back(i);
        return query;
    }
    /// The best of one worker, as if it had promised nothing.
    [[nodiscard]] std::optional<AskIndex> best_of_worker(const Crowd::Bid& bid,
                                                         const domain::Address& worker) const {
        std::optional<AskIndex> out;
        for (AskIndex i = 0; i < asks.size(); ++i) {
            ListedAsk ask = asks[i];
            ask.calendar = nullptr;
            if (!ask.listed || ask.resource.worker != worker) continue;
            if (first_mismatch(ask.offer(), bid.want())) continue;
            if (!out || tests::is_better(asks, i, *out)) out = i;
        }
        return out;
    }
};

/// Every question the book answers, against the list.
void compare(const Both& both, const Crowd::Bid& bid, Crowd& crowd) {
    const Query query = both.compile(bid);
    const auto fitting = tests::all_naively(both.asks, bid);
    const auto best = both.book.best(query);
    REQUIRE(best.has_value() == !fitting.empty());
    std::optional<AskIndex> at = best;
    for (std::size_t i = 0; i < fitting.size() && i < 8; ++i) {
        REQUIRE(at == fitting[i]);
        at = both.book.next(query, *at);
        if (i + 1 == fitting.size()) REQUIRE_FALSE(at.has_value());
    }
    const std::size_t gang = 1 + crowd.below(5);
    REQUIRE(both.book.best_gang(query, gang) == tests::gang_naively(both.asks, fitting, gang));
    const auto& worker = both.asks[crowd.below(both.asks.size())].resource.worker;
    REQUIRE(both.book.best_for_worker(query, worker) == both.best_of_worker(bid, worker));
}

void move(Both& both, Crowd& crowd, int step, std::uint64_t& salt) {
    const auto index = static_cast<AskIndex>(crowd.below(both.asks.size()));
    if (step % 5 == 0) both.add(crowd.ask(++salt));
    if (step % 7 == 0) both.remove(index);
    if (step % 3 == 0 && both.asks[index].listed)
        both.update(index, {crowd.below(both.asks[index].ask.volume_units + 1),
                            static_cast<std::uint32_t>(10'000 - crowd.below(20) * 100),
                            crowd.below(4) != 0});
    if (step % 2 == 0) both.move_calendar(crowd, both.asks[index].resource.worker);
}

ListedAsk good_ask(Crowd& crowd, std::uint64_t price, std::uint32_t reliability_bp) {
    ListedAsk out = crowd.ask(1);
    out.ask.price_atoms = price;
    out.ask.earliest_s = 0;
    out.ask.expiry_s = tests::kStartS + 10;
    out.ask.max_units = out.ask.volume_units = 1000;
    out.resource.vram_mib = 1U << 20U;
    out.resource.max_flops_per_step = 1ULL << 40U;
    out.resource.worker = tests::worker(0);
    out.resource.buyers = out.resource.exclude_buyers = {};
    out.state = {1000, reliability_bp, true};
    return out;
}

}  // namespace

TEST_CASE("order_book: an empty book answers nothing, unknown asks are left alone") {
    OrderBook book;
    Crowd crowd(1, {});
    const Query query = book.compile(crowd.bid(1).want());
    CHECK_FALSE(book.best(query).has_value());
    CHECK(book.best_gang(query, 2).empty());
    CHECK_FALSE(book.best_for_worker(query, tests::worker(1)).has_value());
    book.remove(5);
    book.update(5, {});
    CHECK_FALSE(book.contains(5));
    CHECK(book.size() == 0);
    CHECK_FALSE(book.find_violation().has_value());
}

TEST_CASE("order_book: refuses machines that its rows cannot hold") {
    OrderBook book;
    Crowd crowd(1, {});
    auto resource = crowd.ask(1).resource;
    CHECK(book.can_add(resource));
    resource.vram_mib = 1ULL << 32U;
    CHECK_FALSE(book.can_add(resource));
    resource.vram_mib = 1;
    resource.gpu_count = 1U << 16U;
    CHECK_FALSE(book.can_add(resource));
}

TEST_CASE("order_book: price, then reliability, then age") {
    Both both;
    Crowd crowd(1, {.models = 1, .regions = 1, .prices = 1, .constraint_heavy = false});
    both.add(good_ask(crowd, 900, 9000));
    both.add(good_ask(crowd, 800, 9000));
    both.add(good_ask(crowd, 800, 9500));
    both.add(good_ask(crowd, 800, 9500));
    const Query query = both.compile(crowd.bid(1));
    CHECK(*both.book.best(query) == 2);
    both.update(2, {1000, 9500, false});  // its worker went
    CHECK(*both.book.best(query) == 3);
    both.update(3, {1000, 9000, true});  // a failure costs it its rank
    CHECK(*both.book.best(query) == 1);
    CHECK(*both.book.next(query, 1) == 3);
    both.remove(1);
    CHECK(*both.book.best(query) == 3);
    CHECK(both.book.best_gang(query, 2).empty());  // one worker
}

TEST_CASE("order_book: a query may look past what a ramp offers now") {
    Both both;
    Crowd crowd(1, {.models = 1, .regions = 1, .prices = 1, .constraint_heavy = false});
    both.add(good_ask(crowd, 700, 9000));
    Crowd::Bid bid = crowd.bid(1);
    bid.leg.bid.price_ceiling_atoms = 1000;
    bid.leg.constraints.ramp_from_atoms = 100;
    bid.leg.constraints.ramp_start_s = tests::kStartS;
    bid.leg.constraints.ramp_end_s = tests::kStartS + 10;
    Query query = both.compile(bid);
    CHECK_FALSE(both.book.best(query).has_value());
    query.max_price_atoms = OrderBook::highest_price(bid.want(), 1000);
    CHECK(*both.book.best(query) == 0);
    bid.leg.bid.max_amount_atoms = 699 * bid.units;
    CHECK(OrderBook::highest_price(bid.want(), 1000) == 699);
}

TEST_CASE("order_book: a promised worker is passed over, but found for a reclaim") {
    Both both;
    Crowd crowd(1, {.models = 1, .regions = 1, .prices = 1, .constraint_heavy = false});
    both.add(good_ask(crowd, 700, 9000));
    const auto worker = both.asks[0].resource.worker;
    Crowd::Bid bid = crowd.bid(1);
    bid.leg.bid.deadline_s = tests::kStartS + 100;
    const Query query = both.compile(bid);
    Calendar calendar;
    calendar.hold(kNowMs + 99'999, kNowMs + 200'000);
    both.book.set_calendar(worker, &calendar, kNowMs);
    CHECK_FALSE(both.book.best(query).has_value());
    CHECK(*both.book.best_for_worker(query, worker) == 0);
    CHECK_FALSE(both.book.best_for_worker(query, tests::worker(77)).has_value());
    bid.terms.kind = domain::JobKind::kServe;  // shares its worker
    CHECK(*both.book.best(both.compile(bid)) == 0);
    calendar = {};
    both.book.set_calendar(worker, &calendar, kNowMs);
    CHECK(*both.book.best(query) == 0);
}

TEST_CASE("order_book: the same answers as a scan of all asks, in a moving book") {
    for (std::uint64_t seed = 1; seed <= 8; ++seed) {
        CAPTURE(seed);
        // Few prices: ties are frequent; few buckets: blocks are full and split; few hosts: a
        // worker has several asks, and some buyers are workers themselves.
        Crowd crowd(seed, {.models = 3,
                           .regions = 2,
                           .prices = seed % 2 == 0 ? 20U : 100'000U,
                           .hosts = seed % 4 < 2 ? 150U : 5000U,
                           .serving = true,
                           .classes = true});
        Both both;
        std::uint64_t salt = 0;
        for (int i = 0; i < 400; ++i)
            both.add(crowd.ask(++salt));
        std::size_t matched = 0;
        for (int step = 0; step < 2000; ++step) {
            CAPTURE(step);
            move(both, crowd, step, salt);
            auto bid = crowd.bid(++salt);
            // Above all the book must agree where a bid's own best ask is taken from it.
            const auto found = both.book.best(both.compile(bid));
            if (found) bid.excluded_asks.push_back(both.asks[*found].id);
            compare(both, bid, crowd);
            bid.excluded_asks.clear();
            compare(both, bid, crowd);
            if (found && step % 2 == 0) both.remove(*found);
            matched += found ? 1U : 0U;
            if (step % 64 == 0) REQUIRE(both.book.find_violation().value_or("") == "");
        }
        CHECK(matched > 300);
    }
}

TEST_CASE("order_book: fills, empties and fills again without growing") {
    Crowd crowd(3, {.models = 2, .regions = 2, .prices = 50});
    Both both;
    for (std::uint64_t i = 1; i <= 5000; ++i)
        both.add(crowd.ask(i));
    CHECK(both.book.find_violation().value_or("") == "");
    const std::size_t full = both.book.memory_bytes();
    CHECK(full > 5000 * sizeof(AskRow));
    for (int round = 0; round < 3; ++round) {
        CAPTURE(round);
        for (AskIndex i = 0; i < 5000; ++i)
            if ((i + static_cast<AskIndex>(round)) % 50 != 0) both.remove(i);
        CHECK(both.book.find_violation().value_or("") == "");
        for (AskIndex i = 0; i < 5000; ++i)
            if (!both.book.contains(i))
                both.book.add(i, both.asks[i].ask, both.asks[i].resource, both.asks[i].state);
        CHECK(both.book.size() == 5000);
        CHECK(both.book.find_violation().value_or("") == "");
    }
    CHECK(both.book.memory_bytes() < full + full / 4);
    for (AskIndex i = 0; i < 5000; ++i)
        both.remove(i);
    CHECK(both.book.size() == 0);
    CHECK(both.book.find_violation().value_or("") == "");
}

}  // namespace marketplace::matching
