// SPDX-License-Identifier: Apache-2.0
#include "marketplace/cli/account_statement.hpp"

#include <doctest/doctest.h>

using namespace marketplace::cli;  // NOLINT: the room under test
using ledger::audit::Balances;
using ledger::audit::Movement;
using ledger::audit::MovementKind;
using ledger::base::ErrorCode;
using ledger::base::Hash32;

namespace {

constexpr std::uint64_t kDay = 86'400;

Hash32 lease(std::uint8_t name) {
    Hash32 out;
    out.data()[31] = name;
    return out;
}

Movement move(std::uint64_t time_s, MovementKind kind, std::int64_t atoms, const Balances& after,
              std::uint8_t lease_name = 0) {
    Movement out;
    out.at.time_s = time_s;
    out.kind = kind;
    out.amount_atoms = atoms;
    out.after = after;
    if (lease_name != 0) out.lease = lease(lease_name);
    return out;
}

/// A buyer: 100 in; a lease of 40 that pays 10 + 1 and gives 29 back; another of 20, still open,
/// that has paid 5; 30 taken out.
std::vector<Movement> buyer() {
    return {
        move(1 * kDay, MovementKind::kDeposit, 100, {100, 0, 0, 0}),
        move(2 * kDay, MovementKind::kLock, -40, {60, 40, 0, 0}, 1),
        move(2 * kDay, MovementKind::kClaim, -10, {60, 40, 0, 0}, 1),
        move(2 * kDay, MovementKind::kFee, -1, {60, 40, 0, 0}, 1),
        move(3 * kDay, MovementKind::kRefund, 29, {89, 0, 0, 0}, 1),
        move(4 * kDay, MovementKind::kLock, -20, {69, 20, 0, 0}, 2),
        move(4 * kDay, MovementKind::kClaim, -5, {69, 20, 0, 0}, 2),
        move(5 * kDay, MovementKind::kWithdrawRequest, -30, {39, 20, 0, 30}),
        move(6 * kDay, MovementKind::kWithdraw, -30, {39, 20, 0, 0}),
    };
}

}  // namespace

TEST_CASE("account_statement: a sum that the balances do not hold is told") {
    auto movements = buyer();
    movements[4].after.free_atoms += 1;
    const auto made = make_statement(movements, {});
    REQUIRE_FALSE(made.has_value());
    CHECK(made.error().code() == ErrorCode::audit_failed);
    movements = buyer();
    movements.erase(movements.begin() + 2);  // a claim that nobody shows
    CHECK_FALSE(make_statement(movements, {}).has_value());
}

TEST_CASE("account_statement: days and moments, and nothing else") {
    for (const char* text : {"2027-13-01", "yesterday", "+3d", "2027-01-31T", "1"})
        CHECK_FALSE(parse_period(text, "").has_value());
    CHECK_FALSE(parse_period("2027-02-01", "2027-01-31").has_value());
    const auto period = parse_period("2027-01-31", "2027-01-31");
    REQUIRE(period.has_value());
    CHECK(period->to_s - period->from_s == kDay);
    const auto moment = parse_period("2027-01-31T08:00Z", "2027-01-31T09:30Z");
    REQUIRE(moment.has_value());
    CHECK(moment->to_s - moment->from_s == 5'400);
}

TEST_CASE("account_statement: sums of all time, an open lease's pay among them") {
    const auto made = make_statement(buyer(), {});
    REQUIRE(made.has_value());
    CHECK(made->opening_atoms == 0);
    CHECK(made->deposited_atoms == 100);
    CHECK(made->spent_atoms == 15);
    CHECK(made->fees_atoms == 1);
    CHECK(made->withdrawn_atoms == 30);
    CHECK(made->closing_atoms == 54);
    CHECK(made->movements.size() == 9);
    CHECK(made->after == Balances{39, 20, 0, 0});
}

TEST_CASE("account_statement: a period begins where the one before ended") {
    const auto first = make_statement(buyer(), {0, 3 * kDay});
    const auto second = make_statement(buyer(), {3 * kDay, 5 * kDay});
    REQUIRE(first.has_value());
    REQUIRE(second.has_value());
    CHECK(first->closing_atoms == 89);
    CHECK(second->opening_atoms == first->closing_atoms);
    CHECK(second->spent_atoms == 5);
    CHECK(second->deposited_atoms == 0);
    CHECK(second->closing_atoms == 84);
    CHECK(second->movements.size() == 3);
}

TEST_CASE("account_statement: a provider earns and sweeps") {
    const auto made = make_statement({move(1, MovementKind::kCredit, 10, {0, 0, 10, 0}, 1),
                                      move(2, MovementKind::kFeeCredit, 2, {0, 0, 12, 0}, 1),
                                      move(3, MovementKind::kSweep, -12, {0, 0, 0, 0})},
                                     {});
    REQUIRE(made.has_value());
    CHECK(made->earned_atoms == 12);
    CHECK(made->withdrawn_atoms == 12);
    CHECK(made->closing_atoms == 0);
}
