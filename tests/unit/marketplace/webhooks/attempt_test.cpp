// SPDX-License-Identifier: Apache-2.0
#include "marketplace/webhooks/attempt.hpp"

#include <doctest/doctest.h>

namespace marketplace::webhooks {
namespace {

constexpr TimeMs kNow = 1'800'000'000'000;

Outcome failed(std::uint32_t status = 500) {
    return {status, failure_of_status(status), 0};
}

}  // namespace

TEST_CASE("attempt: a receiver that is never there gets ten attempts in four days") {
    Endpoint endpoint;
    Delivery delivery;
    TimeMs now_ms = kNow;
    std::vector<TimeMs> gaps;
    while (delivery.state == DeliveryState::kPending && gaps.size() < 100) {
        note_attempt(endpoint, delivery, failed(), now_ms, 0);
        if (delivery.state == DeliveryState::kPending)
            gaps.push_back(delivery.next_attempt_ms - now_ms);
        now_ms = delivery.next_attempt_ms;
    }
    CHECK(delivery.attempts == 10);
    CHECK(delivery.state == DeliveryState::kFailed);
    CHECK(delivery.last_failure == Failure::kStatus);
    CHECK(std::is_sorted(gaps.begin(), gaps.end()));
    REQUIRE(gaps.size() == 9);
    CHECK(gaps.front() == 4000);
    CHECK(gaps.back() == kDayMs / 5 * 4);
}

TEST_CASE("attempt: jitter stays within a fifth to either side") {
    TimeMs least = UINT64_MAX;
    TimeMs most = 0;
    for (std::uint64_t random = 0; random < 10'000; ++random) {
        const TimeMs wait = next_attempt_ms(1, 0, kNow, random) - kNow;
        least = std::min(least, wait);
        most = std::max(most, wait);
    }
    CHECK(least == 4000);
    CHECK(most == 6000);
}

TEST_CASE("attempt: the receiver's Retry-After counts, up to a day") {
    CHECK(next_attempt_ms(1, 60, kNow, 0) == kNow + 60'000);
    CHECK(next_attempt_ms(1, 1, kNow, 0) == kNow + 4000);
    CHECK(next_attempt_ms(1, UINT64_MAX, kNow, 0) == kNow + kDayMs);
    CHECK(next_attempt_ms(10, 60, kNow, 0) == 0);
}

TEST_CASE("attempt: 2xx arrives, and ends a row of failures") {
    Endpoint endpoint;
    Delivery delivery;
    note_attempt(endpoint, delivery, failed(), kNow, 0);
    CHECK(endpoint.failing_since_ms == kNow);
    note_attempt(endpoint, delivery, {204, failure_of_status(204), 0}, kNow + 5000, 0);
    CHECK(delivery.state == DeliveryState::kDelivered);
    CHECK(delivery.attempts == 2);
    CHECK(delivery.last_failure == Failure::kNone);
    CHECK(endpoint.failing_since_ms == 0);
    CHECK(failure_of_status(302) == Failure::kRedirect);
    CHECK(failure_of_status(199) == Failure::kStatus);
}

TEST_CASE("attempt: an endpoint is disabled after five days without one success") {
    Endpoint endpoint;
    Delivery delivery;
    note_attempt(endpoint, delivery, failed(), kNow, 0);
    note_attempt(endpoint, delivery, failed(), kNow + kDisableAfterMs - 1, 0);
    CHECK(endpoint.disabled == Disabled::kNo);
    note_attempt(endpoint, delivery, failed(), kNow + kDisableAfterMs, 0);
    CHECK(endpoint.disabled == Disabled::kFailing);
}

TEST_CASE("attempt: 410 disables at once") {
    Endpoint endpoint;
    Delivery delivery;
    note_attempt(endpoint, delivery, failed(410), kNow, 0);
    CHECK(endpoint.disabled == Disabled::kGone);
}

TEST_CASE("attempt: a delivery that is asked for again is due and has all its attempts") {
    Endpoint endpoint;
    Delivery delivery;
    for (int i = 0; i < 10; ++i)
        note_attempt(endpoint, delivery, failed(), kNow, 0);
    REQUIRE(delivery.state == DeliveryState::kFailed);
    redeliver(delivery, kNow + 1);
    CHECK(delivery.state == DeliveryState::kPending);
    CHECK(delivery.next_attempt_ms == kNow + 1);
    note_attempt(endpoint, delivery, failed(), kNow + 1, 0);
    CHECK(delivery.state == DeliveryState::kPending);
}

}  // namespace marketplace::webhooks
