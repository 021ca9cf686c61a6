// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/limits.hpp"
#include "ledger/base/result.hpp"

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ledger::rpc {

/// Where to dial and what to ask for, from "http://host[:port]/path?query".
struct Url {
    std::string host;
    std::uint16_t port = 80;
    std::string target = "/";  ///< path and query
};
/// invalid_field for anything but an absolute http URL without user info or fragment.
[[nodiscard]] base::Result<Url> parse_url(std::string_view text);

/// Bounds of one exchange. All are deadlines, none waits for ever.
struct HttpLimits {
    std::chrono::milliseconds connect_timeout{3000};
    /// From the request's first byte to the answer's last; for streams and files: per read.
    std::chrono::milliseconds exchange_timeout{base::limits::kRpcTimeout};
    std::size_t header_bytes = base::limits::kHttpHeaderBytes;
    std::uint64_t body_bytes = base::limits::kRpcAnswerBytes;
};

struct HttpHeader {
    std::string name;
    std::string value;
};

struct HttpRequest {
    std::string method = "GET";
    std::string url;
    std::vector<HttpHeader> headers;  ///< Host, Content-Length and User-Agent are added
    std::string body;
};

struct HttpResponse {
    unsigned status = 0;
    std::vector<HttpHeader> headers;
    std::string body;
    /// First header of that name, any case; empty when absent.
    [[nodiscard]] std::string_view header(std::string_view name) const noexcept;
};

/// A blocking HTTP/1.1 client with one kept connection. One thread at a time; make one per thread.
///
/// Errors: unavailable (nobody answers: refused, reset, closed early, name unknown), timeout,
/// too_large (header or body above its limit), invalid_encoding (not HTTP), invalid_field (bad
/// URL or header). A status is not an error: 404 and 500 come back as responses.
/// Nothing is sent twice: after `unavailable` or `timeout` the other side may have acted.
class HttpClient {
 public:
    explicit HttpClient(HttpLimits limits = {});
    ~HttpClient();
    HttpClient(HttpClient&&) noexcept;
    HttpClient& operator=(HttpClient&&) noexcept;

    /// Sends and reads the whole answer, with this client's limits or the ones given.
    [[nodiscard]] base::Result<HttpResponse> request(const HttpRequest& request);
    [[nodiscard]] base::Result<HttpResponse> request(const HttpRequest& request,
                                                     const HttpLimits& limits);

    /// Hands over the body in pieces as they arrive (server-sent events). `on_data` returns false
    /// to stop, which gives `cancelled`. For a status other than 2xx the body is collected instead.
    [[nodiscard]] base::Result<HttpResponse> stream(
        const HttpRequest& request, const HttpLimits& limits,
        const std::function<bool(std::string_view)>& on_data);

    /// Writes a 2xx body into `file` from byte `offset` on (asks with a Range header when above 0;
    /// when the server answers 200 instead of 206 the file is begun anew). The file is synced.
    /// `on_progress` hears how many bytes of the file are there and how many it will have (0: the
    /// server did not say).
    [[nodiscard]] base::Result<HttpResponse> download(
        const HttpRequest& request, const HttpLimits& limits, const std::filesystem::path& file,
        std::uint64_t offset = 0,
        const std::function<void(std::uint64_t done, std::uint64_t total)>& on_progress = nullptr);

    /// Sends a file as the body, streamed: bytes [offset, offset + length), to the end when empty.
    [[nodiscard]] base::Result<HttpResponse> upload(
        const HttpRequest& request, const HttpLimits& limits, const std::filesystem::path& file,
        std::uint64_t offset = 0, std::optional<std::uint64_t> length = std::nullopt);

    /// Drops the kept connection.
    void close() noexcept;

 private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace ledger::rpc
