// SPDX-License-Identifier: Apache-2.0
#include "ledger/rpc/poll.hpp"

#include <algorithm>
#include <condition_variable>
#include <mutex>

namespace ledger::rpc {

base::Result<bool> poll_until(const PollOptions& options,
                              const std::function<base::Result<bool>()>& ask) {
    using std::chrono::milliseconds;
    using std::chrono::steady_clock;
    const auto deadline = steady_clock::now() + options.timeout;
    while (true) {
        TRY_ASSIGN(const bool done, ask());
        if (done) return true;
        const auto left = deadline - steady_clock::now();
        if (left <= milliseconds(0)) return false;
        const auto wait = std::min(options.every, std::chrono::ceil<milliseconds>(left));
        if (pause_for(wait, options.stop))
            return base::fail(base::ErrorCode::cancelled, "stopped while waiting");
    }
}

bool pause_for(std::chrono::milliseconds wait, const std::stop_token& stop) {
    std::mutex mutex;
    std::condition_variable_any stopped;
    std::unique_lock lock(mutex);
    stopped.wait_for(lock, stop, wait, [] { return false; });
    return stop.stop_requested();
}

}  // namespace ledger::rpc
