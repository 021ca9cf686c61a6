// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "marketplace/http/request.hpp"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace marketplace::http {

/// A response body that is written while it is made: server-sent events, long downloads.
/// Thread-safe; keep it as long as there is something to write. Letting the last copy go ends
/// the body.
class StreamWriter {
 public:
    virtual ~StreamWriter() = default;
    /// Queues bytes. False when the client is gone or its queue passed the limit (it is then
    /// dropped): stop producing.
    virtual bool write(std::string bytes) = 0;
    /// Ends the body after what is queued.
    virtual void close() = 0;
    [[nodiscard]] virtual bool gone() const noexcept = 0;
    /// Bytes not yet handed to the kernel: the back-pressure signal.
    [[nodiscard]] virtual std::size_t queued_bytes() const noexcept = 0;
};
using StreamWriterPtr = std::shared_ptr<StreamWriter>;

/// A streamed body. All functions are called on the connection's thread, or not at all.
struct StreamBody {
    /// Called once, after the head is queued.
    std::function<void(StreamWriterPtr)> on_start;
    /// Called about four times a second while the queue is empty; for producers that poll.
    std::function<void(StreamWriter&)> on_tick;
    /// Called once when the client went away before the end.
    std::function<void()> on_gone;
    /// Sent when nothing was written for 15 s (": keep-alive\n\n" for server-sent events).
    std::string heartbeat;
};

/// Part of a file. The server opens it when the response is sent.
struct FileBody {
    std::filesystem::path path;
    std::uint64_t offset = 0;
    std::uint64_t length = 0;
};

/// What a handler answers. Status, headers and one kind of body.
struct Response {
    int status = 200;
    std::string content_type = "application/json";
    std::vector<std::pair<std::string, std::string>> headers;  ///< besides the framing ones
    std::string body;
    std::optional<FileBody> file;
    std::shared_ptr<StreamBody> stream;  ///< wins over `file` and `body`
    bool close = false;                  ///< end the connection after this response

    Response() = default;
    Response(int status_code, std::string type, std::string text)
        : status(status_code), content_type(std::move(type)), body(std::move(text)) {}

    Response& header(std::string name, std::string value) {
        headers.emplace_back(std::move(name), std::move(value));
        return *this;
    }

    [[nodiscard]] static Response json(std::string text) {
        return Response(200, "application/json", std::move(text));
    }
    [[nodiscard]] static Response text(std::string text) {
        return Response(200, "text/plain; charset=utf-8", std::move(text));
    }
    [[nodiscard]] static Response empty(int status_code) { return Response(status_code, "", ""); }
    /// Server-sent events: right headers, a first comment so that they are flushed, heartbeats.
    [[nodiscard]] static Response events(std::shared_ptr<StreamBody> stream);
    /// A file with `Range`, `If-None-Match` and HEAD handled (RFC 9110): 200, 206, 304 or 416.
    /// `etag` with its quotes. not_found when the file is not there.
    [[nodiscard]] static ledger::base::Result<Response> download(const std::filesystem::path& path,
                                                                 const Request& request,
                                                                 std::string content_type,
                                                                 std::string etag);
};

/// One inclusive range of a body of `size` bytes (RFC 9110 section 14).
struct ByteRange {
    std::uint64_t first = 0;
    std::uint64_t last = 0;
    friend bool operator==(const ByteRange&, const ByteRange&) = default;
};
/// Empty: no usable Range header, send everything. out_of_range: answer 416. Several ranges are
/// answered with everything, as the RFC allows.
[[nodiscard]] ledger::base::Result<std::optional<ByteRange>> parse_range(std::string_view header,
                                                                         std::uint64_t size);
/// True when an If-None-Match header names the tag, or is "*".
[[nodiscard]] bool etag_matches(std::string_view header, std::string_view etag) noexcept;

/// "Not Found" of 404.
[[nodiscard]] std::string_view reason_phrase(int status) noexcept;

}  // namespace marketplace::http
