// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/marketplace/http/http_fixture.hpp"

#include <atomic>
#include <mutex>

using namespace http_test;

namespace {

/// A masked client frame (RFC 6455 section 5.2) with a zero mask.
std::string frame(unsigned opcode, std::string_view payload, bool final = true) {
    std::string out;
    out.push_back(static_cast<char>((final ? 0x80U : 0U) | opcode));
    if (payload.size() < 126) {
        out.push_back(static_cast<char>(0x80U | payload.size()));
    } else if (payload.size() < 65536) {
        out.push_back(static_cast<char>(0x80U | 126U));
        out.push_back(static_cast<char>(payload.size() >> 8U));
        out.push_back(static_cast<char>(payload.size() & 0xffU));
    } else {
        out.push_back(static_cast<char>(0x80U | 127U));
        for (int shift = 56; shift >= 0; shift -= 8)
            out.push_back(
                static_cast<char>((payload.size() >> static_cast<unsigned>(shift)) & 0xffU));
    }
    out.append(4, '\0');
    out += payload;
    return out;
}

struct Shared {
    std::mutex mutex;
    WebSocketSessionPtr session;
    std::atomic<int> opened{0};
    std::atomic<int> closed{0};
};

class Echo final : public WebSocketHandler {
 public:
    explicit Echo(Shared& shared) : shared_(shared) {}
    void on_open(WebSocketSessionPtr session) override {
        session_ = session;
        const std::lock_guard lock(shared_.mutex);
        shared_.session = std::move(session);
        ++shared_.opened;
        session_->send("welcome");
    }
    void on_message(std::string text) override { session_->send("echo " + text); }
    void on_close() override {
        session_.reset();
        ++shared_.closed;
    }

 private:
    Shared& shared_;
    WebSocketSessionPtr session_;
};

Router ws_router(Shared& shared) {
    Router router = test_router();
    router.websocket("/ws",
                     [&shared](const Request& request)
                         -> ledger::base::Result<std::shared_ptr<WebSocketHandler>> {
                         if (request.header("authorization") != "Bearer good")
                             return ledger::base::fail(ledger::base::ErrorCode::unauthorized);
                         return std::make_shared<Echo>(shared);
                     });
    return router;
}

constexpr std::string_view kUpgrade =
    "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";

bool wait_for(const std::atomic<int>& value, int wanted) {
    const auto until = std::chrono::steady_clock::now() + milliseconds(15'000);
    while (value < wanted && std::chrono::steady_clock::now() < until)
        std::this_thread::yield();
    return value >= wanted;
}

HttpTestClient open_socket(RunningServer& running) {
    auto client = running.client();
    client.send(std::string(kUpgrade) + "Authorization: Bearer good\r\n\r\n");
    const auto answer = client.read_answer(true);
    CHECK(answer.status == 101);
    CHECK(answer.header("sec-websocket-accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    CHECK(client.read_until("welcome"));
    client.buffer().clear();
    return client;
}

}  // namespace

TEST_CASE("websocket: upgrades are authorised first") {
    Shared shared;
    RunningServer running(ws_router(shared));
    auto client = running.client();
    client.send(std::string(kUpgrade) + "\r\n");
    CHECK(client.read_answer().status == 400);
    auto plain = running.client();
    CHECK(plain.request("GET", "/ws", "", "Authorization: Bearer good\r\n").status == 426);
    CHECK(shared.opened == 0);
}

TEST_CASE("websocket: messages go both ways, also from other threads") {
    Shared shared;
    RunningServer running(ws_router(shared));
    auto client = open_socket(running);
    client.send(frame(1, "one"));
    CHECK(client.read_until("echo one"));
    client.send(frame(1, "tw", false) + frame(0, "o"));
    CHECK(client.read_until("echo two"));
    std::thread other([&] {
        const std::lock_guard lock(shared.mutex);
        for (int i = 0; i < 100; ++i)
            shared.session->send("n" + std::to_string(i) + ";");
    });
    other.join();
    CHECK(client.read_until("n99;"));
    CHECK(running.server.stats().websockets == 1);
    client.close();
    CHECK(wait_for(shared.closed, 1));
    const std::lock_guard lock(shared.mutex);
    CHECK_FALSE(shared.session->is_open());
    CHECK_FALSE(shared.session->send("late"));
}

TEST_CASE("websocket: large, binary and unmasked frames close the connection") {
    Shared shared;
    RunningServer running(ws_router(shared));
    {
        auto client = open_socket(running);
        client.send(frame(1, std::string(70'000, 'x')));
        CHECK(client.closed_within(milliseconds(15'000)));
    }
    {
        auto client = open_socket(running);
        client.send(frame(2, "binary"));
        client.send(frame(8, ""));
        CHECK(client.closed_within(milliseconds(15'000)));
    }
    {
        auto client = open_socket(running);
        client.send("\x81\x01x");
        CHECK(client.closed_within(milliseconds(15'000)));
    }
    CHECK(wait_for(shared.closed, 3));
}

TEST_CASE("websocket: a client that does not read is closed at the queue's limit") {
    Shared shared;
    RunningServer running(ws_router(shared));
    auto client = open_socket(running);
    const std::string message(60'000, 'm');
    {
        const std::lock_guard lock(shared.mutex);
        int sent = 0;
        while (sent < 100'000 && shared.session->send(message))
            ++sent;
        CHECK(sent < 100'000);
    }
    CHECK(wait_for(shared.closed, 1));
}

TEST_CASE("websocket: silent peers are pinged and then closed; stop closes all") {
    Shared shared;
    RunningServer running(ws_router(shared));
    auto silent = open_socket(running);  // never answers pings
    CHECK(wait_for(shared.closed, 1));
    auto client = open_socket(running);
    running.server.stop(milliseconds(200));
    CHECK(shared.closed == 2);
}
