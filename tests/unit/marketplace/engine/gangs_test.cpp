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

PostJob make_gang(std::uint64_t salt, std::uint16_t size, std::uint64_t ceiling = 2000) {
    PostJob job = make_train_job(1, salt, 100, ceiling);
    job.legs[0].constraints.gang = size;
    job.legs[0].bid.volume_units = 100ULL * size;
    return job;
}

PostAsk gang_ask(std::uint64_t n, std::uint64_t price = 1000) {
    PostAsk ask = make_ask(n, n, price);
    ask.resource.max_gang = 8;
    return ask;
}

void list_gang(Market& market, std::uint64_t n, std::uint64_t price = 1000) {
    market.must(WorkerConnected{worker(n), provider(n)});
    market.must(gang_ask(n, price));
}

}  // namespace

TEST_CASE("gangs: whole or not at all, the cheapest workers") {
    Market market;
    market.deposit(buyer(1), 100'000'000);
    list_gang(market, 1, 1500);
    list_gang(market, 2, 1200);
    market.must(make_gang(1, 3));
    CHECK(market.job(1).state == JobState::kOpen);
    CHECK(market.engine.balance(buyer(1)).held == 0);
    PostAsk second = gang_ask(2, 1100);  // another ask of a worker it has already
    second.ask.salt = tests::fixed<Hash32>(20);
    market.must(second);
    CHECK(market.job(1).state == JobState::kOpen);
    list_gang(market, 3, 1900);
    CHECK(market.job(1).state == JobState::kMatched);
    REQUIRE(market.job(1).leases.size() == 3);
    CHECK(market.lease(1, 2).price_atoms == 1100);
    CHECK(market.lease(1, 1).price_atoms == 1500);
    CHECK(market.lease(1, 0).price_atoms == 1900);
    CHECK(market.lease(1, 0).max_units == 100);
    CHECK(market.engine.balance(buyer(1)).held == 450'000);
}

TEST_CASE("gangs: larger than the market they wait, and say so") {
    Market market;
    market.deposit(buyer(1), 100'000'000);
    list_gang(market, 1);
    const auto events = market.must(make_gang(1, 8));
    REQUIRE(tests::find_event<NotMatched>(events) != nullptr);
    CHECK(tests::find_event<NotMatched>(events)
              ->reasons.failed[static_cast<std::size_t>(Mismatch::kGang)] == 1);
}

TEST_CASE("gangs: the money must cover all members") {
    Market market;
    market.deposit(buyer(1), 399'999);
    CHECK(market.refused(make_gang(1, 2)) == ErrorCode::insufficient_funds);
    market.deposit(buyer(1), 1);
    market.must(make_gang(1, 2));
    market.must(EscrowWithdrawn{buyer(1), 250'000, tests::fixed<Hash32>(50), 0});
    list_gang(market, 1);
    list_gang(market, 2);
    CHECK(market.job(1).reason == "insufficient_funds");
    CHECK(market.job(1).leases.empty());
}

TEST_CASE("gangs: progress is the slowest member's, the checkpoint the first member's there") {
    Market market;
    market.deposit(buyer(1), 100'000'000);
    list_gang(market, 1, 1000);
    list_gang(market, 2, 1100);
    market.must(make_gang(1, 2));
    const Hash32 first = market.lease(1, 1).id;
    const Hash32 second = market.lease(1, 0).id;
    market.start(first);
    CHECK(market.job(1).state == JobState::kMatched);
    market.start(second);
    CHECK(market.job(1).state == JobState::kRunning);
    market.work(first, 25);
    CHECK(market.job(1).units_done == 0);
    market.work(first, 25);
    market.work(second, 25);
    CHECK(market.job(1).units_done == 25);
    CHECK(market.job(1).checkpoint == tests::fixed<Hash32>(0xc0ffee00 + 25));
    market.work(first, 50);
    market.must(LeaseFinished{first});
    CHECK(market.job(1).state == JobState::kRunning);
    CHECK(market.engine.find_lease(first)->state == LeaseState::kClosing);
    CHECK(market.engine.find_lease(second)->state == LeaseState::kRunning);
    market.work(second, 75);
    market.must(LeaseFinished{second});
    CHECK(market.job(1).state == JobState::kCompleted);
    CHECK(market.job(1).units_done == 100);
}

TEST_CASE("gangs: when one member fails all end, and the gang goes on from the common checkpoint") {
    Market market;
    market.deposit(buyer(1), 100'000'000);
    for (std::uint64_t n = 1; n <= 3; ++n)
        list_gang(market, n);
    market.must(make_gang(1, 2));
    const Hash32 first = market.lease(1, 1).id;
    const Hash32 second = market.lease(1, 0).id;
    market.start(first);
    market.start(second);
    market.work(first, 25);
    market.work(first, 25);
    market.work(second, 25);
    market.must(WorkerLost{worker(2)});
    CHECK(market.engine.find_lease(first)->close_reason == CloseReason::kProviderLeft);
    CHECK(market.engine.find_lease(second)->close_reason == CloseReason::kWorkerLost);
    REQUIRE(market.job(1).leases.size() == 4);
    CHECK(market.lease(1, 1).worker == worker(1));
    CHECK(market.lease(1, 0).worker == worker(3));
    CHECK(market.lease(1, 0).start_units == 25);
    CHECK(market.lease(1, 0).max_units == 75);
    CHECK(market.engine.reliability_bp(worker(1)) == 10'000);
    CHECK(market.engine.reliability_bp(worker(2)) == 5'000);
}

TEST_CASE("slices: the job is open again for the rest, without an attempt") {
    Market market;
    market.deposit(buyer(1), 100'000'000);
    market.must(WorkerConnected{worker(1), provider(1)});
    PostAsk ask = make_ask(1, 1);
    ask.ask.max_units = 40;
    market.must(ask);
    PostJob job = make_train_job(1, 1);
    job.legs[0].constraints.min_slice_units = 41;
    market.must(job);
    CHECK(market.job(1).state == JobState::kOpen);
    PostJob replacement = job;
    replacement.id = tests::fixed<JobId>(2);
    replacement.legs[0].bid.salt = tests::fixed<Hash32>(2);
    replacement.legs[0].constraints.min_slice_units = 30;
    market.must(AmendJob{job.id, replacement});
    CHECK(market.job(1).reason == "amended");
    for (const std::uint64_t units : {40U, 40U, 20U}) {  // the last: what is left, below the slice
        REQUIRE(market.job(2).state == JobState::kMatched);
        const Hash32 lease = market.lease(2).id;
        CHECK(market.lease(2).max_units == units);
        CHECK(market.lease(2).locked_atoms == units * 1000);
        market.start(lease);
        market.work(lease, units);
        const auto events = market.must(LeaseFinished{lease});
        if (units == 20) break;
        CHECK(tests::find_event<JobChanged>(events)->reason == "next_slice");
        market.must(market.full_voucher(lease));
    }
    CHECK(market.job(2).state == JobState::kCompleted);
    CHECK(market.job(2).attempts == 0);
    CHECK(market.job(2).leases.size() == 3);
}

TEST_CASE("units: a job may buy time of a machine, and end before it is used up") {
    Market market;
    market.deposit(buyer(1), 100'000'000);
    market.must(WorkerConnected{worker(1), provider(1)});
    PostAsk ask = make_ask(1, 1, 3'600'000, UnitKind::kGpuMs);
    ask.ask.max_units = ask.ask.volume_units = 3'600'000;
    market.must(ask);
    PostJob job = make_train_job(1, 1, 3'600'000, 4'000'000);
    job.legs[0].bid.unit_kind = UnitKind::kGpuMs;
    market.must(job);
    CHECK(market.lease(1).locked_atoms == 3'600'000);
    const Hash32 lease = market.lease(1).id;
    market.start(lease);
    market.work(lease, 1'000'000);
    CHECK(market.lease(1).amount_atoms == 1'000'000);
    market.must(LeaseFinished{lease});
    CHECK(market.job(1).state == JobState::kCompleted);
}

}  // namespace marketplace::engine
