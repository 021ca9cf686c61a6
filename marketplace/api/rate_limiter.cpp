// SPDX-License-Identifier: Apache-2.0
#include "marketplace/api/rate_limiter.hpp"

#include <algorithm>
#include <cmath>

namespace marketplace::api {

using ledger::base::TimeMs;

RateLimiter::Bucket& RateLimiter::refill(const std::string& client) {
    const TimeMs now_ms = clock_.now_ms();
    if (buckets_.size() >= kClientsMax && !buckets_.contains(client)) {
        // Full again means forgotten: such a bucket says nothing.
        std::erase_if(buckets_, [&](const auto& entry) {
            const double waited =
                static_cast<double>(now_ms - std::min(now_ms, entry.second.at_ms));
            return entry.second.tokens + waited * per_ms_ >= burst_;
        });
        if (buckets_.size() >= kClientsMax) buckets_.clear();
    }
    const auto [found, is_new] = buckets_.try_emplace(client, Bucket{burst_, now_ms});
    Bucket& bucket = found->second;
    if (now_ms > bucket.at_ms) {
        const double waited = static_cast<double>(now_ms - bucket.at_ms);
        bucket.tokens = std::min(burst_, bucket.tokens + waited * per_ms_);
        bucket.at_ms = now_ms;
    }
    return bucket;
}

RateLimiter::State RateLimiter::state_of(const Bucket& bucket) const {
    State state;
    state.limit = static_cast<std::uint64_t>(burst_);
    state.remaining = static_cast<std::uint64_t>(std::max(0.0, bucket.tokens));
    const auto seconds = [&](double tokens) {
        return static_cast<std::uint64_t>(std::ceil(std::max(0.0, tokens) / per_ms_ / 1000));
    };
    state.reset_s = seconds(burst_ - bucket.tokens);
    state.retry_s = std::max<std::uint64_t>(1, seconds(1 - bucket.tokens));
    return state;
}

RateLimiter::State RateLimiter::take(const std::string& client) {
    const std::lock_guard lock(mutex_);
    Bucket& bucket = refill(client);
    const bool allowed = bucket.tokens >= 1;
    if (allowed) bucket.tokens -= 1;
    State state = state_of(bucket);
    state.allowed = allowed;
    return state;
}

RateLimiter::State RateLimiter::look(const std::string& client) {
    const std::lock_guard lock(mutex_);
    return state_of(refill(client));
}

}  // namespace marketplace::api
