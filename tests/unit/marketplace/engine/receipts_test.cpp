// SPDX-License-Identifier: Apache-2.0
#include "tests/support/market.hpp"

#include <doctest/doctest.h>

namespace marketplace::engine {

using namespace domain;
using ledger::base::ErrorCode;
using tests::buyer;
using tests::make_train_job;
using tests::Market;
using tests::worker;

namespace {

/// Job 1 (100 steps at 1,000) running; its lease.
Hash32 run_job(Market& market) {
    market.deposit(buyer(1), 1'000'000);
    market.list(1, 1);
    market.must(make_train_job(1, 1));
    market.start(market.lease(1).id);
    return market.lease(1).id;
}

}  // namespace

TEST_CASE("receipts: refused in the order of the checks") {
    Market market;
    const Hash32 id = run_job(market);
    market.work(id, 10);
    const auto refused = [&market, &id](auto change) {
        SubmitReceipt command = market.next_receipt(id, 10);
        change(command.receipt);
        return market.refused(command);
    };
    using ledger::eth::Receipt;
    CHECK(refused([](Receipt& r) { r.sequence = 0; }) == ErrorCode::invalid_field);
    CHECK(refused([](Receipt& r) { r.cumulative_units = 1ULL << 60; }) ==
          ErrorCode::invalid_quantity);
    CHECK(refused([](Receipt& r) { r.start_ms = r.end_ms + 1; }) == ErrorCode::invalid_window);
    CHECK(refused([](Receipt& r) { r.lease = {}; }) == ErrorCode::not_found);
    CHECK(refused([](Receipt& r) { r.sequence = 3; }) == ErrorCode::receipt_out_of_order);
    CHECK(refused([](Receipt& r) { r.previous = {}; }) == ErrorCode::receipt_out_of_order);
    CHECK(refused([](Receipt& r) { r.unit_kind = tests::UnitKind::kGpuMs; }) ==
          ErrorCode::invalid_field);
    CHECK(refused([](Receipt& r) { r.price_atoms = 999; }) == ErrorCode::invalid_field);
    CHECK(refused([](Receipt& r) { r.cumulative_units = 10; }) == ErrorCode::invalid_quantity);
    CHECK(refused([](Receipt& r) { r.cumulative_units = 101; }) == ErrorCode::invalid_quantity);
    CHECK(refused([](Receipt& r) { r.cumulative_amount_atoms += 1; }) == ErrorCode::invalid_field);
}

TEST_CASE("receipts: tokens that come late do not keep their lease from closing") {
    Market market;
    market.deposit(buyer(1), 1'000'000);
    market.list(1, 1, 10, tests::UnitKind::kInputToken);
    market.list(1, 2, 10, tests::UnitKind::kOutputToken);
    market.must(tests::make_serve_job(1, 1));
    const Hash32 id = market.lease(1, 1).id;
    market.start(id);
    market.work(id, 500);
    market.must(market.full_voucher(id));
    market.must(CancelJob{tests::fixed<JobId>(1), buyer(1)});
    market.must(market.full_claim(id));
    CHECK(market.engine.leases_to_close(9) == std::vector<Hash32>{id});
    market.work(id, 200'000);  // never vouched for
    CHECK(market.engine.leases_to_close(9).empty());
    market.now_ms += 30'000;
    market.must(Tick{});
    CHECK(market.engine.leases_to_close(9) == std::vector<Hash32>{id});
    CHECK(market.refused(market.next_receipt(id, 1)) == ErrorCode::lease_closed);
}

TEST_CASE("receipts: none before the worker is ready") {
    Market market;
    market.deposit(buyer(1), 1'000'000);
    market.list(1, 1);
    market.must(make_train_job(1, 1));
    const Hash32 id = market.lease(1).id;
    CHECK(market.refused(market.next_receipt(id, 1)) == ErrorCode::wrong_state);
    market.open(id);
    CHECK(market.refused(market.next_receipt(id, 1)) == ErrorCode::wrong_state);
    CHECK(market.refused(market.full_voucher(id)) == ErrorCode::voucher_not_higher);
}

TEST_CASE("receipts: a repeat is answered again, its chain and root are kept") {
    Market market;
    const Hash32 id = run_job(market);
    const SubmitReceipt first = market.next_receipt(id, 10);
    const auto events = market.must(first);
    REQUIRE(tests::find_event<ReceiptAccepted>(events) != nullptr);
    CHECK(market.must(first).empty());
    const SubmitReceipt second = market.next_receipt(id, 15);
    market.must(second);
    CHECK(market.must(first).empty());
    ledger::log::CompactTree tree;
    for (const auto& command : {first, second}) {
        const Hash32 hash = struct_hash(command.receipt);
        tree.append_data({hash.data(), Hash32::kSize});
    }
    CHECK(market.lease(1).receipts_root == tree.root());
    CHECK(market.lease(1).last_receipt == struct_hash(second.receipt));
    CHECK(market.lease(1).units == 25);
    CHECK(market.job(1).units_done == 25);
    CHECK(market.job(1).checkpoint == second.receipt.response_hash);
}

TEST_CASE("vouchers: refused unless they are the receipts' own totals, and higher") {
    Market market;
    const Hash32 id = run_job(market);
    market.work(id, 10);
    market.work(id, 10);
    const auto refused = [&market, &id](auto change) {
        RecordVoucher command = market.full_voucher(id);
        change(command.voucher);
        return market.refused(command);
    };
    using ledger::eth::Voucher;
    CHECK(refused([](Voucher& v) { v.lease = {}; }) == ErrorCode::not_found);
    CHECK(refused([](Voucher& v) { v.sequence = 0; }) == ErrorCode::voucher_not_higher);
    CHECK(refused([](Voucher& v) { v.cumulative_amount_atoms = 100'001; }) ==
          ErrorCode::voucher_above_lock);
    CHECK(refused([](Voucher& v) { v.sequence = 3; }) == ErrorCode::receipt_out_of_order);
    CHECK(refused([](Voucher& v) { v.sequence = 1; }) == ErrorCode::invalid_field);
    CHECK(refused([](Voucher& v) { v.cumulative_units = 19; }) == ErrorCode::invalid_field);
    CHECK(refused([](Voucher& v) { v.cumulative_amount_atoms = 19'999; }) ==
          ErrorCode::invalid_field);
    CHECK(refused([](Voucher& v) { v.receipts_root = {}; }) == ErrorCode::invalid_field);
    const RecordVoucher voucher = market.full_voucher(id);
    CHECK(tests::count_of<VoucherAccepted>(market.must(voucher)) == 1);
    CHECK(market.must(voucher).empty());
    CHECK(*market.engine.best_voucher(id) == voucher);
    CHECK(refused([](Voucher& v) { v.cumulative_units = 5; }) == ErrorCode::voucher_not_higher);
}

TEST_CASE("vouchers: one over earlier receipts is taken, the rest stays uncovered") {
    Market market;
    const Hash32 id = run_job(market);
    market.work(id, 10);
    const RecordVoucher early = market.full_voucher(id);
    market.work(id, 10);
    market.must(early);
    CHECK(market.lease(1).voucher_amount_atoms == 10'000);
    CHECK(market.lease(1).amount_atoms == 20'000);
    market.must(market.full_claim(id));
    CHECK(market.engine.leases_to_claim(9).empty());
    market.must(market.full_voucher(id));
    CHECK(market.engine.leases_to_claim(9).size() == 1);
    CHECK_FALSE(market.engine.best_voucher({}).has_value());
}

TEST_CASE("receipts: two of one sequence end the lease, and the evidence is recorded once") {
    Market market;
    market.deposit(tests::buyer(1), 1'000'000);
    market.list(1, 1);
    market.list(2, 2);
    market.must(tests::make_train_job(1, 5));
    const Hash32 id = market.lease(5).id;
    market.start(id);
    market.work(id, 25);
    market.must(market.full_voucher(id));
    const Hash32 first = market.engine.find_lease(id)->last_receipt;

    SubmitReceipt other = market.next_receipt(id, 25);
    other.receipt.sequence = 1;
    const auto events = market.must(other);
    const auto* found = tests::find_event<ReceiptEquivocated>(events);
    REQUIRE(found != nullptr);
    CHECK(*found == ReceiptEquivocated{id, 1, first, struct_hash(other.receipt)});
    CHECK(market.engine.find_lease(id)->state == LeaseState::kClosing);
    CHECK(market.engine.find_lease(id)->close_reason == CloseReason::kWorkerFailed);
    // What was vouched for is still claimed; the job goes on with another worker.
    CHECK(market.engine.leases_to_claim(9) == std::vector<Hash32>{id});
    CHECK(market.lease(5).worker == tests::worker(2));
    CHECK(market.engine.find_lease(id)->sequence == 1);

    other.receipt.end_ms += 1;
    CHECK(market.refused(other) == ErrorCode::receipt_equivocation);
}

TEST_CASE(
    "receipts: a serving job whose tokens are used up is done when the claim closes its lease") {
    Market market;
    market.deposit(buyer(1), 10'000'000);
    market.list(1, 1, 1000, tests::UnitKind::kInputToken);
    market.list(1, 2, 1000, tests::UnitKind::kOutputToken);
    market.must(tests::make_serve_job(1, 5, /*tokens=*/1000));
    const Hash32 input = market.lease(5, 1).id;
    for (const Hash32& id : {input, market.lease(5).id})
        market.start(id);
    market.work(input, 1000);
    market.must(market.full_voucher(input));
    market.must(market.full_claim(input));
    market.must(market.close_of(input));
    CHECK(market.engine.find_lease(input)->close_reason == CloseReason::kCompleted);
    CHECK(market.job(5).state == JobState::kCompleted);
    CHECK(market.job(5).excluded.empty());
}

}  // namespace marketplace::engine
