// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "marketplace/http/router.hpp"

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace marketplace::api {

/// Smaller bodies gain nothing; larger ones would hold up the other clients of their io thread.
inline constexpr std::size_t kGzipBytesMin = 1024;
inline constexpr std::size_t kGzipBytesMax = 1024 * 1024;

/// Whether the client takes gzip: Accept-Encoding names it, or "*", with a weight above 0.
[[nodiscard]] bool accepts_gzip(const http::Request& request);

/// Whether this answer goes out compressed: JSON or text in memory, of that size, to a client that
/// takes it, and not one that must not be stored (it may hold a secret next to what others chose).
[[nodiscard]] bool wants_gzip(const http::Request& request, const http::Response& response);

/// The text as a gzip member. Empty when memory is out.
[[nodiscard]] std::optional<std::string> gzip(std::string_view text);

}  // namespace marketplace::api
