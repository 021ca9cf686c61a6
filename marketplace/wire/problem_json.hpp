// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/error.hpp"

#include <string>
#include <string_view>

namespace marketplace::wire {

/// The one table from outcome to HTTP status.
[[nodiscard]] int http_status(ledger::base::ErrorCode code) noexcept;

/// RFC 9457 document: type, title, status, detail, code, help, instance (the request id).
[[nodiscard]] std::string problem_json(const ledger::base::Error& error, int status,
                                       std::string_view request_id);

/// {"error":{"message","type","param","code"}} as OpenAI's clients expect.
[[nodiscard]] std::string openai_error_json(const ledger::base::Error& error, int status);

}  // namespace marketplace::wire
