// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/clock.hpp"

#include <cstddef>
#include <limits>
#include <vector>

namespace marketplace::matching {

using ledger::base::TimeMs;

inline constexpr TimeMs kForever = std::numeric_limits<TimeMs>::max();

/// What one worker has promised: windows of exclusive work, half-open, in milliseconds, that never
/// overlap. Pure; not thread-safe.
class Calendar {
 public:
    /// Is nothing promised in [from, until)? An empty window is always free.
    [[nodiscard]] bool is_free(TimeMs from, TimeMs until) const noexcept;
    /// Promises a window that is free and not empty.
    void hold(TimeMs from, TimeMs until);
    /// Gives back exactly what was held.
    void release(TimeMs from, TimeMs until);
    /// The first moment at or after `at` with nothing promised.
    [[nodiscard]] TimeMs free_from(TimeMs at) const noexcept;
    /// The first moment at or after `at` that is promised; kForever when there is none.
    [[nodiscard]] TimeMs free_until(TimeMs at) const noexcept;
    [[nodiscard]] std::size_t size() const noexcept { return windows_.size(); }

 private:
    struct Window {
        TimeMs from = 0;
        TimeMs until = 0;
    };
    /// The first window that ends after `at`.
    [[nodiscard]] std::vector<Window>::const_iterator ending_after(TimeMs at) const noexcept;

    std::vector<Window> windows_;  // in order of time
};

}  // namespace marketplace::matching
