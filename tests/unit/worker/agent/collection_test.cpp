// SPDX-License-Identifier: Apache-2.0
#include "worker/agent/collection.hpp"

#include <doctest/doctest.h>

using namespace worker::agent;  // NOLINT: the room under test
using ledger::settlement::LeaseState;

namespace {

constexpr std::uint64_t kWindow = 100;
constexpr std::uint64_t kExpiry = 1'000;

LeaseOnChain open_lease(std::uint64_t paid) {
    LeaseOnChain out;
    out.lease.state = LeaseState::kOpen;
    out.lease.paid_atoms = paid;
    out.lease.expiry_s = kExpiry;
    return out;
}
LeaseOnChain claimed_alone(std::uint64_t paid, std::uint64_t amount, std::uint64_t payable_at_s) {
    LeaseOnChain out = open_lease(paid);
    out.lone.amount_atoms = amount;
    out.lone.payable_at_s = payable_at_s;
    return out;
}
CollectStep step(const Earned& earned, const LeaseOnChain& on_chain, std::uint64_t now_s) {
    return next_collect_step(earned, on_chain, kWindow, now_s);
}

}  // namespace

TEST_CASE("collection: nothing is due when the chain has paid it all, in whatever state") {
    CHECK(step({0, 0}, open_lease(0), 1) == CollectStep::kNothing);
    CHECK(step({50, 50}, open_lease(50), 1) == CollectStep::kNothing);
    LeaseOnChain closed = open_lease(50);
    closed.lease.state = LeaseState::kClosed;
    CHECK(step({50, 50}, closed, 1) == CollectStep::kNothing);
    CHECK(step({51, 50}, closed, 1) == CollectStep::kTooLate);
    closed.lease.state = LeaseState::kNone;
    CHECK(step({51, 50}, closed, 1) == CollectStep::kTooLate);
}

TEST_CASE("collection: vouchers come first, also after an objection and after the expiry") {
    CHECK(step({70, 60}, open_lease(50), 1) == CollectStep::kClaimVoucher);
    CHECK(step({70, 60}, open_lease(50), kExpiry + kWindow) == CollectStep::kClaimVoucher);
    LeaseOnChain objected = open_lease(50);
    objected.lone.is_objected = true;
    CHECK(step({70, 60}, objected, 1) == CollectStep::kClaimVoucher);
    objected.lease.paid_atoms = 60;
    CHECK(step({70, 60}, objected, 1) == CollectStep::kObjected);
}

TEST_CASE("collection: receipts beyond the voucher are claimed, waited for and paid") {
    CHECK(step({70, 60}, open_lease(60), 1) == CollectStep::kClaimAlone);
    CHECK(step({70, 60}, claimed_alone(60, 70, 200), 199) == CollectStep::kWait);
    CHECK(step({70, 60}, claimed_alone(60, 70, 200), 200) == CollectStep::kPayAlone);
    CHECK(step({90, 60}, claimed_alone(60, 70, 200), 199) == CollectStep::kWait);
    // A voucher has paid what waited: more is claimed anew.
    CHECK(step({90, 80}, claimed_alone(80, 70, 200), 199) == CollectStep::kClaimAlone);
}

TEST_CASE("collection: nothing is claimed alone once a lease could be ended") {
    CHECK(step({70, 60}, open_lease(60), kExpiry + kWindow - 1) == CollectStep::kClaimAlone);
    CHECK(step({70, 60}, open_lease(60), kExpiry + kWindow) == CollectStep::kTooLate);
    LeaseOnChain closing = open_lease(60);
    closing.lease.state = LeaseState::kClosing;
    closing.final_at_s = 300;
    CHECK(step({70, 60}, closing, 299) == CollectStep::kClaimAlone);
    CHECK(step({70, 60}, closing, 300) == CollectStep::kTooLate);
}

TEST_CASE("collection: what was earned is split so that no atom is lost or counted twice") {
    const auto sum = [](const Income& income) {
        return income.settled + income.pending + income.disputed + income.failed;
    };
    CHECK(split_income({0, 0}, open_lease(0)) == Income{});
    CHECK(split_income({90, 60}, open_lease(50)) == Income{50, 40, 0, 0});
    LeaseOnChain objected = open_lease(50);
    objected.lone.is_objected = true;
    CHECK(split_income({90, 60}, objected) == Income{50, 10, 30, 0});
    objected.lease.state = LeaseState::kClosed;
    CHECK(split_income({90, 60}, objected) == Income{50, 0, 0, 40});
    for (const LeaseState state :
         {LeaseState::kNone, LeaseState::kOpen, LeaseState::kClosing, LeaseState::kClosed})
        for (const bool is_objected : {false, true})
            for (std::uint64_t paid = 0; paid <= 4; ++paid)
                for (std::uint64_t voucher = 0; voucher <= 4; ++voucher) {
                    LeaseOnChain on_chain = open_lease(paid);
                    on_chain.lease.state = state;
                    on_chain.lone.is_objected = is_objected;
                    CHECK(sum(split_income({4, voucher}, on_chain)) == 4);
                }
}
