// SPDX-License-Identifier: Apache-2.0
#include "tests/support/market.hpp"

#include <doctest/doctest.h>

namespace marketplace::engine {

using namespace domain;
using tests::buyer;
using tests::make_ask;
using tests::make_serve_job;
using tests::make_train_job;
using tests::Market;
using tests::provider;
using tests::UnitKind;
using tests::worker;

namespace {

/// One ask, one job with a change: the mismatch that is named.
template <typename Change>
Mismatch mismatch_of(Change change) {
    Market market;
    market.deposit(buyer(1), 1'000'000'000);
    market.must(WorkerConnected{worker(1), provider(1)});
    PostAsk ask = make_ask(1, 1);
    PostJob job = make_train_job(1, 1);
    change(ask, job);
    market.must(ask);
    const auto events = market.must(job);
    const auto* why = tests::find_event<NotMatched>(events);
    REQUIRE(why != nullptr);
    REQUIRE(why->reasons.asks == 1);
    for (std::size_t i = 0; i < kMismatchCount; ++i)
        if (why->reasons.failed[i] == 1) return static_cast<Mismatch>(i);
    return Mismatch::kCount;
}

}  // namespace

TEST_CASE("matches: each constraint that fails is named") {
    CHECK(mismatch_of([](PostAsk& a, PostJob&) { a.ask.unit_kind = UnitKind::kGpuMs; }) ==
          Mismatch::kUnitKind);
    CHECK(mismatch_of([](PostAsk& a, PostJob&) {
              a.ask.order_class = ledger::eth::OrderClass::kReserved;
          }) == Mismatch::kOrderClass);
    CHECK(mismatch_of([](PostAsk& a, PostJob&) { a.resource.worker = worker(2); }) ==
          Mismatch::kWorkerAway);
    CHECK(mismatch_of([](PostAsk& a, PostJob&) { a.ask.provider = provider(2); }) ==
          Mismatch::kWorkerAway);
    CHECK(mismatch_of([](PostAsk&, PostJob& j) {
              j.legs[0].constraints.exclude_providers = {provider(1)};
          }) == Mismatch::kExcluded);
    CHECK(mismatch_of([](PostAsk&, PostJob& j) {
              j.legs[0].constraints.providers = {provider(2)};
          }) == Mismatch::kNotAllowed);
    CHECK(mismatch_of([](PostAsk&, PostJob& j) { j.legs[0].constraints.gpu_models = {"h200"}; }) ==
          Mismatch::kGpuModel);
    CHECK(mismatch_of([](PostAsk&, PostJob& j) { j.legs[0].constraints.min_gpu_count = 2; }) ==
          Mismatch::kGpuCount);
    CHECK(mismatch_of([](PostAsk&, PostJob& j) { j.legs[0].constraints.min_vram_mib = 4097; }) ==
          Mismatch::kVram);
    // What is not told does not do, and neither does one unit less.
    CHECK(mismatch_of([](PostAsk&, PostJob& j) { j.legs[0].constraints.min_gflop_per_s = 1; }) ==
          Mismatch::kCompute);
    CHECK(mismatch_of([](PostAsk& a, PostJob& j) {
              a.resource.gflop_per_s = 900'000;
              a.resource.memory_mb_per_s = 3'349'999;
              j.legs[0].constraints.min_gflop_per_s = 900'000;
              j.legs[0].constraints.min_memory_mb_per_s = 3'350'000;
          }) == Mismatch::kMemoryBandwidth);
    CHECK(mismatch_of([](PostAsk&, PostJob& j) { j.legs[0].constraints.regions = {"eu"}; }) ==
          Mismatch::kRegion);
    CHECK(mismatch_of([](PostAsk&, PostJob& j) { j.legs[0].constraints.runtimes = {"cuda"}; }) ==
          Mismatch::kRuntime);
    CHECK(mismatch_of([](PostAsk&, PostJob& j) { j.terms.flops_per_step = 1000001; }) ==
          Mismatch::kStepTooLarge);
    CHECK(mismatch_of([](PostAsk& a, PostJob&) { a.ask.earliest_s = tests::kStartS + 1; }) ==
          Mismatch::kWindow);
    CHECK(mismatch_of([](PostAsk& a, PostJob&) { a.ask.min_units = 101; }) == Mismatch::kQuantity);
    CHECK(mismatch_of([](PostAsk& a, PostJob&) { a.ask.max_units = 99; }) == Mismatch::kQuantity);
    CHECK(mismatch_of([](PostAsk& a, PostJob&) { a.ask.volume_units = 99; }) ==
          Mismatch::kCapacity);
    CHECK(mismatch_of([](PostAsk& a, PostJob&) { a.ask.price_atoms = 2001; }) == Mismatch::kPrice);
    CHECK(mismatch_of([](PostAsk&, PostJob& j) { j.legs[0].bid.max_amount_atoms = 99'999; }) ==
          Mismatch::kPrice);
    CHECK(mismatch_of([](PostAsk& a, PostJob& j) {
              a.ask.provider = j.legs[0].bid.buyer = buyer(1);  // sells to itself
          }) == Mismatch::kWorkerAway);
}

TEST_CASE("matches: nobody trades with itself") {
    Market market;
    market.deposit(provider(1), 1'000'000'000);
    market.list(1, 1);
    PostJob job = make_train_job(1, 1);
    job.legs[0].bid.buyer = provider(1);
    const auto events = market.must(job);
    REQUIRE(tests::find_event<NotMatched>(events) != nullptr);
    CHECK(tests::find_event<NotMatched>(events)
              ->reasons.failed[static_cast<std::size_t>(Mismatch::kExcluded)] == 1);
}

TEST_CASE("matches: the nearest price is told") {
    Market market;
    market.deposit(buyer(1), 1'000'000'000);
    market.list(1, 1, 5000);
    market.list(2, 2, 3000);
    const auto events = market.must(make_train_job(1, 1));
    CHECK(tests::find_event<NotMatched>(events)->reasons.nearest_of(
              marketplace::domain::Mismatch::kPrice) == 3000);
}

TEST_CASE("matches: the cheapest ask wins at its own price, and the maximum is held") {
    Market market;
    market.deposit(buyer(1), 1'000'000);
    market.list(1, 1, 1500);
    const Hash32 cheap = market.list(2, 2, 1200);
    const auto events = market.must(make_train_job(1, 1));
    const auto* match = tests::find_event<Matched>(events);
    REQUIRE(match != nullptr);
    CHECK(match->ask_hash == cheap);
    CHECK(match->price_atoms == 1200);
    CHECK(match->max_units == 100);
    CHECK(match->locked_atoms == 120'000);
    CHECK(match->lease == lease_id(cheap, market.job(1).bid_hashes[0], 0));
    CHECK(market.engine.balance(buyer(1)).held == 120'000);
    CHECK(market.engine.balance(buyer(1)).available == 880'000);
    CHECK(market.job(1).state == JobState::kMatched);
    CHECK(market.engine.leases_to_open(9) == std::vector<Hash32>{match->lease});
    CHECK(market.lease(1).voucher_signer == buyer(1));
}

TEST_CASE("matches: at one price the reliable worker wins, then the older ask") {
    Market market;
    market.deposit(buyer(1), 100'000'000);
    market.list(1, 1);
    market.list(2, 2);
    market.must(make_train_job(1, 1));
    CHECK(market.lease(1).worker == worker(1));  // older
    market.start(market.lease(1).id);
    market.must(LeaseFailed{market.lease(1).id, "worker_failed"});
    CHECK(market.engine.reliability_bp(worker(1)) == 5000);
    market.must(make_train_job(1, 2));
    CHECK(market.lease(2).worker == worker(2));  // reliable
}

TEST_CASE("matches: a worker trains one job at a time and takes the next when it is free") {
    Market market;
    market.deposit(buyer(1), 100'000'000);
    market.list(1, 1);
    market.must(make_train_job(1, 1));
    const auto events = market.must(make_train_job(1, 2));
    CHECK(tests::find_event<NotMatched>(events)
              ->reasons.failed[static_cast<std::size_t>(Mismatch::kCapacity)] == 1);
    market.must(CancelJob{tests::fixed<JobId>(1), buyer(1)});
    CHECK(market.job(2).state == JobState::kMatched);
}

TEST_CASE("matches: the higher ceiling gets the worker that comes, at the ask's price") {
    Market market;
    market.deposit(buyer(1), 100'000'000);
    market.must(make_train_job(1, 1, 100, 2000));
    market.must(make_train_job(1, 2, 100, 3000));
    market.must(make_train_job(1, 3, 100, 3000));
    market.list(1, 1);
    CHECK(market.job(2).state == JobState::kMatched);
    CHECK(market.lease(2).price_atoms == 1000);
    CHECK(market.job(1).state == JobState::kOpen);
    CHECK(market.job(3).state == JobState::kOpen);
}

TEST_CASE("matches: orders wait for their window") {
    Market market;
    market.deposit(buyer(1), 100'000'000);
    market.must(WorkerConnected{worker(1), provider(1)});
    PostAsk ask = make_ask(1, 1);
    ask.ask.earliest_s = tests::kStartS + 10;
    market.must(ask);
    PostJob job = make_train_job(1, 1);
    job.legs[0].bid.earliest_s = tests::kStartS + 20;
    market.must(job);
    market.now_ms += 10'000;
    CHECK(market.must(Tick{}).empty());
    market.now_ms += 10'000;
    CHECK(tests::count_of<Matched>(market.must(Tick{})) == 1);
}

TEST_CASE("matches: serving takes both kinds of token from one worker or none") {
    Market market;
    market.deposit(buyer(1), 100'000'000);
    market.list(1, 1, 10, UnitKind::kInputToken);
    market.list(2, 2, 10, UnitKind::kOutputToken);
    const auto events = market.must(make_serve_job(1, 1));
    REQUIRE(tests::find_event<NotMatched>(events) != nullptr);
    CHECK(tests::find_event<NotMatched>(events)
              ->reasons.failed[static_cast<std::size_t>(Mismatch::kNotAllowed)] == 1);
    market.list(1, 3, 500, UnitKind::kOutputToken);
    CHECK(market.job(1).state == JobState::kMatched);
    REQUIRE(market.job(1).leases.size() == 2);
    CHECK(market.lease(1, 1).unit_kind == UnitKind::kInputToken);
    CHECK(market.lease(1, 0).unit_kind == UnitKind::kOutputToken);
    CHECK(market.lease(1, 1).worker == worker(1));
    CHECK(market.lease(1, 0).worker == worker(1));
    CHECK(market.engine.balance(buyer(1)).held == 510);
}

TEST_CASE("matches: serving takes the cheapest pair, many at a time") {
    Market market;
    market.deposit(buyer(1), 100'000'000);
    market.list(1, 1, 10, UnitKind::kInputToken);
    market.list(1, 2, 900, UnitKind::kOutputToken);
    market.list(2, 3, 300, UnitKind::kInputToken);
    market.list(2, 4, 300, UnitKind::kOutputToken);
    market.must(make_serve_job(1, 1));
    market.must(make_serve_job(1, 2));
    CHECK(market.lease(1).worker == worker(2));
    CHECK(market.lease(2).worker == worker(2));
}

TEST_CASE("matches: a delegate with the voucher scope signs vouchers") {
    Market market;
    market.deposit(buyer(1), 100'000'000);
    market.list(1, 1);
    PostJob job = make_train_job(1, 1);
    job.delegation = {buyer(1), provider(8), 2, 1'000'000'000, tests::kStartS + 99'999, 0};
    market.must(job);
    CHECK(market.lease(1).voucher_signer == provider(8));
}

TEST_CASE("matches: money that is gone keeps a job waiting, with the reason") {
    Market market;
    market.deposit(buyer(1), 200'000);
    market.must(make_train_job(1, 1));
    market.must(make_train_job(1, 2));  // funds are checked, not held, before the match
    market.list(1, 1, 2000);
    market.list(2, 2, 2000);
    CHECK(market.job(1).state == JobState::kMatched);
    CHECK(market.job(2).state == JobState::kOpen);
    CHECK(market.job(2).reason == "insufficient_funds");
    market.deposit(buyer(1), 200'000);
    CHECK(market.job(2).state == JobState::kMatched);
}

TEST_CASE("matches: a quote says what a post would get and changes nothing") {
    Market market;
    const Hash32 ask = market.list(1, 1, 1200);
    const Hash32 before = market.engine.state_hash();
    const auto quote = *market.engine.quote(make_train_job(1, 1), market.now_ms);
    CHECK(quote.matches);
    REQUIRE(quote.legs.size() == 1);
    CHECK(quote.legs[0].ask_hash == ask);
    CHECK(quote.legs[0].locked_atoms == 120'000);
    CHECK_FALSE(market.engine.quote(make_train_job(1, 1, 100, 1199), market.now_ms)->matches);
    CHECK(market.engine.quote({}, market.now_ms).error().code() == Market::Code::invalid_field);
    CHECK(market.engine.state_hash() == before);
}

}  // namespace marketplace::engine
