// SPDX-License-Identifier: Apache-2.0
#include "marketplace/api/rate_limiter.hpp"

#include <algorithm>
#include <cmath>

namespace marketplace::api {

using ledger::base::TimeMs;

void TokenBucket::refill(const Rate& rate, TimeMs now_ms) {
    if (now_ms <= at_ms_) return;
    const double waited = static_cast<double>(now_ms - at_ms_);
    tokens_ = std::min(rate.burst, tokens_ + waited * rate.per_ms);
    at_ms_ = now_ms;
}

bool TokenBucket::is_full(const Rate& rate, TimeMs now_ms) const {
    const double waited = static_cast<double>(now_ms - std::min(now_ms, at_ms_));
    return tokens_ + waited * rate.per_ms >= rate.burst;
}

RateState TokenBucket::look(const Rate& rate, TimeMs now_ms) {
    refill(rate, now_ms);
    RateState state;
    state.limit = static_cast<std::uint64_t>(rate.burst);
    state.remaining = static_cast<std::uint64_t>(std::max(0.0, tokens_));
    const auto seconds = [&](double tokens) {
        return static_cast<std::uint64_t>(std::ceil(std::max(0.0, tokens) / rate.per_ms / 1000));
    };
    state.reset_s = seconds(rate.burst - tokens_);
    state.retry_s = std::max<std::uint64_t>(1, seconds(1 - tokens_));
    return state;
}

RateState TokenBucket::take(const Rate& rate, TimeMs now_ms) {
    refill(rate, now_ms);
    const bool allowed = tokens_ >= 1;
    if (allowed) tokens_ -= 1;
    RateState state = look(rate, now_ms);
    state.allowed = allowed;
    return state;
}

TokenBucket& RateLimiter::bucket_of(const std::string& client, TimeMs now_ms) {
    if (buckets_.size() >= kClientsMax && !buckets_.contains(client)) {
        // Full again means forgotten: such a bucket says nothing.
        std::erase_if(buckets_,
                      [&](const auto& entry) { return entry.second.is_full(rate_, now_ms); });
        if (buckets_.size() >= kClientsMax) buckets_.clear();
    }
    return buckets_.try_emplace(client, rate_, now_ms).first->second;
}

RateState RateLimiter::take(const std::string& client) {
    const std::lock_guard lock(mutex_);
    const TimeMs now_ms = clock_.now_ms();
    return bucket_of(client, now_ms).take(rate_, now_ms);
}

RateState RateLimiter::look(const std::string& client) {
    const std::lock_guard lock(mutex_);
    const TimeMs now_ms = clock_.now_ms();
    return bucket_of(client, now_ms).look(rate_, now_ms);
}

}  // namespace marketplace::api
