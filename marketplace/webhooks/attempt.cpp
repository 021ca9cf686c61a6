// SPDX-License-Identifier: Apache-2.0
#include "marketplace/webhooks/attempt.hpp"

#include <algorithm>
#include <array>

namespace marketplace::webhooks {
namespace {

constexpr TimeMs kSecondMs = 1000;
constexpr TimeMs kMinuteMs = 60 * kSecondMs;
constexpr TimeMs kHourMs = 60 * kMinuteMs;
constexpr std::array<TimeMs, 9> kDelaysMs = {5 * kSecondMs, 5 * kMinuteMs, 30 * kMinuteMs,
                                             2 * kHourMs,   5 * kHourMs,   10 * kHourMs,
                                             14 * kHourMs,  20 * kHourMs,  24 * kHourMs};
constexpr std::uint32_t kGoneStatus = 410;

}  // namespace

Failure failure_of_status(std::uint32_t status) noexcept {
    if (status / 100 == 2) return Failure::kNone;
    return status / 100 == 3 ? Failure::kRedirect : Failure::kStatus;
}

TimeMs next_attempt_ms(std::uint32_t attempts, std::uint64_t retry_after_s, TimeMs now_ms,
                       std::uint64_t random) noexcept {
    if (attempts == 0 || attempts > kDelaysMs.size()) return 0;
    const TimeMs usual = kDelaysMs.at(attempts - 1);
    const TimeMs fifth = usual / 5;
    const TimeMs jittered = usual - fifth + random % (2 * fifth + 1);
    const TimeMs wished = std::min<std::uint64_t>(retry_after_s, kDayMs / kSecondMs) * kSecondMs;
    return now_ms + std::max(jittered, wished);
}

void note_attempt(Endpoint& endpoint, Delivery& delivery, const Outcome& outcome, TimeMs now_ms,
                  std::uint64_t random) {
    ++delivery.attempts;
    delivery.last_attempt_ms = now_ms;
    delivery.last_status = outcome.status;
    delivery.last_failure = outcome.failure;
    if (outcome.failure == Failure::kNone) {
        delivery.state = DeliveryState::kDelivered;
        delivery.next_attempt_ms = 0;
        endpoint.failing_since_ms = 0;
        return;
    }
    delivery.next_attempt_ms =
        next_attempt_ms(delivery.attempts, outcome.retry_after_s, now_ms, random);
    if (delivery.next_attempt_ms == 0) delivery.state = DeliveryState::kFailed;
    if (endpoint.failing_since_ms == 0) endpoint.failing_since_ms = now_ms;
    if (outcome.status == kGoneStatus)
        endpoint.disabled = Disabled::kGone;
    else if (now_ms >= endpoint.failing_since_ms + kDisableAfterMs)
        endpoint.disabled = Disabled::kFailing;
}

void redeliver(Delivery& delivery, TimeMs now_ms) {
    delivery.state = DeliveryState::kPending;
    delivery.attempts = 0;
    delivery.next_attempt_ms = now_ms;
}

}  // namespace marketplace::webhooks
