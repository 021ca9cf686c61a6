// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <random>

namespace worker::agent {

/// Doubling waits with jitter, from a quarter of a second: at most 2 s for the first tries, because
/// a market that restarts gives its workers a short grace, then at most 15 s. Jitter keeps workers
/// that lost one market from coming back all at once.
class Backoff {
 public:
    static constexpr unsigned kPatientTries = 60;
    static constexpr std::chrono::milliseconds kPatientMax{2'000};
    static constexpr std::chrono::milliseconds kMax{15'000};

    explicit Backoff(std::uint64_t seed = std::random_device{}()) : random_(seed) {}

    std::chrono::milliseconds next() {
        using std::chrono::milliseconds;
        const milliseconds most = tries_ < kPatientTries ? kPatientMax : kMax;
        const auto full = std::min(most, milliseconds(500) * (1U << std::min(tries_, 5U)));
        ++tries_;
        const auto spread = static_cast<std::uint64_t>(full.count() / 2 + 1);
        return full / 2 + milliseconds(random_() % spread);
    }
    void reset() noexcept { tries_ = 0; }

 private:
    unsigned tries_ = 0;
    std::mt19937_64 random_;
};

}  // namespace worker::agent
