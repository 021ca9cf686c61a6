// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>

namespace http_bench {

/// What `wrk` measured.
struct Load {
    double requests_per_s = 0;
    double requests = 0;
    double p50_ms = 0;
    double p99_ms = 0;
    double errors = 0;  ///< of sockets, and answers that are not 2xx
};

/// Drives the small route with so many connections from the client's core. Empty when wrk is not
/// installed or said something else than it does.
[[nodiscard]] std::optional<Load> drive(std::uint16_t port, unsigned connections, double seconds);

}  // namespace http_bench
