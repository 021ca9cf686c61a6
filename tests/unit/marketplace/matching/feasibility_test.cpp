// SPDX-License-Identifier: Apache-2.0
#include "marketplace/matching/feasibility.hpp"

#include "tests/support/market.hpp"

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

TEST_CASE("feasibility: the nearest miss is the best of those that fail at a test") {
    auto ask = tests::make_ask(1, 1, 9);
    ask.resource.vram_mib = 4096;
    const domain::Hash32 id;
    const Offer offer{id, ask.ask, ask.resource, 10, true, 10'000, nullptr};
    domain::Mismatches reasons;
    count_mismatch(reasons, Mismatch::kVram, offer);
    CHECK(reasons.nearest_of(Mismatch::kPrice) == 0);
    CHECK(reasons.nearest_of(Mismatch::kVram) == 4096);
    count_mismatch(reasons, Mismatch::kPrice, offer);
    ask.ask.price_atoms = 7;
    ask.resource.vram_mib = 2048;
    count_mismatch(reasons, Mismatch::kPrice, offer);
    count_mismatch(reasons, Mismatch::kVram, offer);
    CHECK(reasons.nearest_of(Mismatch::kPrice) == 7);
    CHECK(reasons.nearest_of(Mismatch::kVram) == 4096);
    CHECK(reasons.asks == 4);
}

TEST_CASE("feasibility: a ramp rises from its start price to the ceiling, and no further") {
    auto leg = tests::make_leg(1, 1, ledger::eth::UnitKind::kTrainingStep, 1000, 10);
    CHECK(offered_price(leg.bid, leg.constraints, 0) == 1000);
    leg.constraints.ramp_from_atoms = 100;
    leg.constraints.ramp_start_s = 10;
    leg.constraints.ramp_end_s = 20;
    CHECK(offered_price(leg.bid, leg.constraints, 9'000) == 100);
    CHECK(offered_price(leg.bid, leg.constraints, 15'000) == 550);
    CHECK(offered_price(leg.bid, leg.constraints, 30'000) == 1000);
    for (std::uint64_t price = 101; price <= 1000; price += 7) {
        const TimeMs at = offers_from(leg.bid, leg.constraints, price);
        CHECK(offered_price(leg.bid, leg.constraints, at) >= price);
        CHECK(offered_price(leg.bid, leg.constraints, at - 1) < price);
    }
}

}  // namespace marketplace::matching
