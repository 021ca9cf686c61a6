// SPDX-License-Identifier: Apache-2.0
#include "ledger/rpc/http_client.hpp"

#include "ledger/base/money.hpp"

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace ledger::rpc {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using base::ErrorCode;
using base::fail;
using base::Result;
using boost::system::error_code;
using SteadyTime = std::chrono::steady_clock::time_point;

namespace {

constexpr std::size_t kReadBufferBytes = 64 * 1024;
constexpr std::uint64_t kErrorBodyBytes = 64 * 1024;
constexpr int kInterimAnswersMax = 4;

bool is_token(std::string_view text) {
    constexpr std::string_view kSpecial = "!#$%&'*+-.^_`|~";
    return !text.empty() && std::all_of(text.begin(), text.end(), [&](unsigned char c) {
        return std::isalnum(c) != 0 || kSpecial.find(static_cast<char>(c)) != kSpecial.npos;
    });
}

bool is_header_value(std::string_view text) {
    return std::none_of(text.begin(), text.end(),
                        [](unsigned char c) { return c == 0x7f || (c < 0x20 && c != '\t'); });
}

bool equal_ignoring_case(std::string_view a, std::string_view b) {
    return beast::iequals(beast::string_view(a.data(), a.size()),
                          beast::string_view(b.data(), b.size()));
}

tl::unexpected<base::Error> to_error(error_code ec, std::string_view doing) {
    const std::string where(doing);
    if (ec == beast::error::timeout) return fail(ErrorCode::timeout, where);
    if (ec == http::error::body_limit || ec == http::error::header_limit ||
        ec == http::error::buffer_overflow)
        return fail(ErrorCode::too_large, where + ": the answer is above its limit");
    if (ec == http::error::end_of_stream || ec == http::error::partial_message)
        return fail(ErrorCode::unavailable, where + ": the connection was closed early");
    if (ec.category() == http::make_error_code(http::error::bad_version).category())
        return fail(ErrorCode::invalid_encoding, where + ": the answer is not HTTP/1.1");
    if (ec == asio::error::connection_refused)
        return fail(ErrorCode::unavailable, where + ": nobody listens there");
    return fail(ErrorCode::unavailable, where + ": the connection failed");
}

/// Owns a file descriptor.
class File {
 public:
    explicit File(int descriptor) : descriptor_(descriptor) {}
    ~File() {
        if (descriptor_ >= 0) ::close(descriptor_);
    }
    File(const File&) = delete;
    File& operator=(const File&) = delete;
    [[nodiscard]] int get() const noexcept { return descriptor_; }

 private:
    int descriptor_;
};

Result<void> write_all(int descriptor, std::string_view data, std::uint64_t offset) {
    while (!data.empty()) {
        const ssize_t count =
            ::pwrite(descriptor, data.data(), data.size(), static_cast<off_t>(offset));
        if (count < 0 && errno == EINTR) continue;
        if (count < 0)
            return fail(
                errno == ENOSPC || errno == EDQUOT ? ErrorCode::disk_full : ErrorCode::io_error,
                "writing a download");
        data.remove_prefix(static_cast<std::size_t>(count));
        offset += static_cast<std::uint64_t>(count);
    }
    return {};
}

}  // namespace

Result<Url> parse_url(std::string_view text) {
    constexpr std::string_view kScheme = "http://";
    const auto bad = [](const char* why) { return fail(ErrorCode::invalid_field, why); };
    if (text.starts_with("https://"))
        return fail(ErrorCode::unsupported, "https URLs; put a TLS proxy in front");
    if (!text.starts_with(kScheme)) return bad("expected a URL that begins with http://");
    text.remove_prefix(kScheme.size());
    if (text.find_first_of("#\\ \r\n\t") != text.npos) return bad("the URL has a forbidden sign");
    Url url;
    const std::size_t slash = text.find_first_of("/?");
    std::string_view authority = text.substr(0, slash);
    if (slash != text.npos) url.target = std::string(text.substr(slash));
    if (url.target.front() == '?') url.target.insert(0, "/");
    if (authority.find('@') != authority.npos) return bad("the URL holds a user name");
    std::size_t colon = authority.rfind(':');
    if (authority.starts_with('[')) {
        const std::size_t end = authority.find(']');
        if (end == authority.npos) return bad("the URL's host is not closed by ]");
        url.host = std::string(authority.substr(1, end - 1));
        colon = end + 1 < authority.size() ? end + 1 : authority.npos;
        if (colon != authority.npos && authority[colon] != ':') return bad("the URL's port");
    } else {
        url.host = std::string(authority.substr(0, colon));
    }
    if (url.host.empty() || url.host.size() > 253) return bad("the URL's host");
    if (colon != authority.npos) {
        const auto port = base::parse_u64(authority.substr(colon + 1));
        if (!port || *port == 0 || *port > 65535) return bad("the URL's port");
        url.port = static_cast<std::uint16_t>(*port);
    }
    return url;
}

std::string_view HttpResponse::header(std::string_view name) const noexcept {
    for (const HttpHeader& entry : headers)
        if (equal_ignoring_case(entry.name, name)) return entry.value;
    return {};
}

struct HttpClient::Impl {
    using Parser = http::response_parser<http::string_body>;
    /// Takes a piece of a 2xx body.
    using Sink = std::function<Result<void>(std::string_view)>;

    explicit Impl(HttpLimits client_limits) : limits(client_limits) {}

    HttpLimits limits;
    asio::io_context io{1};
    std::optional<beast::tcp_stream> stream;
    beast::flat_buffer buffer{kReadBufferBytes};
    std::string peer;  // host:port of the kept connection

    /// Runs one asynchronous operation to its end: only those obey the stream's deadline.
    template <typename Start>
    error_code run(const Start& start) {
        error_code result = asio::error::would_block;
        start([&result](error_code ec, auto&&...) { result = ec; });
        io.restart();
        io.run();
        return result;
    }

    void close() noexcept {
        if (stream) {
            error_code ignored;
            stream->socket().close(ignored);
            stream.reset();
        }
        buffer.clear();
        peer.clear();
    }

    /// Whether the kept connection can carry another request: open and silent.
    bool reusable(const std::string& to) {
        if (!stream || peer != to || buffer.size() != 0) return false;
        char byte = 0;
        const ssize_t count =
            ::recv(stream->socket().native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
        return count < 0 && errno == EAGAIN;
    }

    Result<void> connect(const Url& url, const HttpLimits& bounds) {
        const std::string to = url.host + ":" + std::to_string(url.port);
        if (reusable(to)) return {};
        close();
        error_code ec;
        asio::ip::tcp::resolver resolver(io);
        const auto endpoints = resolver.resolve(url.host, std::to_string(url.port), ec);
        if (ec) return fail(ErrorCode::unavailable, "the host name " + url.host + " is unknown");
        stream.emplace(io);
        stream->expires_after(bounds.connect_timeout);
        ec = run([&](auto done) { stream->async_connect(endpoints, done); });
        if (ec) {
            close();
            return to_error(ec, "connecting to " + to);
        }
        stream->socket().set_option(asio::ip::tcp::no_delay(true), ec);
        peer = to;
        return {};
    }

    template <typename Body>
    static Result<void> fill_head(http::request<Body>& out, const HttpRequest& request,
                                  const Url& url) {
        if (!is_token(request.method))
            return fail(ErrorCode::invalid_field, "the method is not a token");
        out.version(11);
        out.method_string(request.method);
        out.target(url.target);
        const bool v6 = url.host.find(':') != std::string::npos;
        out.set(http::field::host,
                (v6 ? "[" + url.host + "]" : url.host) + ":" + std::to_string(url.port));
        out.set(http::field::user_agent, "millrace");
        for (const HttpHeader& entry : request.headers) {
            if (!is_token(entry.name) || !is_header_value(entry.value))
                return fail(ErrorCode::invalid_field, "a header has a forbidden sign");
            out.insert(entry.name, entry.value);
        }
        return {};
    }

    /// Reads the head of the answer, past interim (1xx) ones.
    Result<void> read_head(std::optional<Parser>& parser, const HttpLimits& bounds, bool head_only,
                           SteadyTime deadline) {
        for (int i = 0; i < kInterimAnswersMax; ++i) {
            parser.emplace();
            parser->header_limit(static_cast<std::uint32_t>(bounds.header_bytes));
            parser->body_limit(bounds.body_bytes);
            parser->skip(head_only);
            stream->expires_at(deadline);
            const error_code ec =
                run([&](auto done) { http::async_read_header(*stream, buffer, *parser, done); });
            if (ec) return to_error(ec, "reading the answer");
            if (parser->get().result_int() >= 200) return {};
        }
        return fail(ErrorCode::invalid_encoding, "too many interim answers");
    }

    /// Reads the body in pieces: into the answer, or into `sink` when the status is 2xx.
    /// With a sink the deadline counts from each piece.
    Result<HttpResponse> read_body(Parser& parser, const HttpLimits& bounds, SteadyTime deadline,
                                   const Sink* sink) {
        HttpResponse response;
        response.status = parser.get().result_int();
        for (const auto& field : parser.get())
            response.headers.push_back(
                {std::string(field.name_string()), std::string(field.value())});
        const bool to_sink = sink != nullptr && response.status / 100 == 2;
        if (sink != nullptr && !to_sink) parser.body_limit(kErrorBodyBytes);
        // One piece at a time: an eager parser holds back a chunk until the one after it begins.
        parser.eager(false);
        std::string& piece = parser.get().body();
        while (true) {
            if (to_sink && !piece.empty()) {
                TRY((*sink)(piece));
                piece.clear();
            }
            if (parser.is_done()) break;
            stream->expires_at(sink == nullptr
                                   ? deadline
                                   : std::chrono::steady_clock::now() + bounds.exchange_timeout);
            const error_code ec =
                run([&](auto done) { http::async_read_some(*stream, buffer, parser, done); });
            if (ec) return to_error(ec, "reading the answer's body");
        }
        if (!to_sink) response.body = std::move(piece);
        return response;
    }

    /// Called by `finish` between head and body: may look at the status and headers.
    using Begin = std::function<Result<void>(const Parser&)>;

    Result<HttpResponse> finish(const HttpLimits& bounds, bool head_only, SteadyTime deadline,
                                const Sink* sink, const Begin& begin) {
        std::optional<Parser> parser;
        TRY(read_head(parser, bounds, head_only, deadline));
        if (begin) TRY(begin(*parser));
        TRY_ASSIGN(HttpResponse response, read_body(*parser, bounds, deadline, sink));
        if (!parser->get().keep_alive() || parser->get().need_eof()) close();
        return response;
    }

    Result<HttpResponse> exchange(const HttpRequest& request, const HttpLimits& bounds,
                                  const Sink* sink, const Begin& begin) {
        TRY_ASSIGN(const Url url, parse_url(request.url));
        http::request<http::string_body> message;
        TRY(fill_head(message, request, url));
        message.body() = request.body;
        message.prepare_payload();
        TRY(connect(url, bounds));
        const SteadyTime deadline = std::chrono::steady_clock::now() + bounds.exchange_timeout;
        stream->expires_at(deadline);
        const error_code sent = run([&](auto done) { http::async_write(*stream, message, done); });
        auto response = sent == beast::error::timeout
                            ? Result<HttpResponse>(to_error(sent, "sending the request"))
                            : finish(bounds, request.method == "HEAD", deadline, sink, begin);
        // A server may answer before it has read everything; without an answer the write's
        // failure is the story.
        if (sent || !response) close();
        if (sent && !response) return to_error(sent, "sending the request");
        return response;
    }

    Result<HttpResponse> send_file(const HttpRequest& request, const HttpLimits& bounds, int file,
                                   std::uint64_t offset, std::uint64_t length) {
        TRY_ASSIGN(const Url url, parse_url(request.url));
        http::request<http::buffer_body> message;
        TRY(fill_head(message, request, url));
        message.content_length(length);
        message.body().data = nullptr;
        message.body().more = length > 0;
        TRY(connect(url, bounds));
        http::request_serializer<http::buffer_body> serializer(message);
        const auto write = [&]() -> error_code {
            stream->expires_after(bounds.exchange_timeout);
            error_code ec = run([&](auto done) { http::async_write(*stream, serializer, done); });
            return ec == http::error::need_buffer ? error_code() : ec;
        };
        stream->expires_after(bounds.exchange_timeout);
        error_code sent =
            run([&](auto done) { http::async_write_header(*stream, serializer, done); });
        std::array<char, kReadBufferBytes> piece{};
        std::uint64_t left = length;
        while (!sent && left > 0) {
            const std::size_t want =
                static_cast<std::size_t>(std::min<std::uint64_t>(left, piece.size()));
            const ssize_t got = ::pread(file, piece.data(), want, static_cast<off_t>(offset));
            if (got <= 0) {
                close();
                return fail(ErrorCode::io_error, "the file became shorter while it was sent");
            }
            left -= static_cast<std::uint64_t>(got);
            offset += static_cast<std::uint64_t>(got);
            message.body().data = piece.data();
            message.body().size = static_cast<std::size_t>(got);
            message.body().more = left > 0;
            sent = write();
        }
        if (sent == beast::error::timeout) {
            close();
            return to_error(sent, "sending the file");
        }
        auto response =
            finish(bounds, false, std::chrono::steady_clock::now() + bounds.exchange_timeout,
                   nullptr, nullptr);
        if (sent || !response) close();
        if (sent && !response) return to_error(sent, "sending the file");
        return response;
    }
};

HttpClient::HttpClient(HttpLimits limits) : impl_(std::make_unique<Impl>(limits)) {}
HttpClient::~HttpClient() = default;
HttpClient::HttpClient(HttpClient&&) noexcept = default;
HttpClient& HttpClient::operator=(HttpClient&&) noexcept = default;

void HttpClient::close() noexcept {
    impl_->close();
}

Result<HttpResponse> HttpClient::request(const HttpRequest& request) {
    return impl_->exchange(request, impl_->limits, nullptr, nullptr);
}

Result<HttpResponse> HttpClient::request(const HttpRequest& request, const HttpLimits& limits) {
    return impl_->exchange(request, limits, nullptr, nullptr);
}

Result<HttpResponse> HttpClient::stream(const HttpRequest& request, const HttpLimits& limits,
                                        const std::function<bool(std::string_view)>& on_data) {
    const Impl::Sink sink = [&](std::string_view piece) -> Result<void> {
        if (!on_data(piece)) return fail(ErrorCode::cancelled, "the reader had enough");
        return {};
    };
    return impl_->exchange(request, limits, &sink, nullptr);
}

Result<HttpResponse> HttpClient::download(
    const HttpRequest& request, const HttpLimits& limits, const std::filesystem::path& file,
    std::uint64_t offset, const std::function<void(std::uint64_t, std::uint64_t)>& on_progress) {
    const File out(::open(file.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
    if (out.get() < 0) return fail(ErrorCode::io_error, "the download's file cannot be opened");
    HttpRequest ranged = request;
    if (offset > 0) ranged.headers.push_back({"Range", "bytes=" + std::to_string(offset) + "-"});
    std::uint64_t at = offset;
    std::uint64_t total = 0;
    const auto begin = [&](const Impl::Parser& parser) -> Result<void> {
        const unsigned status = parser.get().result_int();
        if (status / 100 != 2) return {};
        if (status == 206) {
            const std::string expected = "bytes " + std::to_string(offset) + "-";
            if (!parser.get()[http::field::content_range].starts_with(expected))
                return fail(ErrorCode::invalid_encoding, "the answer holds another range");
        } else {
            at = 0;
        }
        if (::ftruncate(out.get(), static_cast<off_t>(at)) != 0)
            return fail(ErrorCode::io_error, "the download's file cannot be cut");
        if (const auto length = parser.content_length()) total = at + *length;
        return {};
    };
    const Impl::Sink sink = [&](std::string_view piece) -> Result<void> {
        TRY(write_all(out.get(), piece, at));
        at += piece.size();
        if (on_progress) on_progress(at, total);
        return {};
    };
    TRY_ASSIGN(HttpResponse response, impl_->exchange(ranged, limits, &sink, begin));
    if (::fsync(out.get()) != 0) return fail(ErrorCode::io_error, "the download was not synced");
    return response;
}

Result<HttpResponse> HttpClient::upload(const HttpRequest& request, const HttpLimits& limits,
                                        const std::filesystem::path& file, std::uint64_t offset,
                                        std::optional<std::uint64_t> length) {
    const File in(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
    struct stat facts {};
    if (in.get() < 0 || ::fstat(in.get(), &facts) != 0)
        return fail(ErrorCode::data_missing, "the file to send cannot be opened");
    const auto size = static_cast<std::uint64_t>(facts.st_size);
    if (offset > size || (length && *length > size - offset))
        return fail(ErrorCode::out_of_range, "the file has " + std::to_string(size) + " bytes");
    return impl_->send_file(request, limits, in.get(), offset, length.value_or(size - offset));
}

}  // namespace ledger::rpc
