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

PostJob reserved_job(std::uint64_t salt, std::uint64_t from_s, std::uint64_t for_s) {
    PostJob job = make_train_job(1, salt);
    job.legs[0].bid.order_class = OrderClass::kReserved;
    job.legs[0].bid.earliest_s = tests::kStartS + from_s;
    job.legs[0].constraints.max_duration_s = for_s;
    return job;
}

void list_class(Market& market, std::uint64_t n, std::uint64_t salt, OrderClass order_class) {
    market.must(WorkerConnected{worker(n), provider(n)});
    PostAsk ask = make_ask(n, salt);
    ask.ask.order_class = order_class;
    market.must(ask);
}

}  // namespace

TEST_CASE(
    "calendar: a reserved lease holds its money and window, and opens when the window begins") {
    Market market;
    market.deposit(buyer(1), 100'000'000);
    list_class(market, 1, 1, OrderClass::kReserved);
    market.must(reserved_job(1, 100, 50));
    REQUIRE(market.job(1).state == JobState::kMatched);
    const Lease& lease = market.lease(1);
    CHECK(lease.starts_ms == (tests::kStartS + 100) * 1000);
    CHECK(lease.ends_ms == (tests::kStartS + 150) * 1000);
    CHECK(market.engine.balance(buyer(1)).held == 100'000);
    CHECK(market.engine.leases_to_open(9).empty());
    market.now_ms += 99'999;
    CHECK(market.must(Tick{}).empty());
    market.now_ms += 1;
    const auto events = market.must(Tick{});
    REQUIRE(tests::find_event<LeaseChanged>(events) != nullptr);
    CHECK(tests::find_event<LeaseChanged>(events)->state == LeaseState::kMatched);
    CHECK(market.engine.leases_to_open(9) == std::vector<Hash32>{lease.id});
}

TEST_CASE("calendar: no window is sold twice, windows beside each other are") {
    Market market;
    market.deposit(buyer(1), 100'000'000);
    list_class(market, 1, 1, OrderClass::kReserved);
    market.must(reserved_job(1, 100, 50));
    market.must(reserved_job(2, 149, 50));
    CHECK(market.job(2).state == JobState::kOpen);
    market.must(reserved_job(3, 150, 50));
    CHECK(market.job(3).state == JobState::kMatched);
    market.must(reserved_job(4, 50, 50));
    CHECK(market.job(4).state == JobState::kMatched);
    // A reservation given up before it began frees its window at once.
    market.must(CancelJob{tests::fixed<JobId>(3), buyer(1)});
    CHECK(market.job(2).state == JobState::kOpen);  // still against the first
    market.must(CancelJob{tests::fixed<JobId>(1), buyer(1)});
    CHECK(market.job(2).state == JobState::kMatched);
    const Hash32 given_up = market.lease(1).id;
    CHECK(market.engine.find_lease(given_up)->close_reason == CloseReason::kBuyerCancelled);
    REQUIRE(market.engine.leases_to_open(9).size() == 2);  // to be answered, not opened
    market.must(LeaseOpenFailed{given_up, "given_up"});
    CHECK(market.engine.leases_to_open(9).size() == 1);
}

TEST_CASE("calendar: work now ends before what is reserved") {
    Market market;
    market.deposit(buyer(1), 100'000'000);
    list_class(market, 1, 1, OrderClass::kReserved);
    list_class(market, 1, 2, OrderClass::kOnDemand);
    market.must(reserved_job(1, 100, 50));
    market.must(make_train_job(1, 2));  // until its deadline: too long
    CHECK(market.job(2).state == JobState::kOpen);
    PostJob brief = make_train_job(1, 3);
    brief.legs[0].constraints.max_duration_s = 101;
    market.must(brief);
    CHECK(market.job(3).state == JobState::kOpen);
    brief = make_train_job(1, 4);
    brief.legs[0].constraints.max_duration_s = 100;
    market.must(brief);
    CHECK(market.job(4).state == JobState::kMatched);
}

TEST_CASE("calendar: a lease ends at its longest duration and its job expires") {
    Market market;
    market.deposit(buyer(1), 100'000'000);
    market.list(1, 1);
    PostJob job = make_train_job(1, 1);
    job.legs[0].constraints.max_duration_s = 60;
    market.must(job);
    market.start(market.lease(1).id);
    market.must(make_train_job(1, 2));
    market.now_ms += 59'999;
    CHECK(market.must(Tick{}).empty());
    market.now_ms += 1;
    market.must(Tick{});
    CHECK(market.job(1).state == JobState::kExpired);
    CHECK(market.job(1).reason == "max_duration");
    CHECK(market.lease(1).close_reason == CloseReason::kExpired);
    CHECK(market.job(2).state == JobState::kMatched);
}

TEST_CASE("classes: which meet") {
    const auto meets = [](OrderClass ask, OrderClass bid) {
        Market market;
        market.deposit(buyer(1), 100'000'000);
        list_class(market, 1, 1, ask);
        PostJob job = make_train_job(1, 1);
        job.legs[0].bid.order_class = bid;
        market.must(job);
        return market.job(1).state == JobState::kMatched;
    };
    using enum OrderClass;
    for (const OrderClass bid : {kOnDemand, kStanding, kInterruptible}) {
        CHECK(meets(kOnDemand, bid));
        CHECK(meets(kStanding, bid));
        CHECK_FALSE(meets(kReserved, bid));
        CHECK_FALSE(meets(bid, kReserved));
    }
    CHECK(meets(kReserved, kReserved));
    CHECK(meets(kInterruptible, kInterruptible));
    CHECK_FALSE(meets(kInterruptible, kOnDemand));
    CHECK_FALSE(meets(kInterruptible, kStanding));
}

}  // namespace marketplace::engine
