// SPDX-License-Identifier: Apache-2.0
#include "marketplace/matching/calendar.hpp"

#include <doctest/doctest.h>

namespace marketplace::matching {

TEST_CASE("calendar: an empty one is free for ever") {
    const Calendar calendar;
    CHECK(calendar.is_free(0, kForever));
    CHECK(calendar.free_from(7) == 7);
    CHECK(calendar.free_until(7) == kForever);
}

TEST_CASE("calendar: windows that touch do not overlap") {
    Calendar calendar;
    calendar.hold(10, 20);
    CHECK_FALSE(calendar.is_free(19, 21));
    CHECK_FALSE(calendar.is_free(0, 11));
    CHECK_FALSE(calendar.is_free(0, 100));
    CHECK_FALSE(calendar.is_free(12, 13));
    CHECK(calendar.is_free(0, 10));
    CHECK(calendar.is_free(20, 30));
    CHECK(calendar.is_free(15, 15));
    calendar.hold(20, 30);
    calendar.hold(0, 10);
    CHECK(calendar.free_from(5) == 30);
    CHECK(calendar.free_until(5) == 5);
    calendar.release(10, 20);
    CHECK(calendar.free_from(5) == 10);
    CHECK(calendar.free_until(10) == 20);
    CHECK(calendar.is_free(10, 20));
    CHECK(calendar.size() == 2);
}

}  // namespace marketplace::matching
