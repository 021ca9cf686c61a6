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

TEST_CASE("limits: what a bid may demand") {
    Market market;
    market.deposit(buyer(1), 100'000'000);
    const auto refused = [&market](auto change) {
        PostJob job = make_train_job(1, 1);
        change(job.legs[0].bid, job.legs[0].constraints);
        return market.refused(job);
    };
    using B = ledger::eth::Bid;
    using C = Constraints;
    CHECK(refused([](B&, C& c) { c.interconnects = {""}; }) == ErrorCode::out_of_range);
    CHECK(refused([](B&, C& c) { c.interconnects.assign(65, "nvlink"); }) ==
          ErrorCode::out_of_range);
    CHECK(refused([](B&, C& c) { c.min_reliability_bp = 10'001; }) == ErrorCode::out_of_range);
    CHECK(refused([](B&, C& c) { c.max_duration_s = 367ULL * 24 * 3600; }) ==
          ErrorCode::out_of_range);
    CHECK(refused([](B&, C& c) {
              c.providers = {provider(1), provider(2)};
              c.exclude_providers = {provider(2)};
          }) == ErrorCode::invalid_field);
    CHECK(refused([](B&, C& c) { c.gang = 0; }) == ErrorCode::invalid_quantity);
    CHECK(refused([](B&, C& c) { c.gang = 65; }) == ErrorCode::invalid_quantity);
    CHECK(refused([](B&, C& c) { c.gang = 2; }) == ErrorCode::invalid_quantity);  // volume
    CHECK(refused([](B& b, C& c) {
              c.gang = 2;
              b.volume_units = 200;
              c.min_slice_units = 50;
          }) == ErrorCode::unsupported);
    CHECK(refused([](B&, C& c) { c.min_slice_units = 101; }) == ErrorCode::invalid_quantity);
    CHECK(refused([](B&, C& c) {
              c.ramp_from_atoms = 2000;
              c.ramp_start_s = 1;
              c.ramp_end_s = 2;
          }) == ErrorCode::invalid_price);
    CHECK(refused([](B&, C& c) { c.ramp_end_s = 2; }) == ErrorCode::invalid_window);
    CHECK(refused([](B&, C& c) {
              c.ramp_from_atoms = 1000;
              c.ramp_start_s = c.ramp_end_s = tests::kStartS;
          }) == ErrorCode::invalid_window);
    CHECK(refused([](B&, C& c) {
              c.clearing = Clearing::kBatch;
              c.ramp_from_atoms = 1000;
              c.ramp_start_s = 1;
              c.ramp_end_s = 2;
          }) == ErrorCode::unsupported);
    CHECK(refused([](B& b, C& c) {
              c.clearing = Clearing::kBatch;
              c.gang = 2;
              b.volume_units = 200;
          }) == ErrorCode::unsupported);
    CHECK(refused([](B& b, C&) { b.deadline_s = UINT64_MAX; }) == ErrorCode::invalid_window);
    CHECK(refused([](B& b, C&) { b.volume_units = 1ULL << 63; }) == ErrorCode::invalid_quantity);
    CHECK(refused([](B& b, C&) { b.price_ceiling_atoms = UINT64_MAX; }) ==
          ErrorCode::invalid_price);
    CHECK(refused([](B& b, C&) { b.deadline_s = tests::kStartS; }) == ErrorCode::expired);
    PostJob slices = make_train_job(1, 1, 10'000);
    slices.legs[0].constraints.min_slice_units = 9;
    CHECK(market.refused(slices) == ErrorCode::job_limit);
    for (const auto change : {+[](BidLeg& l) { l.constraints.gang = 2; },
                              +[](BidLeg& l) { l.constraints.min_slice_units = 5; },
                              +[](BidLeg& l) { l.bid.order_class = OrderClass::kReserved; },
                              +[](BidLeg& l) { l.constraints.clearing = Clearing::kBatch; }}) {
        PostJob serving = make_serve_job(1, 1);
        change(serving.legs[1]);
        CHECK(market.refused(serving) == ErrorCode::unsupported);
    }
}

TEST_CASE("limits: what an ask may say") {
    Market market;
    const auto refused = [&market](auto change) {
        PostAsk ask = make_ask(1, 1);
        change(ask);
        return market.refused(ask);
    };
    CHECK(refused([](PostAsk& a) { a.resource.max_gang = 0; }) == ErrorCode::out_of_range);
    CHECK(refused([](PostAsk& a) { a.resource.numeric_classes = 16; }) == ErrorCode::out_of_range);
    CHECK(refused([](PostAsk& a) { a.resource.interconnect.assign(65, 'x'); }) ==
          ErrorCode::out_of_range);
    CHECK(refused([](PostAsk& a) { a.resource.buyers.assign(65, buyer(1)); }) ==
          ErrorCode::out_of_range);
    CHECK(refused([](PostAsk& a) {
              a.resource.buyers = {buyer(1)};
              a.resource.exclude_buyers = {buyer(1)};
          }) == ErrorCode::invalid_field);
    CHECK(refused([](PostAsk& a) { a.ask.expiry_s = UINT64_MAX; }) == ErrorCode::invalid_window);
}

TEST_CASE("limits: a worker has a limited number of open asks") {
    Market market;
    for (std::uint64_t i = 0; i < 64; ++i)
        market.must(make_ask(1, 100 + i));
    CHECK(market.refused(make_ask(1, 1)) == ErrorCode::rate_limited);
    // Amending one keeps their number.
    const Hash32 old = struct_hash(make_ask(1, 100).ask);
    market.must(AmendAsk{old, make_ask(1, 1)});
    CHECK(market.refused(make_ask(1, 2)) == ErrorCode::rate_limited);
}

TEST_CASE("limits: open bids are worth at most ten times the free money") {
    Market market;
    market.deposit(buyer(1), 200'000);
    for (std::uint64_t i = 1; i <= 10; ++i)
        market.must(make_train_job(1, i));  // 200,000 each
    CHECK(market.refused(make_train_job(1, 11)) == ErrorCode::insufficient_funds);
    market.must(CancelJob{tests::fixed<JobId>(4), buyer(1)});
    market.must(make_train_job(1, 11));
    CHECK(market.refused(make_train_job(1, 12)) == ErrorCode::insufficient_funds);
    market.must(AmendJob{tests::fixed<JobId>(1), make_train_job(1, 12)});
}

TEST_CASE("amend: refused in full, the old order stays") {
    Market market;
    market.deposit(buyer(1), 10'000'000);
    const Hash32 ask = market.list(1, 1);
    CHECK(market.refused(AmendAsk{tests::fixed<Hash32>(5), make_ask(1, 2)}) ==
          ErrorCode::not_found);
    CHECK(market.refused(AmendAsk{ask, make_ask(2, 2)}) == ErrorCode::forbidden);
    CHECK(market.refused(AmendAsk{ask, make_ask(1, 2, 0)}) == ErrorCode::invalid_price);
    CHECK(market.refused(AmendAsk{ask, make_ask(1, 1)}) == ErrorCode::replayed_order);
    CHECK(market.engine.find_ask(ask)->open);
    market.must(make_train_job(1, 1, 100, 500));
    const JobId job = tests::fixed<JobId>(1);
    CHECK(market.refused(AmendJob{tests::fixed<JobId>(9), make_train_job(1, 2)}) ==
          ErrorCode::not_found);
    market.deposit(buyer(2), 10'000'000);
    CHECK(market.refused(AmendJob{job, make_train_job(2, 2)}) == ErrorCode::forbidden);
    CHECK(market.refused(AmendJob{job, make_train_job(1, 1)}) ==
          ErrorCode::exists_with_different_body);
    CHECK(market.refused(AmendJob{job, make_train_job(1, 2, 100, 200'000)}) ==
          ErrorCode::insufficient_funds);
    CHECK(market.job(1).state == JobState::kOpen);
}

TEST_CASE("amend: the new order is matched in the same command, and has a new place in time") {
    Market market;
    market.deposit(buyer(1), 10'000'000);
    const Hash32 old = market.list(1, 1, 5000);
    market.must(make_train_job(1, 1));
    const PostAsk cheaper = make_ask(1, 2, 1500);
    const auto events = market.must(AmendAsk{old, cheaper});
    CHECK(tests::find_event<AskClosed>(events)->reason == "amended");
    CHECK(tests::count_of<Matched>(events) == 1);
    CHECK(market.must(AmendAsk{old, cheaper}).empty());  // the first answer again
    CHECK(market.refused(CancelAsk{old, provider(1)}) == ErrorCode::already_cancelled);
    CHECK(market.refused(AmendJob{tests::fixed<JobId>(1), make_train_job(1, 2)}) ==
          ErrorCode::wrong_state);
    market.must(make_train_job(1, 3));
    market.must(make_train_job(1, 4));
    market.must(AmendJob{tests::fixed<JobId>(3), make_train_job(1, 5)});
    CHECK(market.job(3).state == JobState::kCancelled);
    CHECK(market.job(3).reason == "amended");
    market.list(2, 6);
    CHECK(market.job(4).state == JobState::kMatched);  // older now
    CHECK(market.job(5).state == JobState::kOpen);
}

}  // namespace marketplace::engine
