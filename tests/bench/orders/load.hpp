// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

/// Keep-alive HTTP load over loopback from one thread, one request in flight per connection.
namespace bench {

/// Ties the calling thread to one core; a machine with one core runs everything there.
void pin_to_core(unsigned core);

/// CPU seconds of the calling thread and of the whole process.
[[nodiscard]] double thread_cpu_s();
[[nodiscard]] double process_cpu_s();

struct LoadResult {
    std::uint64_t answered = 0;  ///< with the status asked for
    std::uint64_t failed = 0;    ///< other statuses
    double seconds = 0;          ///< from the first request to the last answer
    double generator_cpu_s = 0;
    std::vector<double> latency_ms;  ///< per answer; open loop: from the time it was due
    std::size_t answer_bytes = 0;    ///< of the last answer, head and body
    std::string first_failure;       ///< head of the first other answer
};

struct LoadOptions {
    std::uint16_t port = 0;
    std::size_t connections = 64;
    double rate_per_s = 0;  ///< 0: closed loop; else request i is due at i / rate
    unsigned core = 1;
    std::string status = "HTTP/1.1 201";
};

/// Sends every request once and waits for every answer. Open loop: a request that finds no free
/// connection waits, and its wait counts (no coordinated omission).
[[nodiscard]] LoadResult run_load(std::span<const std::string> requests,
                                  const LoadOptions& options);

/// The value that a share of them (0.99) does not pass. Sorts.
[[nodiscard]] double quantile(std::vector<double>& values, double share);

}  // namespace bench
