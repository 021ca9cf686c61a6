// SPDX-License-Identifier: Apache-2.0
#include "marketplace/matching/feasibility.hpp"

#include <doctest/doctest.h>

namespace marketplace::matching {

using ledger::eth::OrderClass;

TEST_CASE("feasibility: an interruptible ask is for bids that agreed to it") {
    CHECK_FALSE(classes_meet(OrderClass::kInterruptible, OrderClass::kOnDemand));
    CHECK_FALSE(classes_meet(OrderClass::kInterruptible, OrderClass::kStanding));
    CHECK(classes_meet(OrderClass::kInterruptible, OrderClass::kInterruptible));
    CHECK(classes_meet(OrderClass::kOnDemand, OrderClass::kInterruptible));
}

TEST_CASE("feasibility: reserved meets reserved only") {
    CHECK_FALSE(classes_meet(OrderClass::kReserved, OrderClass::kOnDemand));
    CHECK_FALSE(classes_meet(OrderClass::kOnDemand, OrderClass::kReserved));
    CHECK(classes_meet(OrderClass::kReserved, OrderClass::kReserved));
}

TEST_CASE("feasibility: on-demand and standing orders meet each other") {
    CHECK(classes_meet(OrderClass::kOnDemand, OrderClass::kStanding));
    CHECK(classes_meet(OrderClass::kStanding, OrderClass::kOnDemand));
}

TEST_CASE("feasibility: the nearest price is that of asks failing by price only") {
    domain::Mismatches reasons;
    count_mismatch(reasons, Mismatch::kVram, 5);
    CHECK(reasons.cheapest_feasible_atoms == 0);
    count_mismatch(reasons, Mismatch::kPrice, 9);
    count_mismatch(reasons, Mismatch::kPrice, 7);
    CHECK(reasons.cheapest_feasible_atoms == 7);
    CHECK(reasons.asks == 3);
}

}  // namespace marketplace::matching
