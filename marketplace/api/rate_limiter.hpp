// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/clock.hpp"

#include <cstdint>
#include <mutex>
#include <string>
#include <unordered_map>

namespace marketplace::api {

/// How fast, and how many at once.
struct Rate {
    double per_ms = 0;
    double burst = 0;
};
/// What is left of a rate.
struct RateState {
    bool allowed = true;
    std::uint64_t limit = 0;      ///< the burst
    std::uint64_t remaining = 0;  ///< requests left now
    std::uint64_t reset_s = 0;    ///< until all are there again
    std::uint64_t retry_s = 0;    ///< until one is there, when refused
};

/// Requests that may still be made; full at first. Its rate is told at each call.
class TokenBucket {
 public:
    TokenBucket(const Rate& rate, ledger::base::TimeMs now_ms)
        : tokens_(rate.burst), at_ms_(now_ms) {}

    /// Takes one token.
    [[nodiscard]] RateState take(const Rate& rate, ledger::base::TimeMs now_ms);
    /// Looks without taking.
    [[nodiscard]] RateState look(const Rate& rate, ledger::base::TimeMs now_ms);
    [[nodiscard]] bool is_full(const Rate& rate, ledger::base::TimeMs now_ms) const;

 private:
    void refill(const Rate& rate, ledger::base::TimeMs now_ms);

    double tokens_;
    ledger::base::TimeMs at_ms_;
};

/// One token bucket per client, in a bounded table. Thread-safe.
class RateLimiter {
 public:
    static constexpr std::size_t kClientsMax = 100'000;

    RateLimiter(double per_second, double burst, const ledger::base::Clock& clock)
        : rate_{per_second / 1000, burst}, clock_(clock) {}

    /// Takes one token.
    [[nodiscard]] RateState take(const std::string& client);
    /// Looks without taking.
    [[nodiscard]] RateState look(const std::string& client);

 private:
    TokenBucket& bucket_of(const std::string& client,
                           ledger::base::TimeMs now_ms);  // with mutex_ held

    const Rate rate_;
    const ledger::base::Clock& clock_;
    std::mutex mutex_;
    std::unordered_map<std::string, TokenBucket> buckets_;
};

}  // namespace marketplace::api
