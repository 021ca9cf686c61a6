// SPDX-License-Identifier: Apache-2.0
#include "ledger/rpc/http_client.hpp"

#include "tests/support/scripted_server.hpp"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <iterator>

namespace {

using ledger::base::ErrorCode;
using ledger::rpc::HttpClient;
using ledger::rpc::HttpLimits;
using ledger::rpc::HttpRequest;
using ledger::rpc::parse_url;
using tests::support::http_answer;
using tests::support::ScriptedServer;
using tests::support::ServerAction;
using Then = tests::support::ServerAction::Then;

HttpLimits quick() {
    HttpLimits limits;
    limits.exchange_timeout = std::chrono::milliseconds(300);
    limits.body_bytes = 1000;
    return limits;
}

ErrorCode failure_of(const ServerAction& action, const HttpLimits& limits = quick()) {
    ScriptedServer server([&](const std::string&) { return action; });
    HttpClient client(limits);
    const auto response = client.request({"GET", server.url(), {}, ""});
    REQUIRE(!response);
    return response.error().code();
}

/// A file that goes with the test.
struct TempFile {
    std::filesystem::path path =
        std::filesystem::temp_directory_path() / ("millrace-http-" + std::to_string(::getpid()));
    ~TempFile() { std::filesystem::remove(path); }
    void write(const std::string& text) const { std::ofstream(path, std::ios::binary) << text; }
    [[nodiscard]] std::string read() const {
        std::ifstream file(path, std::ios::binary);
        return {std::istreambuf_iterator<char>(file), {}};
    }
};

}  // namespace

TEST_CASE("http_client: URLs that are not plain absolute http are refused") {
    for (const char* url : {"", "http://", "ftp://a/", "//a/", "http:///x", "http://a:0/",
                            "http://a:65536/", "http://a:x/", "http://u@a/", "http://a/#f",
                            "http://a b/", "http://a/\r\nX: y", "http://[::1/", "http://[::1]x/"}) {
        CAPTURE(url);
        CHECK(parse_url(url).error().code() == ErrorCode::invalid_field);
    }
    CHECK(parse_url("https://a/").error().code() == ErrorCode::unsupported);
    CHECK(parse_url("http://a")->target == "/");
    CHECK(parse_url("http://a:81?x=1")->target == "/?x=1");
    CHECK(parse_url("http://[::1]:8545/x")->host == "::1");
    CHECK(parse_url("http://[::1]:8545/x")->port == 8545);
}

TEST_CASE("http_client: methods and headers cannot smuggle lines") {
    HttpClient client;
    const std::string url = "http://127.0.0.1:1/";
    CHECK(client.request({"GET /x", url, {}, ""}).error().code() == ErrorCode::invalid_field);
    CHECK(client.request({"GET", url, {{"A", "b\r\nC: d"}}, ""}).error().code() ==
          ErrorCode::invalid_field);
    CHECK(client.request({"GET", url, {{"A:", "b"}}, ""}).error().code() ==
          ErrorCode::invalid_field);
}

TEST_CASE("http_client: each way a server can fail has its code") {
    HttpClient client(quick());
    CHECK(client.request({"GET", "http://127.0.0.1:1/", {}, ""}).error().code() ==
          ErrorCode::unavailable);
    CHECK(failure_of({"", Then::kClose}) == ErrorCode::unavailable);
    CHECK(failure_of({"", Then::kReset}) == ErrorCode::unavailable);
    CHECK(failure_of({"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", Then::kClose}) ==
          ErrorCode::unavailable);
    CHECK(failure_of({"", Then::kHang}) == ErrorCode::timeout);
    CHECK(failure_of({"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", Then::kHang}) ==
          ErrorCode::timeout);
    CHECK(failure_of({"hello\r\n\r\n", Then::kClose}) == ErrorCode::invalid_encoding);
    CHECK(failure_of({"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", Then::kClose}) ==
          ErrorCode::invalid_encoding);
    CHECK(failure_of({http_answer("200 OK", std::string(1001, 'x')), Then::kKeep}) ==
          ErrorCode::too_large);
    CHECK(failure_of({"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n800\r\n" +
                          std::string(2048, 'x') + "\r\n0\r\n\r\n",
                      Then::kKeep}) == ErrorCode::too_large);
    CHECK(failure_of({"HTTP/1.1 200 OK\r\nX: " + std::string(20'000, 'y') + "\r\n\r\n",
                      Then::kKeep}) == ErrorCode::too_large);
}

TEST_CASE("http_client: a chunk extension that never ends is cut off by the buffer") {
    CHECK(failure_of({"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;" +
                          std::string(200'000, 'e'),
                      Then::kHang}) == ErrorCode::too_large);
}

TEST_CASE("http_client: a status is an answer, and the connection is kept") {
    ScriptedServer server([](const std::string& request) {
        const bool missing = request.find("/missing") != request.npos;
        return ServerAction{missing ? http_answer("404 Not Found", "no")
                                    : http_answer("200 OK", "yes", "X-Test: 1\r\n"),
                            Then::kKeep};
    });
    HttpClient client(quick());
    const auto first = client.request({"POST", server.url(), {{"A", "b"}}, "body"});
    REQUIRE(first);
    CHECK(first->status == 200);
    CHECK(first->body == "yes");
    CHECK(first->header("x-test") == "1");
    CHECK(first->header("absent").empty());
    CHECK(client.request({"GET", server.url("/missing"), {}, ""})->status == 404);
    CHECK(server.connections() == 1);
    const auto requests = server.requests();
    REQUIRE(requests.size() == 2);
    CHECK(requests[0].find("A: b\r\n") != std::string::npos);
    CHECK(requests[0].ends_with("\r\n\r\nbody"));
}

TEST_CASE("http_client: a kept connection that the server closed is not used again") {
    int served = 0;
    ScriptedServer server([&](const std::string&) {
        ++served;
        return ServerAction{http_answer("200 OK", "yes"), served == 1 ? Then::kClose : Then::kKeep};
    });
    HttpClient client(quick());
    REQUIRE(client.request({"GET", server.url(), {}, ""}));
    // The server's close is seen by the next request at the latest when it reconnects.
    auto second = client.request({"GET", server.url(), {}, ""});
    if (!second) second = client.request({"GET", server.url(), {}, ""});
    REQUIRE(second);
    CHECK(server.connections() == 2);
}

TEST_CASE("http_client: a chunk is handed on before the one after it begins") {
    ScriptedServer server([](const std::string&) {
        return ServerAction{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n",
                            Then::kHang};
    });
    HttpClient client(quick());
    std::string seen;
    const auto stopped = client.stream({"GET", server.url(), {}, ""}, quick(), [&](auto piece) {
        seen += piece;
        return false;
    });
    CHECK(seen == "first");
    REQUIRE_FALSE(stopped.has_value());
    CHECK(stopped.error().code() == ErrorCode::cancelled);  // not timeout
}

TEST_CASE("http_client: streams pieces as they come and stops when told") {
    ScriptedServer server([](const std::string&) {
        return ServerAction{
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n "
            "world\r\n0\r\n\r\n",
            Then::kClose};
    });
    HttpClient client;
    std::string seen;
    const auto whole = client.stream({"GET", server.url(), {}, ""}, quick(), [&](auto piece) {
        seen += piece;
        return true;
    });
    REQUIRE(whole);
    CHECK(seen == "hello world");
    CHECK(whole->body.empty());
    const auto stopped = client.stream({"GET", server.url(), {}, ""}, quick(),
                                       [](std::string_view) { return false; });
    CHECK(stopped.error().code() == ErrorCode::cancelled);
}

TEST_CASE("http_client: downloads resume, and begin anew when the server does") {
    const std::string content = "0123456789";
    bool ranges = true;
    ScriptedServer server([&](const std::string& request) {
        if (ranges && request.find("Range: bytes=4-\r\n") != request.npos)
            return ServerAction{http_answer("206 Partial Content", content.substr(4),
                                            "Content-Range: bytes 4-9/10\r\n"),
                                Then::kKeep};
        return ServerAction{http_answer("200 OK", content), Then::kKeep};
    });
    const TempFile file;
    HttpClient client;
    file.write("0123");
    CHECK(client.download({"GET", server.url(), {}, ""}, quick(), file.path, 4)->status == 206);
    CHECK(file.read() == content);
    file.write("xxxx and more than that");
    ranges = false;
    CHECK(client.download({"GET", server.url(), {}, ""}, quick(), file.path, 4)->status == 200);
    CHECK(file.read() == content);
}

TEST_CASE("http_client: a download of another range or of an error leaves the file alone") {
    ScriptedServer server([&](const std::string& request) {
        if (request.find("/gone") != request.npos)
            return ServerAction{http_answer("404 Not Found", "no"), Then::kKeep};
        return ServerAction{
            http_answer("206 Partial Content", "zz", "Content-Range: bytes 0-1/10\r\n"),
            Then::kKeep};
    });
    const TempFile file;
    file.write("0123");
    HttpClient client;
    CHECK(client.download({"GET", server.url(), {}, ""}, quick(), file.path, 4).error().code() ==
          ErrorCode::invalid_encoding);
    const auto gone = client.download({"GET", server.url("/gone"), {}, ""}, quick(), file.path, 4);
    REQUIRE(gone);
    CHECK(gone->status == 404);
    CHECK(gone->body == "no");
    CHECK(file.read() == "0123");
}

TEST_CASE("http_client: uploads a file, or a part of it") {
    ScriptedServer server([](const std::string&) {
        return ServerAction{http_answer("201 Created", ""), Then::kKeep};
    });
    const TempFile file;
    const std::string content(200'000, 'u');
    file.write(content + "end");
    HttpClient client;
    HttpRequest request{"PUT", server.url("/blob"), {}, ""};
    CHECK(client.upload(request, quick(), file.path)->status == 201);
    CHECK(client.upload(request, quick(), file.path, content.size())->status == 201);
    const auto requests = server.requests();
    REQUIRE(requests.size() == 2);
    CHECK(requests[0].ends_with("\r\n\r\n" + content + "end"));
    CHECK(requests[1].ends_with("\r\n\r\nend"));
    CHECK(client.upload(request, quick(), file.path, content.size() + 4).error().code() ==
          ErrorCode::out_of_range);
    CHECK(client.upload(request, quick(), "/nowhere/at/all").error().code() ==
          ErrorCode::data_missing);
}
