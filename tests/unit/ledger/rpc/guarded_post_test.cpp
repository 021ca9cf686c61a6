// SPDX-License-Identifier: Apache-2.0
#include "ledger/rpc/guarded_post.hpp"

#include "ledger/rpc/public_address.hpp"
#include "tests/support/scripted_server.hpp"

#include <doctest/doctest.h>

namespace ledger::rpc {
namespace {

using base::ErrorCode;
using std::chrono::milliseconds;
using tests::support::ScriptedServer;
using tests::support::ServerAction;

bool is_public(const char* text) {
    const auto bytes = parse_ip_address(text);
    REQUIRE_MESSAGE(bytes.has_value(), text);
    return is_public_address(*bytes);
}

base::Result<PostAnswer> post(const std::string& url, Reach reach = Reach::kAnywhere,
                              PostLimits limits = {}) {
    return GuardedPoster(reach, limits).post(url, {{"x-one", "1"}}, "{}", std::stop_token());
}

std::string port_of(const ScriptedServer& server) {
    const std::string url = server.url("");
    return url.substr(url.rfind(':') + 1);
}

ServerAction answer(std::string head) {
    return {std::move(head), ServerAction::Then::kClose, 0};
}

}  // namespace

TEST_CASE("public_address: no private, local or reserved range") {
    for (const char* text : {"0.0.0.0",
                             "0.1.2.3",
                             "10.0.0.1",
                             "100.64.0.1",
                             "100.127.255.255",
                             "127.0.0.1",
                             "127.255.255.255",
                             "169.254.169.254",
                             "172.16.0.1",
                             "172.31.255.255",
                             "192.0.0.8",
                             "192.0.2.1",
                             "192.88.99.1",
                             "192.168.1.1",
                             "198.18.0.1",
                             "198.19.255.255",
                             "198.51.100.7",
                             "203.0.113.9",
                             "224.0.0.1",
                             "239.255.255.255",
                             "240.0.0.1",
                             "255.255.255.255",
                             "::",
                             "::1",
                             "::ffff:127.0.0.1",
                             "::ffff:8.8.8.8",
                             "::8.8.8.8",
                             "64:ff9b::808:808",
                             "100::1",
                             "2001::1",
                             "2001:db8::1",
                             "2002:7f00:1::",
                             "3fff::1",
                             "fc00::1",
                             "fd12:3456::1",
                             "fe80::1",
                             "fec0::1",
                             "ff02::1"})
        CHECK_MESSAGE(!is_public(text), text);
    CHECK_FALSE(is_public_address(base::Bytes(5)));
    CHECK_FALSE(is_public_address({}));
}

TEST_CASE("public_address: what lies beside those ranges is public") {
    for (const char* text :
         {"1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.0.0.1",
          "128.0.0.1", "169.253.0.1", "172.15.255.255", "172.32.0.0", "192.167.0.1", "198.17.0.1",
          "198.20.0.1", "223.255.255.255", "2001:200::1", "2606:4700::1111", "3ffe::1"})
        CHECK_MESSAGE(is_public(text), text);
    CHECK_FALSE(parse_ip_address("localhost").has_value());
    CHECK_FALSE(parse_ip_address("127.1").has_value());
}

TEST_CASE("guarded_post: URLs that may not be called are refused as text") {
    for (const char* url :
         {"", "ftp://a.example/", "https://", "https:///x", "https://user@a.example/",
          "https://a.example/#x", "https://a.example:0/", "https://a.example:65536/",
          "https://a.example/ x", "https://a.example/\x01", "http://a.example/",
          "https://127.0.0.1/", "https://[::1]/", "https://10.1.2.3:8443/",
          "https://[::ffff:8.8.8.8]/"})
        CHECK_MESSAGE(
            parse_post_url(url, Reach::kPublic).error().code() == ErrorCode::invalid_field, url);
    const std::string longest = "https://a.example/" + std::string(2030, 'x');
    CHECK(parse_post_url(longest, Reach::kPublic).has_value());
    CHECK_FALSE(parse_post_url(longest + "x", Reach::kPublic).has_value());
}

TEST_CASE("guarded_post: ports and hosts of URLs") {
    const auto port = [](const char* url) {
        return parse_post_url(url, Reach::kAnywhere).value().url.port;
    };
    CHECK(port("https://a.example") == 443);
    CHECK(port("https://a.example/x:1") == 443);
    CHECK(port("https://a.example:80/") == 80);
    CHECK(port("https://[2606:4700::1111]/") == 443);
    CHECK(port("https://[2606:4700::1111]:8443/") == 8443);
    CHECK(port("http://127.0.0.1/") == 80);
    CHECK(parse_post_url("https://a.example/x?y", Reach::kPublic)->url.target == "/x?y");
}

TEST_CASE("guarded_post: a name that stands for loopback is not connected to") {
    const ScriptedServer server([](const auto&) { return answer("HTTP/1.1 200 OK\r\n\r\n"); });
    const std::string url = "https://localhost:" + port_of(server) + "/";
    CHECK(post(url, Reach::kPublic).error().code() == ErrorCode::forbidden);
    // A number is a name to the resolver.
    CHECK(post("https://2130706433/", Reach::kPublic).error().code() != ErrorCode::timeout);
    CHECK(server.connections() == 0);
}

TEST_CASE("guarded_post: a redirect is an answer and nothing follows it") {
    const ScriptedServer other([](const auto&) { return answer("HTTP/1.1 200 OK\r\n\r\n"); });
    const ScriptedServer server([&](const auto&) {
        return answer("HTTP/1.1 307 Go\r\nLocation: " + other.url() + "\r\n\r\n");
    });
    CHECK(post(server.url())->status == 307);
    CHECK(other.connections() == 0);
}

TEST_CASE("guarded_post: the request as it goes out, and Retry-After") {
    const ScriptedServer server([](const auto&) {
        return answer("HTTP/1.1 503 No\r\nRetry-After: 7\r\nContent-Length: 1000000\r\n\r\nxx");
    });
    const auto got = post(server.url("/hook?a=1"));
    REQUIRE(got);
    CHECK(got->status == 503);
    CHECK(got->retry_after_s == 7);
    const std::string request = server.requests().at(0);
    CHECK(request.starts_with("POST /hook?a=1 HTTP/1.1\r\n"));
    CHECK(request.find("x-one: 1\r\n") != std::string::npos);
    CHECK(request.ends_with("\r\n\r\n{}"));
}

TEST_CASE("guarded_post: hostile answers end in bounded time with their own codes") {
    PostLimits limits;
    limits.exchange_timeout = milliseconds(300);
    const auto code = [&](ServerAction action) {
        const ScriptedServer server([&](const auto&) { return action; });
        return post(server.url(), Reach::kAnywhere, limits).error().code();
    };
    CHECK(code({"", ServerAction::Then::kHang, 0}) == ErrorCode::timeout);
    CHECK(code({"HTTP/1.1 200 OK\r\nX: " + std::string(1000, 'a'), ServerAction::Then::kHang,
                20}) == ErrorCode::timeout);
    CHECK(code(answer("HTTP/1.1 200 OK\r\nX: " + std::string(20'000, 'a') + "\r\n\r\n")) ==
          ErrorCode::too_large);
    CHECK(code(answer("SSH-2.0-none\r\n\r\n")) == ErrorCode::invalid_encoding);
    CHECK(code(answer("")) == ErrorCode::unavailable);
    CHECK(code({"", ServerAction::Then::kReset, 0}) == ErrorCode::unavailable);
}

TEST_CASE("guarded_post: who speaks no TLS, and nobody at all") {
    const ScriptedServer server([](const auto&) { return answer("HTTP/1.1 200 OK\r\n\r\n"); });
    const std::string port = port_of(server);
    PostLimits limits;
    limits.connect_timeout = milliseconds(500);
    const auto plain = post("https://127.0.0.1:" + port + "/", Reach::kAnywhere, limits);
    CHECK((plain.error().code() == ErrorCode::invalid_signature ||
           plain.error().code() == ErrorCode::timeout));
    CHECK(server.requests().empty());
    CHECK(post("http://127.0.0.1:1/").error().code() == ErrorCode::unavailable);
    CHECK(post("http://nobody.invalid/").error().code() == ErrorCode::unavailable);
}

TEST_CASE("guarded_post: a stop ends a call under way") {
    const ScriptedServer server([](const auto&) {
        return ServerAction{"", ServerAction::Then::kHang, 0};
    });
    std::stop_source stop;
    const GuardedPoster poster(Reach::kAnywhere);
    base::Result<PostAnswer> result = base::fail(ErrorCode::internal);
    std::thread sender([&] { result = poster.post(server.url(), {}, "{}", stop.get_token()); });
    while (server.requests().empty())
        std::this_thread::yield();
    const auto before = std::chrono::steady_clock::now();
    stop.request_stop();
    sender.join();
    CHECK(result.error().code() == ErrorCode::cancelled);
    CHECK(std::chrono::steady_clock::now() - before < std::chrono::seconds(5));
}

}  // namespace ledger::rpc
