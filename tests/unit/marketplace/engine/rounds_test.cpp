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

TEST_CASE("rounds: jobs that become due together are tried in order of rank, not of their timers") {
    Market market;
    market.deposit(buyer(1), 100'000'000);
    PostJob low = make_train_job(1, 1, 100, 2000);
    PostJob high = make_train_job(1, 2, 100, 3000);
    low.legs[0].bid.earliest_s = tests::kStartS + 10;
    high.legs[0].bid.earliest_s = tests::kStartS + 11;
    market.must(low);
    market.must(high);
    market.list(1, 1);
    market.now_ms += 11'000;
    market.must(Tick{});
    CHECK(market.job(2).state == JobState::kMatched);
    CHECK(market.job(1).state == JobState::kOpen);
}

TEST_CASE("rounds: timers are worked off after any accepted command, after no refused one") {
    Market market;
    market.deposit(buyer(1), 100'000'000);
    const Hash32 ask = market.list(1, 1, 5000);
    market.now_ms += 100'000'000;  // past the ask's expiry
    CHECK(market.refused(CancelJob{tests::fixed<JobId>(9), buyer(1)}) == ErrorCode::not_found);
    CHECK(market.engine.find_ask(ask)->open);
    const auto events = market.must(EscrowDeposited{buyer(2), 5, tests::fixed<Hash32>(99), 0});
    REQUIRE(tests::find_event<AskClosed>(events) != nullptr);
    CHECK(tests::find_event<AskClosed>(events)->reason == "expired");
    CHECK_FALSE(market.engine.find_ask(ask)->open);
}

TEST_CASE("rounds: a bid says once per opening why nothing fits") {
    Market market;
    market.deposit(buyer(1), 100'000'000);
    market.list(1, 1, 5000);
    CHECK(tests::count_of<NotMatched>(market.must(make_train_job(1, 1))) == 1);
    market.must(WorkerConnected{worker(2), provider(2)});
    CHECK(tests::count_of<NotMatched>(market.must(make_ask(2, 2, 4000))) == 0);
    CHECK(market.engine.reasons(tests::fixed<JobId>(1), market.now_ms).asks == 2);
    CHECK(
        market.engine.reasons(tests::fixed<JobId>(1), market.now_ms).nearest_of(Mismatch::kPrice) ==
        4000);
    CHECK(market.engine.reasons(tests::fixed<JobId>(7), market.now_ms) == Mismatches{});
}

TEST_CASE("rounds: a bid short of money is tried again when money comes") {
    Market market;
    market.deposit(buyer(1), 200'000);
    market.must(make_train_job(1, 1));
    market.must(EscrowWithdrawn{buyer(1), 150'000, tests::fixed<Hash32>(50), 0});
    market.list(1, 1);
    CHECK(market.job(1).state == JobState::kOpen);
    CHECK(market.job(1).reason == "insufficient_funds");
    market.deposit(buyer(1), 49'999);
    CHECK(market.job(1).state == JobState::kOpen);
    market.deposit(buyer(1), 1);
    CHECK(market.job(1).state == JobState::kMatched);
}

TEST_CASE("rounds: a job opened again after its bid's expiry expires") {
    Market market;
    market.deposit(buyer(1), 1'000'000);
    market.list(1, 1);
    market.must(make_train_job(1, 1));
    market.start(market.lease(1).id);
    market.now_ms += 45'000'000;
    const auto events = market.must(WorkerLost{worker(1)});
    CHECK(market.job(1).state == JobState::kExpired);
    CHECK(market.job(1).reason == "expired");
}

TEST_CASE("rounds: a tick without effect leaves no trace") {
    Market with;
    Market without;
    for (Market* market : {&with, &without}) {
        market->deposit(buyer(1), 1'000'000);
        PostAsk ask = make_ask(1, 1);
        ask.ask.expiry_s = tests::kStartS + 15;
        market->must(ask);
        PostJob job = make_train_job(1, 1);
        job.legs[0].bid.order_class = OrderClass::kReserved;
        job.legs[0].bid.earliest_s = tests::kStartS + 10;
        job.legs[0].bid.expiry_s = tests::kStartS + 20;
        market->must(job);
    }
    with.now_ms += 12'000;
    REQUIRE(with.must(Tick{}).empty());
    with.now_ms += 18'000;
    without.now_ms += 30'000;
    CHECK(with.must(Tick{}) == without.must(Tick{}));
    CHECK(with.engine.state_hash() == without.engine.state_hash());
}

TEST_CASE("rounds: a ramp takes the ask when its price is reached, and pays no more than the ask") {
    Market market;
    market.deposit(buyer(1), 100'000'000);
    market.list(1, 1, 1500);
    PostJob job = make_train_job(1, 1, 100, 2000);
    auto& wants = job.legs[0].constraints;
    wants.ramp_from_atoms = 1000;
    wants.ramp_start_s = tests::kStartS;
    wants.ramp_end_s = tests::kStartS + 100;
    market.must(job);
    CHECK(market.job(1).state == JobState::kOpen);
    market.now_ms += 49'999;
    CHECK(market.must(Tick{}).empty());
    market.now_ms += 1;
    market.must(Tick{});
    REQUIRE(market.job(1).state == JobState::kMatched);
    CHECK(market.lease(1).price_atoms == 1500);
}

TEST_CASE("rounds: a cheaper ask is in reach of a ramp earlier") {
    Market market;
    market.deposit(buyer(1), 100'000'000);
    market.list(1, 1, 1900);
    PostJob job = make_train_job(1, 1, 100, 2000);
    auto& wants = job.legs[0].constraints;
    wants.ramp_from_atoms = 1000;
    wants.ramp_start_s = tests::kStartS;
    wants.ramp_end_s = tests::kStartS + 100;
    market.must(job);
    market.list(2, 2, 1300);
    market.now_ms += 30'000;
    market.must(Tick{});
    REQUIRE(market.job(1).state == JobState::kMatched);
    CHECK(market.lease(1).worker == worker(2));
}

TEST_CASE("rounds: a rising ramp ranks by its starting price") {
    Market market;
    market.deposit(buyer(1), 100'000'000);
    PostJob ramp = make_train_job(1, 1, 100, 5000);
    auto& wants = ramp.legs[0].constraints;
    wants.ramp_from_atoms = 1500;
    wants.ramp_start_s = tests::kStartS;
    wants.ramp_end_s = tests::kStartS + 100;
    market.must(ramp);
    market.must(make_train_job(1, 2, 100, 1600));
    market.list(1, 1, 1000);
    CHECK(market.job(2).state == JobState::kMatched);
    CHECK(market.job(1).state == JobState::kOpen);
}

}  // namespace marketplace::engine
