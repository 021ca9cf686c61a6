// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>

namespace ledger::base {

/// UTC, milliseconds: the only form of time on the wire and in the database.
using TimeMs = std::uint64_t;

/// Injected wherever a decision depends on the time.
class Clock {
 public:
    virtual ~Clock() = default;
    /// Milliseconds since 1970-01-01 UTC.
    [[nodiscard]] virtual TimeMs now_ms() const = 0;
};

/// The machine's clock. Thread-safe.
class SystemClock final : public Clock {
 public:
    [[nodiscard]] TimeMs now_ms() const override {
        using std::chrono::milliseconds;
        const auto since_epoch = std::chrono::system_clock::now().time_since_epoch();
        return static_cast<TimeMs>(std::chrono::duration_cast<milliseconds>(since_epoch).count());
    }
};

}  // namespace ledger::base
