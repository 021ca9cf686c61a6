// SPDX-License-Identifier: Apache-2.0
// Every probe of hostile HTTP that we know of, against a real socket.
#include "tests/unit/marketplace/http/http_fixture.hpp"

#include <sys/resource.h>

#include <vector>

using namespace http_test;

namespace {

/// Status of the answer to raw bytes; 0 when the connection was closed without one.
int status_of(RunningServer& running, std::string_view bytes) {
    auto client = running.client();
    client.send(bytes);
    return client.read_answer().status;
}

}  // namespace

TEST_CASE("hostile: framing that two parsers could read differently is refused") {
    RunningServer running;
    const auto post = [&](std::string_view headers) {
        return status_of(running, "POST /echo HTTP/1.1\r\nHost: a\r\n" + std::string(headers) +
                                      "\r\n5\r\nhello\r\n0\r\n\r\n");
    };
    CHECK(post("Transfer-Encoding: chunked\r\n") == 411);
    CHECK(post("Transfer-Encoding: chunked, gzip\r\n") == 411);
    CHECK(post("Transfer-Encoding: identity\r\n") == 411);
    CHECK(post("Transfer-Encoding : chunked\r\n") == 400);
    CHECK(post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n") == 400);
    CHECK(post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n") == 400);
    CHECK(post("Content-Length: 5\r\nContent-Length: 5\r\n") == 400);
    CHECK(post("Content-Length: 5\r\nContent-Length: 6\r\n") == 400);
    CHECK(post("Content-Length: 5, 5\r\n") == 400);
    CHECK(post("Content-Length: +5\r\n") == 400);
    CHECK(post("Content-Length: 0x5\r\n") == 400);
    CHECK(post("Content-Length: -1\r\n") == 400);
    CHECK(post("Content-Length: 18446744073709551616\r\n") == 400);
    CHECK(post("Content-Length: 5 5\r\n") == 400);
    CHECK(status_of(
              running,
              "POST /echo HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n") ==
          411);
    auto client = running.client();
    CHECK(client.request("GET", "/hello").status == 200);
}

TEST_CASE("hostile: host, version, target and method are checked") {
    RunningServer running;
    CHECK(status_of(running, "GET /hello HTTP/1.1\r\n\r\n") == 400);
    CHECK(status_of(running, "GET /hello HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n") == 400);
    CHECK(status_of(running, "GET /hello HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n") == 400);
    CHECK(status_of(running, "GET /hello HTTP/1.1\r\nHost: a b\r\n\r\n") == 400);
    CHECK(status_of(running, "GET hello HTTP/1.1\r\nHost: a\r\n\r\n") == 400);
    CHECK(status_of(running, "GET /a\x01 HTTP/1.1\r\nHost: a\r\n\r\n") == 400);
    CHECK(status_of(running, "GET /hello HTTP/2.0\r\nHost: a\r\n\r\n") >= 400);
    CHECK(status_of(running, "BREW /hello HTTP/1.1\r\nHost: a\r\n\r\n") == 501);
    CHECK(status_of(running, "GET /hello HTTP/1.1\r\nHost: a\r\nBad Name: x\r\n\r\n") == 400);
    CHECK(status_of(running, "GET /hello HTTP/1.1\r\nHost: a\r\nX: a\x01 b\r\n\r\n") == 400);
    CHECK(status_of(running, "GET /hello HTTP/1.1\nHost: a\n\n") != 200);
    CHECK(status_of(running, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 tls\r\n\r\n") == 400);
    CHECK(status_of(running, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") >= 400);
    CHECK(status_of(running, "\r\n\r\nGET /hello HTTP/1.1\r\nHost: a\r\n\r\n") == 200);
    CHECK(status_of(running, "GET /hello HTTP/1.1\r\nHost: a\r\nExpect: a-pony\r\n\r\n") == 417);
}

TEST_CASE("hostile: heads are bounded in bytes and fields") {
    RunningServer running;
    const std::string big(9000, 'h');
    CHECK(status_of(running, "GET /hello HTTP/1.1\r\nHost: a\r\nX: " + big + "\r\n\r\n") == 431);
    CHECK(status_of(running, "GET /" + big + " HTTP/1.1\r\nHost: a\r\n\r\n") == 431);
    std::string many = "GET /hello HTTP/1.1\r\nHost: a\r\n";
    for (int i = 0; i < 70; ++i)
        many += "X-" + std::to_string(i) + ": 1\r\n";
    CHECK(status_of(running, many + "\r\n") == 431);
    auto client = running.client();
    const std::string endless(64 * 1024, 'x');
    int sent = 0;
    while (sent < 1000 && client.send(endless))
        ++sent;
    CHECK(sent < 1000);  // the server does not take 64 MB of head
}

TEST_CASE("hostile: bodies are bounded before they are read") {
    RunningServer running;
    CHECK(status_of(running, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n") ==
          413);
    CHECK(status_of(running,
                    "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551615\r\n"
                    "\r\n") == 413);
    auto client = running.client();
    const std::string body(300'000, 'x');
    const auto answer = client.request("POST", "/echo", body);  // sent although refused
    CHECK(answer.status == 413);
}

TEST_CASE("hostile: a slow head is cut at its deadline, however steadily it comes") {
    RunningServer running;
    auto client = running.client();
    const auto begin = std::chrono::steady_clock::now();
    const std::string head = "GET /hello HTTP/1.1\r\nHost: a\r\nX-Slow: " + std::string(200, 's');
    bool open = true;
    for (const char c : head) {
        if (!client.send(std::string_view(&c, 1))) open = false;
        if (!open || client.closed_within(milliseconds(20))) break;
    }
    const auto took = std::chrono::steady_clock::now() - begin;
    CHECK(took >= milliseconds(900));
    CHECK(took < milliseconds(4000));
    CHECK(client.buffer().find(" 408 ") != std::string::npos);
}

TEST_CASE("hostile: silent, slow-body and slow-reading clients are cut") {
    RunningServer running;
    auto silent = running.client();
    auto slow_body = running.client();
    slow_body.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc");
    auto slow_reader = running.client();
    for (int i = 0; i < 20; ++i)
        slow_reader.send("GET /big HTTP/1.1\r\nHost: a\r\n\r\n");
    auto idle = running.client();
    CHECK(idle.request("GET", "/hello").status == 200);
    CHECK(silent.closed_within(milliseconds(15'000)));
    CHECK(slow_body.closed_within(milliseconds(15'000)));
    CHECK(slow_body.buffer().find(" 408 ") != std::string::npos);
    CHECK(idle.closed_within(milliseconds(15'000)));
    const auto until = std::chrono::steady_clock::now() + milliseconds(15'000);
    while (running.server.stats().connections > 0 && std::chrono::steady_clock::now() < until)
        std::this_thread::yield();
    CHECK(running.server.stats().connections == 0);
}

TEST_CASE("hostile: connections are counted in total and per address") {
    ServerOptions options = short_times();
    options.idle_timeout = options.header_timeout = milliseconds(20'000);
    options.connections_per_address_max = 5;
    RunningServer running(test_router(), options);
    std::vector<HttpTestClient> clients;
    for (int i = 0; i < 5; ++i) {
        clients.push_back(running.client());
        CHECK(clients.back().request("GET", "/hello").status == 200);
    }
    auto extra = running.client();
    const auto refused = extra.read_answer();
    CHECK(refused.status == 503);
    CHECK(refused.header("retry-after") == "1");
    clients.pop_back();
    const auto until = std::chrono::steady_clock::now() + milliseconds(15'000);
    while (running.server.stats().connections >= 5 && std::chrono::steady_clock::now() < until)
        std::this_thread::yield();
    auto next = running.client();
    CHECK(next.request("GET", "/hello").status == 200);
    CHECK(running.server.stats().refused_connections >= 1);
}

TEST_CASE("hostile: without descriptors the accept loop waits and recovers") {
    RunningServer running;
    rlimit old{};
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &old) == 0);
    std::vector<HttpTestClient> clients;
    auto first = running.client();
    CHECK(first.request("GET", "/hello").status == 200);
    rlimit tight = old;
    tight.rlim_cur = static_cast<rlim_t>(first.fd()) + 4;
    for (int i = 0; i < 3; ++i)
        clients.push_back(running.client());
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &tight) == 0);
    rusage before{};
    ::getrusage(RUSAGE_SELF, &before);
    auto waiting = running.client();
    const bool early = waiting.closed_within(milliseconds(500));
    rusage after{};
    ::getrusage(RUSAGE_SELF, &after);
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &old) == 0);
    const auto cpu_ms = (after.ru_utime.tv_sec - before.ru_utime.tv_sec) * 1000 +
                        (after.ru_utime.tv_usec - before.ru_utime.tv_usec) / 1000;
    CHECK(cpu_ms < 250);  // does not spin
    static_cast<void>(early);
    auto next = running.client();
    CHECK(next.request("GET", "/hello").status == 200);
}

TEST_CASE("hostile: requests per connection are bounded") {
    ServerOptions options = short_times();
    options.requests_per_connection_max = 3;
    RunningServer running(test_router(), options);
    auto client = running.client();
    CHECK(client.request("GET", "/hello").header("connection").empty());
    CHECK(client.request("GET", "/hello").header("connection").empty());
    CHECK(client.request("GET", "/hello").header("connection") == "close");
    CHECK(client.closed_within(milliseconds(15'000)));
}

TEST_CASE("hostile: random and mutated requests never harm the server") {
    RunningServer running;
    std::uint32_t seed = 12345;
    const auto next = [&seed] { return seed = seed * 1664525U + 1013904223U; };
    const std::string valid =
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nX-A: b\r\n\r\nhello";
    for (int i = 0; i < 300; ++i) {
        std::string bytes = valid;
        for (int n = 0; n < 3; ++n)
            bytes[next() % bytes.size()] = static_cast<char>(next() >> 16U);
        auto client = running.client();
        client.send(bytes);
        ::shutdown(client.fd(), SHUT_WR);
        const auto answer = client.read_answer();
        const bool fine = answer.status == 0 || answer.status == 200 ||
                          (answer.status >= 400 && answer.status < 600 && answer.status != 500);
        CHECK_MESSAGE(fine, answer.status);
    }
    auto client = running.client();
    CHECK(client.request("GET", "/hello").status == 200);
}
