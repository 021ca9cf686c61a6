// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/clock.hpp"

#include <cstdint>
#include <mutex>
#include <string>
#include <unordered_map>

namespace marketplace::api {

/// One token bucket per client, in a bounded table. Thread-safe.
class RateLimiter {
 public:
    static constexpr std::size_t kClientsMax = 100'000;

    RateLimiter(double per_second, double burst, const ledger::base::Clock& clock)
        : per_ms_(per_second / 1000), burst_(burst), clock_(clock) {}

    struct State {
        bool allowed = true;
        std::uint64_t limit = 0;      ///< the burst
        std::uint64_t remaining = 0;  ///< requests left now
        std::uint64_t reset_s = 0;    ///< until all are there again
        std::uint64_t retry_s = 0;    ///< until one is there, when refused
    };
    /// Takes one token.
    [[nodiscard]] State take(const std::string& client);
    /// Looks without taking.
    [[nodiscard]] State look(const std::string& client);

 private:
    struct Bucket {
        double tokens = 0;
        ledger::base::TimeMs at_ms = 0;
    };
    Bucket& refill(const std::string& client);  // with mutex_ held
    [[nodiscard]] State state_of(const Bucket& bucket) const;

    const double per_ms_;
    const double burst_;
    const ledger::base::Clock& clock_;
    std::mutex mutex_;
    std::unordered_map<std::string, Bucket> buckets_;
};

}  // namespace marketplace::api
