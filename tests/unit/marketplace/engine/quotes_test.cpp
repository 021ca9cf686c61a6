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

TEST_CASE("quotes: what a job would get, and the most it may cost") {
    Market market;
    market.list(1, 1, 1500);
    market.list(2, 2, 1200);
    market.list(3, 3, 5000);
    const auto quote = *market.engine.quote(make_train_job(1, 1), market.now_ms);
    CHECK(quote.matches);
    CHECK(quote.candidates == 2);
    CHECK(quote.total_atoms == 120'000);
    CHECK(quote.worst_case_atoms == 200'000);
    CHECK(quote.starts_ms == market.now_ms);
    CHECK(quote.reasons.asks == 3);
    CHECK(quote.reasons.nearest_of(Mismatch::kPrice) == 5000);
}

TEST_CASE("quotes: a gang's legs are its members") {
    Market market;
    for (std::uint64_t n = 1; n <= 3; ++n) {
        market.must(WorkerConnected{worker(n), provider(n)});
        PostAsk ask = make_ask(n, n, 1000 + n);
        ask.resource.max_gang = 2;
        market.must(ask);
    }
    PostJob job = make_train_job(1, 1);
    job.legs[0].constraints.gang = 2;
    job.legs[0].bid.volume_units = 200;
    const auto quote = *market.engine.quote(job, market.now_ms);
    REQUIRE(quote.legs.size() == 2);
    CHECK(quote.candidates == 3);
    CHECK(quote.total_atoms == 200'300);
    CHECK(quote.worst_case_atoms == 400'000);
}

TEST_CASE("quotes: when it can start") {
    Market market;
    market.deposit(buyer(1), 100'000'000);
    PostJob ramp = make_train_job(2, 2, 100, 2000);
    ramp.legs[0].constraints.ramp_from_atoms = 500;
    ramp.legs[0].constraints.ramp_start_s = tests::kStartS;
    ramp.legs[0].constraints.ramp_end_s = tests::kStartS + 150;
    const auto starts = [&market](const PostJob& job) {
        return market.engine.quote(job, market.now_ms)->starts_ms;
    };
    CHECK(starts(ramp) == 0);
    market.list(1, 1);
    CHECK(starts(ramp) == market.now_ms + 50'000);
    PostJob batch = make_train_job(2, 3);
    batch.legs[0].constraints.clearing = Clearing::kBatch;
    CHECK(starts(batch) == market.now_ms + 10'000);
    PostJob busy = make_train_job(1, 1);
    busy.legs[0].constraints.max_duration_s = 70;
    market.must(busy);
    CHECK_FALSE(market.engine.quote(make_train_job(2, 4), market.now_ms)->matches);
    CHECK(starts(make_train_job(2, 4)) == market.now_ms + 70'000);
    CHECK(starts(ramp) == market.now_ms + 70'000);
    CHECK(starts(make_train_job(2, 5, 100, 900)) == 0);
}

}  // namespace marketplace::engine
