// SPDX-License-Identifier: Apache-2.0
#include "tests/support/market.hpp"

#include <doctest/doctest.h>

namespace marketplace::engine {

using namespace domain;
using ledger::base::ErrorCode;
using tests::buyer;
using tests::make_ask;
using tests::make_serve_job;
using tests::make_train_job;
using tests::Market;
using tests::provider;
using tests::worker;

TEST_CASE("orders: the clock never goes back") {
    Market market;
    market.deposit(buyer(1), 10);
    market.now_ms -= 1;
    CHECK(market.refused(Tick{}) == ErrorCode::clock_backwards);
}

TEST_CASE("orders: asks are refused in the order of the checks") {
    Market market;
    const auto refused = [&market](auto change) {
        PostAsk ask = make_ask(1, 1);
        change(ask);
        return market.refused(ask);
    };
    CHECK(refused([](PostAsk& a) { a.ask.price_atoms = 0; }) == ErrorCode::invalid_price);
    CHECK(refused([](PostAsk& a) { a.ask.price_atoms = 1ULL << 51; }) == ErrorCode::invalid_price);
    CHECK(refused([](PostAsk& a) { a.ask.max_units = 0; }) == ErrorCode::invalid_quantity);
    CHECK(refused([](PostAsk& a) { a.ask.volume_units = 1ULL << 63; }) ==
          ErrorCode::invalid_quantity);
    CHECK(refused([](PostAsk& a) { a.ask.min_units = a.ask.max_units + 1; }) ==
          ErrorCode::invalid_quantity);
    CHECK(refused([](PostAsk& a) { a.ask.earliest_s = a.ask.expiry_s; }) ==
          ErrorCode::invalid_window);
    CHECK(refused([](PostAsk& a) { a.ask.provider = {}; }) == ErrorCode::invalid_field);
    CHECK(refused([](PostAsk& a) { a.ask.matcher = buyer(9); }) == ErrorCode::invalid_field);
    CHECK(refused([](PostAsk& a) { a.resource.gpu_model = ""; }) == ErrorCode::out_of_range);
    CHECK(refused([](PostAsk& a) { a.resource.region.assign(65, 'x'); }) ==
          ErrorCode::out_of_range);
    CHECK(refused([](PostAsk& a) { a.resource.worker = {}; }) == ErrorCode::invalid_field);
    CHECK(refused([](PostAsk& a) { a.ask.expiry_s = tests::kStartS; }) == ErrorCode::expired);
}

TEST_CASE("orders: an ask posted again is answered again, changed or closed it is refused") {
    Market market;
    const PostAsk ask = make_ask(1, 1);
    CHECK(tests::count_of<AskAccepted>(market.must(ask)) == 1);
    const Hash32 before = market.engine.state_hash();
    CHECK(market.must(ask).empty());
    CHECK(market.engine.state_hash() == before);
    PostAsk other = ask;
    other.resource.vram_mib = 1;
    CHECK(market.refused(other) == ErrorCode::exists_with_different_body);
    market.must(CancelAsk{struct_hash(ask.ask), provider(1)});
    CHECK(market.refused(ask) == ErrorCode::replayed_order);
}

TEST_CASE("orders: asks are cancelled by their provider, once") {
    Market market;
    const Hash32 id = market.list(1, 1);
    CHECK(market.refused(CancelAsk{tests::fixed<Hash32>(5), provider(1)}) == ErrorCode::not_found);
    CHECK(market.refused(CancelAsk{id, provider(2)}) == ErrorCode::forbidden);
    CHECK(tests::find_event<AskClosed>(market.must(CancelAsk{id, provider(1)}))->reason ==
          "cancelled");
    CHECK(market.refused(CancelAsk{id, provider(1)}) == ErrorCode::already_cancelled);
    CHECK_FALSE(market.engine.find_ask(id)->open);
}

TEST_CASE("orders: jobs are refused in the order of the checks") {
    Market market;
    market.deposit(buyer(1), 1'000'000);
    const auto refused = [&market](auto change) {
        PostJob job = make_train_job(1, 1);
        change(job);
        return market.refused(job);
    };
    CHECK(refused([](PostJob& j) { j.legs.clear(); }) == ErrorCode::invalid_field);
    CHECK(refused([](PostJob& j) { j.terms.total_units = 0; }) == ErrorCode::invalid_quantity);
    CHECK(refused([](PostJob& j) { j.terms.total_units = 10'000'001; }) == ErrorCode::job_limit);
    CHECK(refused([](PostJob& j) { j.terms.segment_units = 101; }) == ErrorCode::invalid_quantity);
    CHECK(refused([](PostJob& j) { j.legs[0].bid.price_ceiling_atoms = 0; }) ==
          ErrorCode::invalid_price);
    CHECK(refused([](PostJob& j) { j.legs[0].bid.volume_units = 0; }) ==
          ErrorCode::invalid_quantity);
    CHECK(refused([](PostJob& j) { j.legs[0].bid.max_amount_atoms = 0; }) ==
          ErrorCode::invalid_quantity);
    CHECK(refused([](PostJob& j) { j.legs[0].bid.volume_units = 99; }) ==
          ErrorCode::invalid_quantity);
    CHECK(refused([](PostJob& j) { j.legs[0].bid.earliest_s = j.legs[0].bid.deadline_s; }) ==
          ErrorCode::invalid_window);
    CHECK(refused([](PostJob& j) { j.legs[0].bid.buyer = {}; }) == ErrorCode::invalid_field);
    CHECK(refused([](PostJob& j) { j.legs[0].bid.matcher = provider(3); }) ==
          ErrorCode::invalid_field);
    CHECK(refused([](PostJob& j) { j.legs[0].constraints.regions.assign(65, "r"); }) ==
          ErrorCode::out_of_range);
    CHECK(refused([](PostJob& j) { j.legs[0].bid.unit_kind = tests::UnitKind::kInputToken; }) ==
          ErrorCode::invalid_field);
    CHECK(refused([](PostJob& j) { j.delegation.emplace(); }) == ErrorCode::invalid_field);
    CHECK(refused([](PostJob& j) { j.legs[0].bid.expiry_s = tests::kStartS; }) ==
          ErrorCode::expired);
    CHECK(refused([](PostJob& j) {
              j.delegation = {buyer(1), provider(8), 3, 1, tests::kStartS + 9, 0};
          }) == ErrorCode::delegation_cap_exceeded);
    CHECK(refused([](PostJob& j) { j.legs[0].bid.price_ceiling_atoms = 10'001; }) ==
          ErrorCode::insufficient_funds);
    CHECK(market.refused(make_serve_job(2, 1)) == ErrorCode::insufficient_funds);
    PostJob swapped = make_serve_job(1, 1);
    std::swap(swapped.legs[0], swapped.legs[1]);
    CHECK(market.refused(swapped) == ErrorCode::invalid_field);
    PostJob two_buyers = make_serve_job(1, 1);
    two_buyers.legs[1].bid.buyer = buyer(2);
    CHECK(market.refused(two_buyers) == ErrorCode::invalid_field);
}

TEST_CASE("orders: the maximum amount bounds what must be available") {
    Market market;
    market.deposit(buyer(1), 500);
    PostJob job = make_train_job(1, 1);  // 100 steps at 2,000
    CHECK(market.refused(job) == ErrorCode::insufficient_funds);
    job.legs[0].bid.max_amount_atoms = 500;
    market.must(job);
}

TEST_CASE("orders: a job id and a bid count once") {
    Market market;
    market.deposit(buyer(1), 10'000'000);
    const PostJob job = make_train_job(1, 1);
    CHECK(tests::count_of<NotMatched>(market.must(job)) == 1);
    CHECK(market.must(job).empty());
    PostJob other = job;
    other.terms.flops_per_step = 5;
    CHECK(market.refused(other) == ErrorCode::exists_with_different_body);
    PostJob replay = job;
    replay.id = tests::fixed<JobId>(2);
    CHECK(market.refused(replay) == ErrorCode::replayed_order);
    // Even after its end the first answer comes again and has no effect.
    market.must(CancelJob{job.id, buyer(1)});
    CHECK(market.must(job).empty());
    CHECK(market.job(1).state == JobState::kCancelled);
}

TEST_CASE("orders: jobs are cancelled by their buyer, once") {
    Market market;
    market.deposit(buyer(1), 10'000'000);
    market.must(make_train_job(1, 1));
    CHECK(market.refused(CancelJob{tests::fixed<JobId>(9), buyer(1)}) == ErrorCode::not_found);
    CHECK(market.refused(CancelJob{tests::fixed<JobId>(1), buyer(2)}) == ErrorCode::forbidden);
    market.must(CancelJob{tests::fixed<JobId>(1), buyer(1)});
    CHECK(market.refused(CancelJob{tests::fixed<JobId>(1), buyer(1)}) ==
          ErrorCode::already_cancelled);
}

TEST_CASE("orders: an account has a limited number of open orders") {
    Market market;
    for (std::uint64_t i = 0; i < 10'000; ++i) {
        PostAsk ask = make_ask(1, 100 + i);
        ask.resource.worker = worker(i / 64 + 10);
        REQUIRE(market.apply(ask));
    }
    CHECK(market.refused(make_ask(1, 1)) == ErrorCode::rate_limited);
    CHECK(market.apply(make_ask(2, 1)));
}

TEST_CASE("orders: time closes asks and jobs") {
    Market market;
    market.deposit(buyer(1), 10'000'000);
    const Hash32 ask = market.list(1, 1, 5000);
    market.must(make_train_job(1, 1));
    CHECK(market.must(Tick{}).empty());
    market.now_ms += 40'000'000;
    CHECK(tests::find_event<JobChanged>(market.must(Tick{}))->state == JobState::kExpired);
    market.now_ms += 60'000'000;
    CHECK(tests::find_event<AskClosed>(market.must(Tick{}))->reason == "expired");
    CHECK(market.refused(CancelAsk{ask, provider(1)}) == ErrorCode::expired);
    CHECK(market.refused(CancelJob{tests::fixed<JobId>(1), buyer(1)}) == ErrorCode::wrong_state);
}

TEST_CASE("orders: escrow events count once") {
    Market market;
    const EscrowDeposited deposit{buyer(1), 100, tests::fixed<Hash32>(77), 3};
    CHECK(tests::count_of<BalanceChanged>(market.must(deposit)) == 1);
    CHECK(market.must(deposit).empty());
    const EscrowWithdrawn withdrawal{buyer(1), 30, tests::fixed<Hash32>(78), 3};
    market.must(withdrawal);
    CHECK(market.must(withdrawal).empty());
    CHECK(market.engine.balance(buyer(1)).available == 70);
    CHECK(market.refused(EscrowDeposited{buyer(1), 0, {}, 0}) == ErrorCode::invalid_quantity);
    CHECK(market.refused(EscrowDeposited{buyer(1), 1ULL << 63, {}, 0}) == ErrorCode::out_of_range);
}

TEST_CASE("orders: a withdrawal past what is free takes released money first") {
    Market market;
    market.list(1, 1);
    market.deposit(buyer(1), 200'000);
    market.must(make_train_job(1, 1));  // holds 100,000
    market.must(EscrowWithdrawn{buyer(1), 150'000, tests::fixed<Hash32>(5), 0});
    CHECK(market.engine.balance(buyer(1)).available == 0);
    market.must(LeaseOpenFailed{market.lease(1).id, "InsufficientFree"});
    CHECK(market.engine.balance(buyer(1)).available == 50'000);
}

}  // namespace marketplace::engine
