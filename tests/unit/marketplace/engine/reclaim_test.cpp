// SPDX-License-Identifier: Apache-2.0
#include "tests/support/market.hpp"

#include <doctest/doctest.h>

namespace marketplace::engine {

using namespace domain;
using ledger::base::ErrorCode;
using ledger::eth::OrderClass;
using tests::buyer;
using tests::make_ask;
using tests::make_serve_job;
using tests::make_train_job;
using tests::Market;
using tests::provider;
using tests::UnitKind;
using tests::worker;

namespace {

/// Worker n with an interruptible ask (salt n) and an on-demand one (salt 100 + n).
void list_both(Market& market, std::uint64_t n, std::uint64_t price, std::uint32_t window_s = 30,
               std::uint64_t on_demand_price = 1500) {
    market.must(WorkerConnected{worker(n), provider(n)});
    PostAsk ask = make_ask(n, n, price);
    ask.ask.order_class = OrderClass::kInterruptible;
    ask.ask.reclaim_window_s = window_s;
    market.must(ask);
    market.must(make_ask(n, 100 + n, on_demand_price));
}

PostJob interruptible_job(std::uint64_t salt) {
    PostJob job = make_train_job(1, salt, 100, 1200);
    job.legs[0].bid.order_class = OrderClass::kInterruptible;
    return job;
}

/// Interruptible job 1 runs on worker 1, job 2 on worker 2 (dearer); nothing is free.
void run_two(Market& market) {
    market.deposit(buyer(1), 100'000'000);
    market.deposit(buyer(2), 100'000'000);
    list_both(market, 1, 1000);
    market.must(interruptible_job(1));
    list_both(market, 2, 1100);
    market.must(interruptible_job(2));
    REQUIRE(market.lease(1).worker == worker(1));
    REQUIRE(market.lease(2).worker == worker(2));
    market.start(market.lease(1).id);
    market.start(market.lease(2).id);
}

}  // namespace

TEST_CASE("reclaim: the cheapest interruptible lease makes room after its window") {
    Market market;
    run_two(market);
    const Hash32 cheap = market.lease(1).id;
    market.work(cheap, 25);
    const auto events = market.must(make_train_job(2, 3));
    const auto* reclaimed = tests::find_event<LeaseReclaimed>(events);
    REQUIRE(reclaimed != nullptr);
    CHECK(reclaimed->lease == cheap);
    CHECK(reclaimed->by == tests::fixed<JobId>(3));
    CHECK(reclaimed->at_ms == market.now_ms + 30'000);
    CHECK(market.engine.find_lease(cheap)->reclaim_at_ms == market.now_ms + 30'000);
    market.now_ms += 29'999;
    CHECK(market.must(Tick{}).empty());
    market.now_ms += 1;
    market.must(Tick{});
    CHECK(market.engine.find_lease(cheap)->close_reason == CloseReason::kOutbid);
    CHECK(market.job(3).state == JobState::kMatched);
    CHECK(market.lease(3).worker == worker(1));
    CHECK(market.job(1).state == JobState::kOpen);
    CHECK(market.job(1).reason == "outbid");
    CHECK(market.job(1).attempts == 0);
    CHECK(market.job(1).excluded.empty());
    CHECK(market.job(1).units_done == 25);
}

TEST_CASE("reclaim: who asked is tried first, even against a higher ceiling") {
    Market market;
    run_two(market);
    market.must(make_train_job(2, 3, 100, 2000));
    market.must(make_train_job(2, 4, 100, 3000));  // takes the other lease
    CHECK(market.lease(2).reclaim_at_ms != 0);
    market.must(make_train_job(2, 5, 100, 9000));  // nothing is left to reclaim
    market.now_ms += 30'000;
    market.must(Tick{});
    CHECK(market.job(3).state == JobState::kMatched);
    CHECK(market.job(4).state == JobState::kMatched);
    CHECK(market.job(5).state == JobState::kOpen);
}

TEST_CASE("reclaim: a lease may stay when who asked needs it no more") {
    Market market;
    run_two(market);
    market.must(make_train_job(2, 3));
    const Hash32 cheap = market.lease(1).id;
    const auto events = market.must(CancelJob{tests::fixed<JobId>(3), buyer(2)});
    const auto* stays = tests::find_event<LeaseReclaimed>(events);
    REQUIRE(stays != nullptr);
    CHECK(stays->lease == cheap);
    CHECK(stays->at_ms == 0);
    CHECK(market.engine.find_lease(cheap)->reclaim_at_ms == 0);
    market.now_ms += 30'000;
    CHECK(market.must(Tick{}).empty());
    CHECK(market.job(1).state == JobState::kRunning);
    // It may be asked for again.
    market.must(make_train_job(2, 4));
    CHECK(market.engine.find_lease(cheap)->reclaim_at_ms != 0);
    market.list(3, 3);  // room elsewhere
    CHECK(market.job(4).state == JobState::kMatched);
    CHECK(market.engine.find_lease(cheap)->reclaim_at_ms == 0);
}

TEST_CASE("reclaim: who asked a lease that ends by itself asks the next one") {
    Market market;
    run_two(market);
    market.must(make_train_job(2, 3));
    REQUIRE(market.lease(1).reclaim_at_ms != 0);
    const Hash32 other = market.lease(2).id;
    const auto events = market.must(WorkerLost{worker(1)});
    const auto* reclaimed = tests::find_event<LeaseReclaimed>(events);
    REQUIRE(reclaimed != nullptr);
    CHECK(reclaimed->lease == other);
    CHECK(reclaimed->by == tests::fixed<JobId>(3));
}

TEST_CASE("reclaim: a lease set free by one bid is found by the next") {
    Market market;
    market.deposit(buyer(1), 100'000'000);
    market.deposit(buyer(2), 100'000'000);
    list_both(market, 1, 1000);
    market.must(interruptible_job(1));
    market.must(make_train_job(2, 3));
    market.must(make_train_job(2, 4));
    CHECK(market.lease(1).reclaim_at_ms != 0);
    const auto events = market.must(CancelJob{tests::fixed<JobId>(3), buyer(2)});
    CHECK(tests::count_of<LeaseReclaimed>(events) == 2);
    CHECK(market.lease(1).reclaim_at_ms != 0);
}

TEST_CASE("reclaim: a lease set free in a round is found by the next bid of that round, always") {
    Market market;
    market.deposit(buyer(1), 100'000'000);
    market.deposit(buyer(2), 100'000'000);
    list_both(market, 1, 1000);
    market.must(interruptible_job(1));
    for (std::uint64_t n = 6; n <= 7; ++n)
        market.must(WorkerConnected{worker(n), provider(n)});
    for (std::uint64_t n = 3; n <= 5; ++n)
        market.must(make_train_job(2, n, 100, 7000 - n * 1000));
    for (std::uint64_t n = 3; n <= 4; ++n) {  // room elsewhere for who asked; the next asks
        const auto events = market.must(make_ask(n + 3, n + 3));
        CAPTURE(n);
        CHECK(market.job(n).state == JobState::kMatched);
        CHECK(tests::count_of<LeaseReclaimed>(events) == 2);
        CHECK(market.lease(1).reclaim_at_ms != 0);
    }
}

TEST_CASE("reclaim: nothing is reclaimed in vain") {
    Market market;
    run_two(market);
    const auto reclaims = [&market](PostJob job) {
        return tests::count_of<LeaseReclaimed>(market.must(job));
    };
    CHECK(reclaims(make_train_job(2, 10, 100, 1499)) == 0);  // below the on-demand price
    CHECK(reclaims(interruptible_job(11)) == 0);
    PostJob gang = make_train_job(2, 12);
    gang.legs[0].constraints.gang = 2;
    gang.legs[0].bid.volume_units = 200;
    CHECK(reclaims(gang) == 0);
    PostJob elsewhere = make_train_job(2, 13);
    elsewhere.legs[0].constraints.exclude_providers = {provider(1), provider(2)};
    CHECK(reclaims(elsewhere) == 0);
    PostJob second = make_train_job(2, 14);
    second.legs[0].constraints.providers = {provider(2)};
    CHECK(reclaims(second) == 1);
    CHECK(market.lease(2).reclaim_at_ms != 0);
}

TEST_CASE("reclaim: a lease that ends by itself makes room at once") {
    Market market;
    run_two(market);
    market.must(make_train_job(2, 3));
    const Hash32 cheap = market.lease(1).id;
    market.work(cheap, 100);
    market.must(LeaseFinished{cheap});
    CHECK(market.job(1).state == JobState::kCompleted);
    CHECK(market.job(3).state == JobState::kMatched);
    CHECK(market.engine.find_lease(cheap)->reclaim_at_ms == 0);
}

TEST_CASE("reclaim: work done by the time of the reclaim is completed") {
    Market market;
    run_two(market);
    market.must(make_train_job(2, 3));
    market.work(market.lease(1).id, 100);
    market.now_ms += 30'000;
    market.must(Tick{});
    CHECK(market.job(1).state == JobState::kCompleted);
    CHECK(market.job(3).state == JobState::kMatched);
}

}  // namespace marketplace::engine
