// SPDX-License-Identifier: Apache-2.0
#include "ledger/rpc/guarded_post.hpp"

#include "ledger/base/money.hpp"
#include "ledger/rpc/public_address.hpp"

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl.hpp>

#include <algorithm>

namespace ledger::rpc {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using base::ErrorCode;
using base::fail;
using base::Result;
using boost::system::error_code;
using Endpoints = std::vector<asio::ip::tcp::endpoint>;

namespace {

constexpr std::size_t kUrlBytesMax = 2048;
constexpr std::uint16_t kHttpsPort = 443;
constexpr std::chrono::milliseconds kStopLook{100};

bool is_visible_ascii(std::string_view text) {
    return std::all_of(text.begin(), text.end(), [](char c) { return c > 0x20 && c < 0x7f; });
}

bool names_port(std::string_view authority) {
    const std::size_t colon = authority.rfind(':');
    return colon != authority.npos && authority.find(']', colon) == authority.npos;
}

bool is_in_reach(const asio::ip::address& address, Reach reach) {
    if (reach == Reach::kAnywhere) return true;
    if (address.is_v4()) return is_public_address(address.to_v4().to_bytes());
    return is_public_address(address.to_v6().to_bytes());
}

std::string host_header(const PostUrl& to) {
    const bool v6 = to.url.host.find(':') != std::string::npos;
    std::string out = v6 ? "[" + to.url.host + "]" : to.url.host;
    if (to.url.port != (to.tls ? kHttpsPort : 80)) out += ":" + std::to_string(to.url.port);
    return out;
}

tl::unexpected<base::Error> exchange_error(error_code ec) {
    if (ec == beast::error::timeout) return fail(ErrorCode::timeout, "no answer in time");
    if (ec == http::error::header_limit || ec == http::error::buffer_overflow)
        return fail(ErrorCode::too_large, "the answer's head is above its limit");
    if (ec == http::error::end_of_stream || ec == http::error::partial_message)
        return fail(ErrorCode::unavailable, "the connection was closed early");
    if (ec.category() == http::make_error_code(http::error::bad_version).category())
        return fail(ErrorCode::invalid_encoding, "the answer is not HTTP/1.1");
    return fail(ErrorCode::unavailable, "the connection failed");
}

/// One exchange on a connection of its own; everything asynchronous, because only that obeys
/// deadlines and the stop.
class Exchange {
 public:
    Exchange(const PostLimits& limits, const std::stop_token& stop)
        : limits_(limits), stop_(stop) {}

    Result<Endpoints> resolve(const PostUrl& to, Reach reach) {
        error_code ec;
        asio::ip::tcp::resolver resolver(io_);
        const auto found = resolver.resolve(to.url.host, std::to_string(to.url.port), ec);
        if (ec) return fail(ErrorCode::unavailable, "the host's name is unknown");
        Endpoints out;
        for (const auto& entry : found)
            if (is_in_reach(entry.endpoint().address(), reach)) out.push_back(entry.endpoint());
        if (out.empty())
            return fail(ErrorCode::forbidden, "the host has no address of the open Internet");
        return out;
    }

    Result<PostAnswer> send(beast::tcp_stream& stream, const Endpoints& endpoints,
                            const http::request<http::string_body>& message) {
        TRY(connect(stream, endpoints));
        return talk(stream, stream, message);
    }

    Result<PostAnswer> send_tls(asio::ssl::context& context, const std::string& host,
                                const Endpoints& endpoints,
                                const http::request<http::string_body>& message) {
        beast::ssl_stream<beast::tcp_stream> stream(io_, context);
        stream.set_verify_callback(asio::ssl::host_name_verification(host));
        // A literal address has no server name (RFC 6066, section 3).
        std::string name = host;
        if (!parse_ip_address(host) &&
            SSL_ctrl(stream.native_handle(), SSL_CTRL_SET_TLSEXT_HOSTNAME,
                     TLSEXT_NAMETYPE_host_name, name.data()) != 1)
            return fail(ErrorCode::invalid_field, "the URL's host");
        beast::tcp_stream& lower = beast::get_lowest_layer(stream);
        TRY(connect(lower, endpoints));
        const error_code ec = run(lower, [&](auto done) {
            stream.async_handshake(asio::ssl::stream_base::client, done);
        });
        if (stop_.stop_requested()) return fail(ErrorCode::cancelled);
        if (ec == beast::error::timeout) return fail(ErrorCode::timeout, "the TLS handshake");
        if (ec) return fail(ErrorCode::invalid_signature, "the host's certificate or its TLS");
        return talk(stream, lower, message);
    }

    asio::io_context& io() { return io_; }

 private:
    template <typename Start>
    error_code run(beast::tcp_stream& stream, const Start& start) {
        error_code result = asio::error::would_block;
        bool ended = false;
        start([&](error_code ec, auto&&...) {
            result = ec;
            ended = true;
        });
        io_.restart();
        while (!ended) {
            io_.run_for(kStopLook);
            if (!ended && stop_.stop_requested()) stream.close();
        }
        return result;
    }

    Result<void> connect(beast::tcp_stream& stream, const Endpoints& endpoints) {
        stream.expires_after(limits_.connect_timeout);
        const error_code ec =
            run(stream, [&](auto done) { stream.async_connect(endpoints, done); });
        if (stop_.stop_requested()) return fail(ErrorCode::cancelled);
        if (ec == beast::error::timeout) return fail(ErrorCode::timeout, "connecting");
        if (ec == asio::error::connection_refused)
            return fail(ErrorCode::unavailable, "nobody listens there");
        if (ec) return fail(ErrorCode::unavailable, "the connection failed");
        return {};
    }

    template <typename Stream>
    Result<PostAnswer> talk(Stream& stream, beast::tcp_stream& lower,
                            const http::request<http::string_body>& message) {
        lower.expires_after(limits_.exchange_timeout);
        const error_code sent =
            run(lower, [&](auto done) { http::async_write(stream, message, done); });
        beast::flat_buffer buffer{limits_.header_bytes + 1024};
        http::response_parser<http::empty_body> parser;
        parser.header_limit(static_cast<std::uint32_t>(limits_.header_bytes));
        // Who refuses early may answer before everything is written; the answer counts.
        const error_code read =
            run(lower, [&](auto done) { http::async_read_header(stream, buffer, parser, done); });
        if (stop_.stop_requested()) return fail(ErrorCode::cancelled);
        if (read) return exchange_error(sent ? sent : read);
        PostAnswer out;
        out.status = parser.get().result_int();
        const auto retry = parser.get()[http::field::retry_after];
        out.retry_after_s =
            base::parse_u64(std::string_view(retry.data(), retry.size())).value_or(0);
        return out;
    }

    const PostLimits& limits_;
    const std::stop_token& stop_;
    asio::io_context io_{1};
};

}  // namespace

Result<PostUrl> parse_post_url(std::string_view text, Reach reach) {
    constexpr std::string_view kTls = "https://";
    if (text.size() > kUrlBytesMax)
        return fail(ErrorCode::invalid_field, "the URL is longer than 2,048 signs");
    if (!is_visible_ascii(text))
        return fail(ErrorCode::invalid_field, "the URL has a forbidden sign");
    PostUrl out;
    out.tls = text.starts_with(kTls);
    if (!out.tls && reach == Reach::kPublic)
        return fail(ErrorCode::invalid_field, "expected a URL that begins with https://");
    std::string plain(text);
    if (out.tls) plain.erase(4, 1);
    TRY_ASSIGN(out.url, parse_url(plain));
    const std::string_view rest =
        std::string_view(plain).substr(std::string_view("http://").size());
    if (out.tls && !names_port(rest.substr(0, rest.find_first_of("/?")))) out.url.port = kHttpsPort;
    const auto literal = parse_ip_address(out.url.host);
    if (literal && reach == Reach::kPublic && !is_public_address(*literal))
        return fail(ErrorCode::invalid_field, out.url.host + " is no address of the open Internet");
    return out;
}

struct GuardedPoster::Impl {
    Reach reach;
    PostLimits limits;
    mutable asio::ssl::context tls{asio::ssl::context::tls_client};
};

GuardedPoster::GuardedPoster(Reach reach, PostLimits limits)
    : impl_(new Impl{reach, limits, asio::ssl::context(asio::ssl::context::tls_client)}) {
    impl_->tls.set_default_verify_paths();
    impl_->tls.set_verify_mode(asio::ssl::verify_peer);
    SSL_CTX_set_min_proto_version(impl_->tls.native_handle(), TLS1_2_VERSION);
}
GuardedPoster::~GuardedPoster() = default;

Result<PostAnswer> GuardedPoster::post(std::string_view url, const std::vector<HttpHeader>& headers,
                                       const std::string& body, const std::stop_token& stop) const {
    TRY_ASSIGN(const PostUrl to, parse_post_url(url, impl_->reach));
    http::request<http::string_body> message{http::verb::post, to.url.target, 11};
    message.set(http::field::host, host_header(to));
    message.set(http::field::user_agent, "millrace");
    message.set(http::field::connection, "close");
    for (const HttpHeader& entry : headers) {
        if (!is_visible_ascii(entry.name) || entry.value.find_first_of("\r\n") != std::string::npos)
            return fail(ErrorCode::invalid_field, "a header has a forbidden sign");
        message.insert(entry.name, entry.value);
    }
    message.body() = body;
    message.prepare_payload();
    Exchange exchange(impl_->limits, stop);
    TRY_ASSIGN(const Endpoints endpoints, exchange.resolve(to, impl_->reach));
    if (to.tls) return exchange.send_tls(impl_->tls, to.url.host, endpoints, message);
    beast::tcp_stream stream(exchange.io());
    return exchange.send(stream, endpoints, message);
}

}  // namespace ledger::rpc
