// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/error.hpp"

#include <cstdint>
#include <string_view>

namespace marketplace::cli {

/// Exit status of `millrace`; part of its interface.
enum class ExitCode : std::uint8_t {
    kOk = 0,
    kFailed = 1,              ///< anything not below
    kUsage = 2,               ///< wrong command, option, setting or input
    kAuth = 3,                ///< not signed in, wrong key or password, not yours
    kPayment = 4,             ///< not enough money, or above a cap
    kNoCapacity = 5,          ///< nobody offers this now
    kJobFailed = 6,           ///< the job ended without its result
    kVerificationFailed = 7,  ///< the audit, a proof or a hash does not hold
    kUnreachable = 8,         ///< market or chain does not answer
};

/// "nobody offers this now": what the man page and --explain say of it.
[[nodiscard]] std::string_view to_sentence(ExitCode code) noexcept;

[[nodiscard]] ExitCode exit_code_for(ledger::base::ErrorCode code) noexcept;

}  // namespace marketplace::cli
