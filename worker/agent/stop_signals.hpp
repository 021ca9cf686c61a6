// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stop_token>
#include <thread>

namespace worker::agent {

/// SIGINT and SIGTERM as an event that wakes whoever waits. The first one requests a stop, the
/// second ends the process with status 130. A handler and not a blocked signal: libraries
/// (OpenBLAS) have threads before main begins, and these would take it. One object at a time.
class StopSignals {
 public:
    StopSignals();
    ~StopSignals();
    StopSignals(const StopSignals&) = delete;
    StopSignals& operator=(const StopSignals&) = delete;

    [[nodiscard]] std::stop_token token() const noexcept { return stop_.get_token(); }

 private:
    int fd_;  ///< the handler writes, the watcher reads
    std::stop_source stop_;
    std::jthread watcher_;
};

}  // namespace worker::agent
