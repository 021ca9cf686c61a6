// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>

namespace marketplace::api {

/// How long requests took, per route template. Thread-safe; as many entries as there are routes.
class RequestTimes {
 public:
    /// Upper bounds of the buckets; a last one takes the rest.
    static constexpr std::array<std::uint64_t, 8> kBoundsMs = {1,   5,    25,     100,
                                                               500, 2500, 10'000, 60'000};
    struct Histogram {
        std::array<std::uint64_t, kBoundsMs.size() + 1> counts{};  ///< each its own, not summed
        std::uint64_t sum_us = 0;
    };

    void observe(const std::string& route, std::chrono::microseconds took) {
        const auto us = static_cast<std::uint64_t>(took.count());
        std::size_t bucket = 0;
        while (bucket < kBoundsMs.size() && us > kBoundsMs[bucket] * 1000)
            ++bucket;
        const std::lock_guard lock(mutex_);
        Histogram& histogram = histograms_[route.empty() ? "none" : route];
        ++histogram.counts[bucket];
        histogram.sum_us += us;
    }
    [[nodiscard]] std::map<std::string, Histogram> all() const {
        const std::lock_guard lock(mutex_);
        return histograms_;
    }

 private:
    mutable std::mutex mutex_;
    std::map<std::string, Histogram> histograms_;
};

}  // namespace marketplace::api
