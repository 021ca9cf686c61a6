// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace marketplace::http {

enum class Method : std::uint8_t { kGet, kHead, kPost, kPut, kPatch, kDelete, kOptions };
[[nodiscard]] std::string_view to_string(Method method) noexcept;  ///< "GET", …

/// Receives a large body piece by piece instead of memory. Called on the connection's thread.
class BodySink {
 public:
    virtual ~BodySink() = default;
    /// A failure ends the request with that error; the rest of the body is not read.
    [[nodiscard]] virtual ledger::base::Result<void> write(std::string_view piece) = 0;
};

/// A request with its whole body: plain values, owned, safe to keep and to move across threads.
struct Request {
    Method method = Method::kGet;
    std::string target;  ///< as received: path and query
    std::string path;    ///< of the target, still percent-encoded
    std::string query;   ///< after "?", still percent-encoded
    std::vector<std::pair<std::string, std::string>> params;   ///< of the path template, decoded
    std::vector<std::pair<std::string, std::string>> headers;  ///< in order, names as received
    std::string body;                                          ///< empty when the route has a sink
    std::shared_ptr<BodySink> sink;  ///< the whole body has been written to it
    std::uint64_t content_length = 0;
    std::string remote_address;  ///< "127.0.0.1", without port
    std::string id;              ///< x-request-id of the reply
    std::string route;           ///< path template, for logs and metrics; empty: no route

    /// First header of that name, any case.
    [[nodiscard]] std::optional<std::string_view> header(std::string_view name) const noexcept;
    /// Parameter of the path template; empty when the template has none of that name.
    [[nodiscard]] std::string_view param(std::string_view name) const noexcept;
    /// Decoded value of the first query parameter of that name.
    [[nodiscard]] std::optional<std::string> query_value(std::string_view name) const;
    /// All decoded query parameters; invalid_request when an escape is malformed.
    [[nodiscard]] ledger::base::Result<std::vector<std::pair<std::string, std::string>>>
    query_values() const;
};
using RequestPtr = std::shared_ptr<const Request>;

/// Percent-decoding; refuses malformed escapes and NUL. "+" means a space only in queries.
enum class PlusSign : std::uint8_t { kLiteral, kSpace };
[[nodiscard]] ledger::base::Result<std::string> percent_decode(std::string_view text,
                                                               PlusSign plus);

}  // namespace marketplace::http
