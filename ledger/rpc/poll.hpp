// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"

#include <chrono>
#include <functional>
#include <stop_token>

namespace ledger::rpc {

struct PollOptions {
    std::chrono::milliseconds every{250};
    std::chrono::milliseconds timeout{120'000};
    std::stop_token stop;  ///< ends the wait at once
};

/// Waits for what nobody can announce, by asking until `ask` says true: then true, and false when
/// the time is over (it is asked once more at the very end). An error of `ask` ends the wait and
/// is returned; cancelled when `stop` was requested. Blocks the calling thread.
[[nodiscard]] base::Result<bool> poll_until(const PollOptions& options,
                                            const std::function<base::Result<bool>()>& ask);

/// Lets `wait` pass, for tries that follow a failure; true at once when `stop` is requested.
bool pause_for(std::chrono::milliseconds wait, const std::stop_token& stop = {});

}  // namespace ledger::rpc
