// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "marketplace/webhooks/webhook.hpp"

namespace marketplace::webhooks {

/// How an attempt went.
struct Outcome {
    std::uint32_t status = 0;  ///< 0: there was no answer
    Failure failure = Failure::kNone;
    std::uint64_t retry_after_s = 0;  ///< what the receiver asked for; 0: nothing
};

/// What an answer's status means.
[[nodiscard]] Failure failure_of_status(std::uint32_t status) noexcept;

/// When attempt number `attempts` + 1 follows the one that failed at `now_ms`: after 5 s, 5 min,
/// 30 min, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h, each longer or shorter by up to a fifth (`random`
/// says where), but not before the receiver's own wish, a day at most. 0: no further attempt.
[[nodiscard]] TimeMs next_attempt_ms(std::uint32_t attempts, std::uint64_t retry_after_s,
                                     TimeMs now_ms, std::uint64_t random) noexcept;

/// Notes an attempt in both: delivered, tried again later or given up; the endpoint is disabled
/// after kDisableAfterMs without one success, and at once by 410.
void note_attempt(Endpoint& endpoint, Delivery& delivery, const Outcome& outcome, TimeMs now_ms,
                  std::uint64_t random);

/// A delivery is asked for again: it is due at once, and its attempts are counted anew.
void redeliver(Delivery& delivery, TimeMs now_ms);

}  // namespace marketplace::webhooks
