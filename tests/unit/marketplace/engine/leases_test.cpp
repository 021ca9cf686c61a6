// SPDX-License-Identifier: Apache-2.0
#include "tests/support/market.hpp"

#include <doctest/doctest.h>

namespace marketplace::engine {

using namespace domain;
using ledger::base::ErrorCode;
using tests::buyer;
using tests::make_serve_job;
using tests::make_train_job;
using tests::Market;
using tests::provider;
using tests::UnitKind;
using tests::worker;

namespace {

/// Two workers, a funded buyer, job 1 (100 steps at 1,000) running on worker 1.
void run_job(Market& market) {
    market.deposit(buyer(1), 1'000'000);
    market.list(1, 1);
    market.list(2, 2);
    market.must(make_train_job(1, 1));
    market.start(market.lease(1).id);
}

}  // namespace

TEST_CASE("leases: unknown leases and steps out of order are refused") {
    Market market;
    run_job(market);
    const Hash32 unknown = tests::fixed<Hash32>(5);
    CHECK(market.refused(LeaseOpened{unknown, 1, {}}) == ErrorCode::not_found);
    CHECK(market.refused(LeaseStarted{unknown}) == ErrorCode::not_found);
    const Hash32 id = market.lease(1).id;
    CHECK(market.refused(LeaseOpenFailed{id, "x"}) == ErrorCode::wrong_state);
    CHECK(market.refused(LeaseFinished{id}) == ErrorCode::wrong_state);
    market.must(make_train_job(1, 2));
    const Hash32 second = market.lease(2).id;
    CHECK(market.refused(LeaseStarted{second}) == ErrorCode::wrong_state);
    CHECK(market.refused(LeaseFailed{second, "x"}) == ErrorCode::wrong_state);
    CHECK(market.refused(LeaseFinished{second}) == ErrorCode::wrong_state);
    CHECK(market.refused(LeaseCloseConfirmed{second, 0, 0, {}}) == ErrorCode::wrong_state);
    CHECK(market.refused(ClaimConfirmed{second, 1, 5, 5, 0, {}}) == ErrorCode::wrong_state);
    CHECK(market.refused(LeaseOpened{second, 5, {}}) == ErrorCode::chain_mismatch);
}

TEST_CASE("leases: the whole way, every atom accounted for") {
    Market market;
    run_job(market);
    CHECK(market.job(1).state == JobState::kRunning);
    const Hash32 id = market.lease(1).id;
    for (int segment = 0; segment < 4; ++segment)
        market.work(id, 25);
    CHECK(market.job(1).units_done == 100);
    market.must(market.full_voucher(id));
    CHECK(market.engine.leases_to_claim(9) == std::vector<Hash32>{id});
    market.must(LeaseFinished{id});
    CHECK(market.job(1).state == JobState::kCompleted);
    CHECK(market.lease(1).state == LeaseState::kClosing);
    CHECK(market.engine.leases_to_close(9).empty());  // the claim comes first
    market.must(market.full_claim(id));
    CHECK(market.engine.leases_to_close(9) == std::vector<Hash32>{id});
    market.must(market.close_of(id));
    CHECK(market.lease(1).state == LeaseState::kClosed);
    CHECK(market.engine.leases_to_close(9).empty());
    CHECK(market.engine.balance(buyer(1)).available == 900'000);
    CHECK(market.engine.balance(buyer(1)).held == 0);
    CHECK(market.engine.balance(provider(1)).earned == 99'000);
    CHECK(market.engine.reliability_bp(worker(1)) == 10'000);
}

TEST_CASE("leases: only a job with an early stop may end before its last step, paid for what ran") {
    for (const bool early : {false, true}) {
        Market market;
        market.deposit(buyer(1), 1'000'000);
        market.list(1, 1);
        auto job = make_train_job(1, 1);
        job.terms.may_end_early = early;
        market.must(job);
        const Hash32 id = market.lease(1).id;
        market.start(id);
        CHECK(market.refused(LeaseFinished{id}) == ErrorCode::wrong_state);
        market.work(id, 50);
        if (!early) {
            CHECK(market.refused(LeaseFinished{id}) == ErrorCode::wrong_state);
            continue;
        }
        market.must(LeaseFinished{id});
        CHECK(market.job(1).state == JobState::kCompleted);
        CHECK(market.job(1).units_done == 50);
        market.must(market.full_voucher(id));
        market.must(market.full_claim(id));
        market.must(market.close_of(id));
        CHECK(market.engine.find_lease(id)->refunded_atoms == 50'000);
        CHECK(market.engine.balance(buyer(1)).held == 0);
    }
}

TEST_CASE("leases: chain events seen twice change nothing") {
    Market market;
    run_job(market);
    const Hash32 id = market.lease(1).id;
    CHECK(market.must(LeaseOpened{id, 100'000, {}}).empty());
    CHECK(market.must(LeaseStarted{id}).empty());
    market.work(id, 100);
    market.must(market.full_voucher(id));
    const auto claim = market.full_claim(id);
    market.must(claim);
    CHECK(market.must(claim).empty());
    market.must(LeaseFinished{id});
    CHECK(market.must(LeaseFinished{id}).empty());
    const auto close = market.close_of(id);
    market.must(close);
    CHECK(market.must(close).empty());
    CHECK(market.must(LeaseOpened{id, 100'000, {}}).empty());
}

TEST_CASE("leases: claims and closes that do not add up are refused") {
    Market market;
    run_job(market);
    const Hash32 id = market.lease(1).id;
    market.work(id, 50);
    CHECK(market.refused(ClaimConfirmed{id, 1, 10, 10, 11, {}}) == ErrorCode::out_of_range);
    CHECK(market.refused(ClaimConfirmed{id, 1, 100'001, 100'001, 0, {}}) ==
          ErrorCode::chain_mismatch);
    CHECK(market.refused(ClaimConfirmed{id, 1, 50'000, 40'000, 0, {}}) ==
          ErrorCode::chain_mismatch);
    CHECK(market.refused(LeaseCloseConfirmed{id, 5, 99'995, {}}) == ErrorCode::chain_mismatch);
    CHECK(market.refused(LeaseCloseConfirmed{id, 0, 99'999, {}}) == ErrorCode::chain_mismatch);
}

TEST_CASE("leases: a claim of the last step closes the lease before its worker has finished") {
    Market market;
    run_job(market);
    const Hash32 id = market.lease(1).id;
    market.work(id, 100);
    market.must(market.full_voucher(id));
    market.must(market.full_claim(id));
    market.must(market.close_of(id));
    CHECK(market.engine.find_lease(id)->state == LeaseState::kClosed);
    CHECK(market.engine.find_lease(id)->close_reason == CloseReason::kCompleted);
    CHECK(market.job(1).state == JobState::kCompleted);
    CHECK(market.job(1).excluded.empty());
    CHECK(market.engine.leases_to_claim(10).empty());
    CHECK(market.engine.leases_to_close(10).empty());
    CHECK(market.engine.balance(buyer(1)).held == 0);
    // The worker's word comes late, and a request that was on its way is of no consequence.
    CHECK(market.must(LeaseFinished{id}).empty());
    market.must(LeaseCloseRequested{id, {}});
    CHECK(market.engine.find_lease(id)->state == LeaseState::kClosed);
}

TEST_CASE("leases: a lost worker's job goes on elsewhere from its last checkpoint") {
    Market market;
    run_job(market);
    const Hash32 first = market.lease(1).id;
    market.work(first, 25);
    market.work(first, 25);
    const Hash32 checkpoint = market.lease(1).checkpoint;
    const auto events = market.must(WorkerLost{worker(1)});
    CHECK(tests::count_of<Matched>(events) == 1);
    const Lease& second = market.lease(1);
    CHECK(second.id != first);
    CHECK(second.worker == worker(2));
    CHECK(second.start_units == 50);
    CHECK(second.start_checkpoint == checkpoint);
    CHECK(second.max_units == 50);
    CHECK(second.locked_atoms == 50'000);
    CHECK(market.engine.find_lease(first)->state == LeaseState::kClosing);
    CHECK(market.engine.find_lease(first)->close_reason == CloseReason::kWorkerLost);
    CHECK(market.engine.balance(buyer(1)).held == 150'000);
    // The lost worker comes back: its steps are not taken twice, nor does it get the job again.
    market.must(WorkerConnected{worker(1), provider(1)});
    CHECK(market.refused(market.next_receipt(first, 25)) == ErrorCode::lease_closed);
    market.start(second.id);
    market.work(second.id, 50);
    market.must(LeaseFinished{second.id});
    CHECK(market.job(1).state == JobState::kCompleted);
    CHECK(market.job(1).excluded == std::vector{worker(1)});
}

TEST_CASE("leases: a lease waits until the chain has room in its orders again") {
    Market market;
    run_job(market);  // the bid's volume is exactly the job's steps
    const Hash32 first = market.lease(1).id;
    market.work(first, 25);
    market.must(market.full_voucher(first));
    market.must(market.full_claim(first));
    market.work(first, 25);  // never vouched for
    market.must(WorkerLost{worker(1)});
    const Hash32 second = market.lease(1).id;
    CHECK(market.engine.leases_to_open(9).empty());
    CHECK(market.engine.leases_to_close(9) == std::vector<Hash32>{first});
    market.must(LeaseCloseRequested{first, {}});
    CHECK(market.must(LeaseCloseRequested{first, {}}).empty());
    CHECK(market.engine.leases_to_open(9) == std::vector<Hash32>{second});
    CHECK(market.refused(LeaseCloseRequested{second, {}}) == ErrorCode::wrong_state);
}

TEST_CASE("leases: a lease given up while it is opened does not block the next for ever") {
    Market market;
    market.deposit(buyer(1), 1'000'000);
    market.list(1, 1);
    market.list(2, 2);
    market.must(make_train_job(1, 1));
    const Hash32 first = market.lease(1).id;
    market.must(WorkerLost{worker(1)});
    const Hash32 second = market.lease(1).id;
    CHECK(market.engine.leases_to_open(9) == std::vector<Hash32>{first});
    market.must(LeaseOpenFailed{first, "worker_lost"});
    CHECK(market.engine.leases_to_open(9) == std::vector<Hash32>{second});
}

TEST_CASE("leases: a close somebody else requested ends the work") {
    Market market;
    run_job(market);
    const Hash32 first = market.lease(1).id;
    market.must(LeaseCloseRequested{first, {}});
    CHECK(market.engine.find_lease(first)->state == LeaseState::kClosing);
    CHECK(market.lease(1).worker == worker(2));
}

TEST_CASE("leases: a worker lost after its last receipt has completed the job") {
    Market market;
    run_job(market);
    market.work(market.lease(1).id, 100);
    market.must(WorkerLost{worker(1)});
    CHECK(market.job(1).state == JobState::kCompleted);
    CHECK(market.job(1).leases.size() == 1);
}

TEST_CASE("leases: failures back off, exclude the worker and are bounded") {
    Market market;
    market.deposit(buyer(1), 10'000'000);
    for (std::uint64_t n = 1; n <= 7; ++n)
        market.list(n, n);
    market.must(make_train_job(1, 1));
    for (std::uint64_t attempt = 1; attempt <= 6; ++attempt) {
        CAPTURE(attempt);
        REQUIRE(market.job(1).state == JobState::kMatched);
        CHECK(market.lease(1).worker == worker(attempt));
        market.start(market.lease(1).id);
        market.must(LeaseFailed{market.lease(1).id, "out_of_memory"});
        if (attempt == 6) break;
        CHECK(market.job(1).state == JobState::kOpen);
        CHECK(market.job(1).reason == "out_of_memory");
        market.now_ms += (1000ULL << (attempt - 1)) - 1;
        CHECK(market.must(Tick{}).empty());
        market.now_ms += 1;
        market.must(Tick{});
    }
    CHECK(market.job(1).state == JobState::kFailed);
    CHECK(market.job(1).reason == "attempts_used_up");
}

TEST_CASE("leases: a fault of the job from two workers fails the job") {
    Market market;
    run_job(market);
    market.must(LeaseFailed{market.lease(1).id, "data_missing"});
    market.now_ms += 1000;
    market.must(Tick{});
    REQUIRE(market.lease(1).worker == worker(2));
    market.start(market.lease(1).id);
    market.must(LeaseFailed{market.lease(1).id, "data_missing"});
    CHECK(market.job(1).state == JobState::kFailed);
    CHECK(market.job(1).reason == "data_missing");
}

TEST_CASE("leases: an open the chain refuses gives the money back and tries another ask") {
    Market market;
    market.deposit(buyer(1), 1'000'000);
    market.list(1, 1);
    market.list(2, 2, 1100);
    market.must(make_train_job(1, 1));
    const Hash32 first = market.lease(1).id;
    market.must(LeaseOpenFailed{first, "InsufficientBond"});
    CHECK(market.must(LeaseOpenFailed{first, "InsufficientBond"}).empty());
    CHECK(market.engine.find_lease(first)->state == LeaseState::kOpenFailed);
    CHECK(market.engine.balance(buyer(1)).held == 0);
    CHECK(market.refused(LeaseOpened{first, 100'000, {}}) == ErrorCode::wrong_state);
    market.now_ms += 1000;
    market.must(Tick{});
    CHECK(market.lease(1).worker == worker(2));
    // A minute later the first ask is good again, and its next lease has another id.
    market.must(LeaseOpenFailed{market.lease(1).id, "InsufficientBond"});
    market.now_ms += 60'000;
    market.must(Tick{});
    CHECK(market.lease(1).worker == worker(1));
    CHECK(market.lease(1).index == 1);
    CHECK(market.lease(1).id != first);
}

TEST_CASE("leases: a job cancelled while its lease is being opened closes it when it is open") {
    Market market;
    market.deposit(buyer(1), 1'000'000);
    market.list(1, 1);
    market.must(make_train_job(1, 1));
    const Hash32 id = market.lease(1).id;
    market.must(CancelJob{tests::fixed<JobId>(1), buyer(1)});
    CHECK(market.lease(1).state == LeaseState::kMatched);
    CHECK(market.lease(1).close_reason == CloseReason::kBuyerCancelled);
    CHECK(market.engine.leases_to_open(9) == std::vector<Hash32>{id});
    market.open(id);
    CHECK(market.lease(1).state == LeaseState::kClosing);
    CHECK(market.engine.leases_to_close(9) == std::vector<Hash32>{id});
    market.must(market.close_of(id));
    CHECK(market.engine.balance(buyer(1)).available == 1'000'000);
}

TEST_CASE("leases: a closing lease waits for the voucher over its last receipts, not for ever") {
    Market market;
    run_job(market);
    const Hash32 id = market.lease(1).id;
    market.work(id, 50);
    market.must(CancelJob{tests::fixed<JobId>(1), buyer(1)});
    CHECK(market.engine.leases_to_close(9).empty());
    market.now_ms += 30'000;
    market.must(Tick{});
    CHECK(market.engine.leases_to_close(9) == std::vector<Hash32>{id});
    market.must(market.full_voucher(id));  // late, but before the close
    CHECK(market.engine.leases_to_close(9).empty());
    CHECK(market.engine.leases_to_claim(9) == std::vector<Hash32>{id});
}

TEST_CASE("leases: the deadline ends a running job") {
    Market market;
    run_job(market);
    market.now_ms += 40'000'000;  // past the bid's expiry: an order's end, not the work's
    CHECK(market.must(Tick{}).empty());
    market.now_ms += 10'000'000;
    market.must(Tick{});
    CHECK(market.job(1).state == JobState::kExpired);
    CHECK(market.lease(1).close_reason == CloseReason::kExpired);
}

TEST_CASE("leases: a lease closed by somebody else on the chain reopens the job") {
    Market market;
    run_job(market);
    const Hash32 first = market.lease(1).id;
    market.must(market.close_of(first));
    CHECK(market.engine.find_lease(first)->state == LeaseState::kClosed);
    CHECK(market.lease(1).worker == worker(2));
}

TEST_CASE("leases: one refused leg of a serving job takes the other with it") {
    Market market;
    market.deposit(buyer(1), 1'000'000);
    market.list(1, 1, 10, UnitKind::kInputToken);
    market.list(1, 2, 10, UnitKind::kOutputToken);
    market.must(make_serve_job(1, 1));
    const Hash32 input = market.lease(1, 1).id;
    const Hash32 output = market.lease(1, 0).id;
    market.open(input);
    CHECK(market.job(1).state == JobState::kMatched);
    market.must(LeaseOpenFailed{output, "VolumeExceeded"});
    CHECK(market.job(1).state == JobState::kOpen);
    CHECK(market.engine.find_lease(input)->state == LeaseState::kClosing);
    CHECK(market.engine.find_lease(input)->close_reason == CloseReason::kProviderLeft);
}

TEST_CASE("leases: a serving job ends with both legs") {
    Market market;
    market.deposit(buyer(1), 1'000'000);
    market.list(1, 1, 10, UnitKind::kInputToken);
    market.list(1, 2, 10, UnitKind::kOutputToken);
    market.must(make_serve_job(1, 1));
    const Hash32 input = market.lease(1, 1).id;
    const Hash32 output = market.lease(1, 0).id;
    market.start(input);
    CHECK(market.job(1).state == JobState::kMatched);
    market.start(output);
    CHECK(market.job(1).state == JobState::kRunning);
    market.work(input, 500);
    market.must(CancelJob{tests::fixed<JobId>(1), buyer(1)});
    CHECK(market.engine.find_lease(output)->state == LeaseState::kClosing);
    market.work(input, 7);  // the tokens that were on their way
    CHECK(market.engine.find_lease(input)->units == 507);
}

TEST_CASE("leases: connected workers are known") {
    Market market;
    market.list(2, 2);
    market.list(1, 1);
    CHECK(market.engine.connected_workers() == std::vector{worker(2), worker(1)});
    CHECK(market.must(WorkerConnected{worker(2), provider(2)}).empty());
    market.must(WorkerLost{worker(2)});
    CHECK(market.must(WorkerLost{worker(2)}).empty());
    CHECK(market.engine.connected_workers() == std::vector{worker(1)});
}

}  // namespace marketplace::engine
