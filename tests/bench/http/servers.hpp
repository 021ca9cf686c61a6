// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tests/bench/http/child.hpp"

#include <cstdint>
#include <string>

/// The servers that are compared: each on the first core.
namespace http_bench {

inline constexpr const char* kPath = "/v1/health";

/// The market's HTTP server with one io thread, its default limits and four routes: the small JSON
/// one, a large answer (/large), a stream that never ends (/stream) and an upload (/upload).
[[nodiscard]] ChildPtr start_ours();
/// An epoll loop that answers each request with the bytes `answer`: the least that can be done.
[[nodiscard]] ChildPtr start_raw(const std::string& answer);
/// nginx, one process, with the same body and header fields. Empty when it is not installed.
[[nodiscard]] ChildPtr start_nginx();

/// One answer of the server, head and body as they are; empty when there is none.
[[nodiscard]] std::string fetch(std::uint16_t port);

}  // namespace http_bench
