// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "marketplace/http/server.hpp"

#include <string>
#include <string_view>

namespace marketplace::app {

/// Makes every line of the process's log one JSON object: time, level, message.
void log_as_json();

/// Tells of a request: method, route template, status, bytes, time, id and address. Never its
/// query, headers or body: they may hold secrets. Without `all` only the market's own faults (5xx).
void log_request(const http::AccessRecord& record, bool all);

/// The text as the inside of a JSON string: quotes, backslashes and control characters escaped.
[[nodiscard]] std::string json_escaped(std::string_view text);

}  // namespace marketplace::app
