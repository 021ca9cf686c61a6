// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/resource.h>
#include <time.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <vector>

/// Measures for work on one core of a machine that others use too.
namespace bench {

/// Seconds this thread has computed: what others take from the core does not count, what they do to
/// the caches does.
[[nodiscard]] inline double cpu_seconds() {
    timespec now{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}
template <typename Work>
[[nodiscard]] double cpu_seconds_of(Work&& work) {
    const double begin = cpu_seconds();
    work();
    return cpu_seconds() - begin;
}

/// Seconds that all threads of this process have computed.
[[nodiscard]] inline double process_cpu_seconds() {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    const auto seconds = [](const timeval& t) {
        return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
    };
    return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

/// How often the scheduler took the core away.
[[nodiscard]] inline double interruptions() {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return static_cast<double>(usage.ru_nivcsw);
}

[[nodiscard]] inline std::uint64_t now_ns() {
    return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                          std::chrono::steady_clock::now().time_since_epoch())
                                          .count());
}

[[nodiscard]] inline double percentile(std::vector<std::uint64_t>& values, double part) {
    const auto at = static_cast<std::size_t>(part * static_cast<double>(values.size() - 1));
    std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(at),
                     values.end());
    return static_cast<double>(values[at]);
}

/// A small generator: the same numbers on every machine.
class Random {
 public:
    explicit Random(std::uint64_t seed) : state_(seed) {}
    [[nodiscard]] std::uint64_t next() noexcept {
        state_ += 0x9e37'79b9'7f4a'7c15ULL;
        std::uint64_t out = state_;
        out = (out ^ out >> 30U) * 0xbf58'476d'1ce4'e5b9ULL;
        out = (out ^ out >> 27U) * 0x94d0'49bb'1331'11ebULL;
        return out ^ out >> 31U;
    }
    [[nodiscard]] std::uint64_t below(std::uint64_t bound) noexcept { return next() % bound; }

 private:
    std::uint64_t state_;
};

}  // namespace bench
