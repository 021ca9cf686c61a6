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

PostJob batch_job(std::uint64_t n, std::uint64_t salt, std::uint64_t ceiling) {
    PostJob job = make_train_job(n, salt, 100, ceiling);
    job.legs[0].constraints.clearing = Clearing::kBatch;
    return job;
}

const BatchCleared& cleared(const Market::Events& events) {
    const auto* found = tests::find_event<BatchCleared>(events);
    REQUIRE(found != nullptr);
    return *found;
}

}  // namespace

TEST_CASE("batch: sealed bids wait, then all pay the highest price taken") {
    Market market;
    market.deposit(buyer(1), 100'000'000);
    market.list(1, 1, 1000);
    market.list(2, 2, 1400);
    market.must(batch_job(1, 1, 3000));
    market.must(batch_job(1, 2, 2000));
    CHECK(market.job(1).state == JobState::kOpen);
    market.now_ms += 9'999;
    CHECK(market.must(Tick{}).empty());
    market.now_ms += 1;
    const auto events = market.must(Tick{});
    CHECK(cleared(events) == BatchCleared{UnitKind::kTrainingStep, {}, 1400, 2, 2});
    CHECK(market.lease(1).price_atoms == 1400);
    CHECK(market.lease(2).price_atoms == 1400);
    CHECK(market.lease(1).worker == worker(1));  // the higher ceiling chose first
    CHECK(market.engine.balance(buyer(1)).held == 280'000);
}

TEST_CASE("batch: who cannot pay the common price drops out, and the rest is planned again") {
    Market market;
    market.deposit(buyer(1), 100'000'000);
    market.list(1, 1, 1000);
    market.list(2, 2, 1400);
    market.list(3, 3, 1100);
    PostJob picky = batch_job(1, 1, 3000);
    picky.legs[0].constraints.providers = {provider(2)};  // the dear one
    market.must(picky);
    market.must(batch_job(1, 2, 1200));
    market.must(batch_job(1, 3, 1200));
    market.now_ms += 10'000;
    const auto events = market.must(Tick{});
    CHECK(cleared(events).price_atoms == 1400);
    CHECK(cleared(events).bids == 3);
    CHECK(cleared(events).matched == 1);
    CHECK(market.job(2).state == JobState::kOpen);
    CHECK(market.job(3).state == JobState::kOpen);
    CHECK(tests::count_of<NotMatched>(events) == 2);
    // They wait for the next batch, which they have for themselves.
    market.now_ms += 10'000;
    CHECK(cleared(market.must(Tick{})).price_atoms == 1100);
    CHECK(market.job(2).state == JobState::kMatched);
    CHECK(market.job(3).state == JobState::kMatched);
}

TEST_CASE("batch: the maximum amount and the money bound the common price too") {
    Market market;
    market.deposit(buyer(1), 300'000);
    market.deposit(buyer(2), 100'000'000);
    market.list(1, 1, 1000);
    market.list(2, 2, 1400);
    PostJob picky = batch_job(2, 1, 3000);
    picky.legs[0].constraints.providers = {provider(2)};
    market.must(picky);
    PostJob bounded = batch_job(2, 2, 2500);
    bounded.legs[0].bid.max_amount_atoms = 139'999;
    market.must(bounded);
    market.must(batch_job(1, 3, 2000));
    market.must(EscrowWithdrawn{buyer(1), 160'001, tests::fixed<Hash32>(50), 0});
    market.now_ms += 10'000;
    CHECK(cleared(market.must(Tick{})).matched == 1);
    CHECK(market.job(2).state == JobState::kOpen);
    CHECK(market.job(3).state == JobState::kOpen);
}

TEST_CASE("batch: groups clear apart, each at its price") {
    Market market;
    market.deposit(buyer(1), 100'000'000);
    market.list(1, 1, 1000);
    market.list(2, 2, 1400);
    PostJob models = batch_job(1, 2, 2000);
    models.legs[0].constraints.gpu_models = {"cpu", "h100", "cpu"};
    market.must(models);
    market.must(batch_job(1, 1, 3000));
    market.now_ms += 10'000;
    const auto events = market.must(Tick{});
    CHECK(tests::count_of<BatchCleared>(events) == 2);
    CHECK(cleared(events).gpu_models.empty());  // the smaller set comes first
    CHECK(market.lease(1).price_atoms == 1000);
    CHECK(market.lease(2).price_atoms == 1400);
}

TEST_CASE("batch: a bid takes part from its start on, and can be cancelled before") {
    Market market;
    market.deposit(buyer(1), 100'000'000);
    market.list(1, 1, 1000);
    PostJob later = batch_job(1, 1, 3000);
    later.legs[0].bid.earliest_s = tests::kStartS + 15;
    market.must(later);
    market.must(batch_job(1, 2, 3000));
    market.must(CancelJob{tests::fixed<JobId>(2), buyer(1)});
    market.now_ms += 10'000;
    CHECK(market.must(Tick{}).empty());
    market.now_ms += 10'000;
    CHECK(cleared(market.must(Tick{})).matched == 1);
}

}  // namespace marketplace::engine
