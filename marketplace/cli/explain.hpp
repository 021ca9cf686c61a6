// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/error.hpp"

#include <nlohmann/json.hpp>

#include <string>
#include <string_view>
#include <vector>

/// What typed reasons mean, in sentences. Pure.
namespace marketplace::cli {

/// One sentence for each reason why asks do not fit, with what would change it; the most frequent
/// first. `reasons`: `mismatches` of a job, `reasons` of a quote. Unknown reasons are named.
[[nodiscard]] std::vector<std::string> explain_mismatches(const nlohmann::json& reasons);

/// The code, its exit status with its meaning, and what to do next.
[[nodiscard]] std::vector<std::string> explain_error(ledger::base::ErrorCode code);

/// The command to type next after that error: "millrace deposit AMOUNT".
[[nodiscard]] std::string_view next_command(ledger::base::ErrorCode code) noexcept;

}  // namespace marketplace::cli
