// SPDX-License-Identifier: Apache-2.0
#include "marketplace/matching/order_book.hpp"

#include "tests/support/asks.hpp"

#include <doctest/doctest.h>

namespace marketplace::matching {

using tests::Crowd;
using tests::ListedAsk;

namespace {

/// Asks in a book and in a plain list.
struct Both {
    std::vector<ListedAsk> asks;
    OrderBook book;

    void add(ListedAsk ask) {
        ask.listed = true;
        book.add(static_cast<AskIndex>(asks.size()), ask.ask, ask.resource, ask.state);
        asks.push_back(std::move(ask));
    }
    void remove(AskIndex index) {
        asks[index].listed = false;
        book.remove(index);
    }
};

}  // namespace

TEST_CASE("order_book: an empty book answers nothing, unknown asks are left alone") {
    OrderBook book;
    Crowd crowd(1, {});
    CHECK_FALSE(book.best(book.compile(crowd.bid(1).want())).has_value());
    CHECK(book.best_gang(book.compile(crowd.bid(1).want()), 2).empty());
    book.remove(5);
    book.update(5, {}, 1);
    CHECK(book.size() == 0);
    CHECK_FALSE(book.find_violation().has_value());
}

TEST_CASE("order_book: price, then reliability, then age") {
    Both both;
    Crowd crowd(1, {1, 1, 1, false});
    ListedAsk ask = crowd.ask(1);
    ask.ask.expiry_s = tests::kStartS + 10;
    ask.ask.max_units = ask.ask.volume_units = ask.state.free_units = 1000;
    ask.resource.vram_mib = 1U << 20U;
    ask.resource.max_flops_per_step = 1ULL << 40U;
    const auto with = [&ask](std::uint64_t price, std::uint32_t reliability_bp) {
        ListedAsk out = ask;
        out.ask.price_atoms = price;
        out.state = {1000, reliability_bp, true};
        return out;
    };
    both.add(with(900, 9000));
    both.add(with(800, 9000));
    both.add(with(800, 9500));
    both.add(with(800, 9500));
    const auto bid = crowd.bid(1);
    CHECK(*both.book.best(both.book.compile(bid.want())) == 2);
    both.book.update(2, {1000, 9500, false}, 1000);  // its worker went
    CHECK(*both.book.best(both.book.compile(bid.want())) == 3);
    both.book.update(3, {1000, 8000, true}, 1000);  // a failure costs it its rank
    CHECK(*both.book.best(both.book.compile(bid.want())) == 1);
    both.remove(1);
    CHECK(*both.book.best(both.book.compile(bid.want())) == 3);
    CHECK(both.book.best_gang(both.book.compile(bid.want()), 2).empty());  // one worker
}

TEST_CASE("order_book: the same winners as a scan of all asks, in a moving book") {
    for (std::uint64_t seed = 1; seed <= 6; ++seed) {
        CAPTURE(seed);
        // Few prices: ties are frequent; few buckets: blocks are full and split.
        Crowd crowd(seed, {3, 2, seed % 2 == 0 ? 20U : 100'000U, true});
        Both both;
        std::uint64_t salt = 0;
        for (int i = 0; i < 400; ++i)
            both.add(crowd.ask(++salt));
        std::size_t matched = 0;
        for (int step = 0; step < 3000; ++step) {
            CAPTURE(step);
            const auto index = static_cast<AskIndex>(crowd.below(both.asks.size()));
            if (step % 5 == 0) both.add(crowd.ask(++salt));
            if (step % 7 == 0) both.remove(index);
            if (step % 3 == 0 && both.asks[index].listed) {
                auto& ask = both.asks[index];
                ask.state = {crowd.below(ask.ask.volume_units + 1),
                             static_cast<std::uint32_t>(10'000 - crowd.below(20) * 100),
                             crowd.below(4) != 0};
                both.book.update(index, ask.state, ask.ask.max_units);
            }
            auto bid = crowd.bid(++salt);
            bid.gang = 1 + crowd.below(4);
            const Query query = both.book.compile(bid.want(), bid.min_reliability_bp);
            const auto expected = tests::best_naively(both.asks, bid);
            const auto found = both.book.best(query);
            REQUIRE(found == expected);
            REQUIRE(both.book.best_gang(query, bid.gang) == tests::gang_naively(both.asks, bid));
            if (found && step % 2 == 0) both.remove(*found);
            matched += found ? 1U : 0U;
            if (step % 64 == 0) REQUIRE(both.book.find_violation().value_or("") == "");
        }
        CHECK(matched > 500);
    }
}

}  // namespace marketplace::matching
