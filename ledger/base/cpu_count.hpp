// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sched.h>

#include <algorithm>
#include <thread>

namespace ledger::base {

/// Processors that this process may run on, at least 1. Fewer than the machine has where a
/// container or `taskset` holds it to some: as many threads again would only take turns.
[[nodiscard]] inline unsigned cpu_count() noexcept {
    cpu_set_t allowed;
    CPU_ZERO(&allowed);
    if (::sched_getaffinity(0, sizeof allowed, &allowed) == 0)
        return static_cast<unsigned>(std::max(1, CPU_COUNT(&allowed)));
    return std::max(1U, std::thread::hardware_concurrency());  // more than 1024 of them
}

}  // namespace ledger::base
