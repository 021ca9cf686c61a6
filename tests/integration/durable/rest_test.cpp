// SPDX-License-Identifier: Apache-2.0
// What a client sees while the market cannot take its order: a stable code and when to come back;
// reads go on, and so does posting as soon as it can.
#include "ledger/base/hex.hpp"
#include "ledger/crypto/secp256k1.hpp"
#include "marketplace/wire/document.hpp"
#include "marketplace/wire/order_json.hpp"
#include "tests/integration/durable/small_disk.hpp"
#include "tests/support/http_test_client.hpp"
#include "tests/support/market.hpp"
#include "tests/support/rest_market.hpp"
#include "tests/support/temp_database.hpp"

#include <SQLiteCpp/SQLiteCpp.h>
#include <doctest/doctest.h>
#include <nlohmann/json.hpp>
#include <poll.h>

#include <algorithm>
#include <condition_variable>
#include <cstdio>
#include <mutex>
#include <string>
#include <vector>

namespace {

using namespace marketplace;  // NOLINT: a test
using nlohmann::json;
using test_support::HttpAnswer;
using test_support::HttpTestClient;

constexpr const char* kOrders = "/v1/market/orders";

engine::EngineConfig make_config() {
    engine::EngineConfig out;
    out.domain = {31337, tests::worker(0)};
    return out;
}

/// Signed asks of one provider; each has its own worker and salt.
class Provider {
 public:
    std::string next_body() {
        domain::PostAsk order = tests::make_ask(serial_, serial_);
        ++serial_;
        const std::uint64_t now_s = ledger::base::SystemClock().now_ms() / 1000;
        order.ask.provider = key_.address();
        order.ask.resource_hash = wire::document_hash(wire::resource_document(order.resource));
        order.ask.earliest_s = now_s - 10;
        order.ask.expiry_s = now_s + 86'400;
        order.signature = key_.sign(ledger::eth::digest(make_config().domain, order.ask));
        return wire::post_ask_json(order);
    }

 private:
    ledger::crypto::PrivateKey key_ = ledger::crypto::PrivateKey::generate();
    std::uint64_t serial_ = 1;
};

std::string code_of(const HttpAnswer& answer) {
    const json body = json::parse(answer.body, nullptr, false);
    return body.is_object() ? body.value("code", "") : "";
}

/// Empty, or what is wrong with a refusal that a client should try again.
std::string wrong_refusal(const HttpAnswer& answer, std::string_view code) {
    if (answer.status != 503) return "status " + std::to_string(answer.status);
    if (answer.header("content-type") != "application/problem+json") return "content type";
    if (answer.header("retry-after").empty()) return "no Retry-After";
    return code_of(answer) == code ? "" : "code " + code_of(answer);
}

/// Posts, fills the disk, posts, reads, makes room, posts. Empty, or what went wrong: it also runs
/// in a process of its own.
template <typename Fill, typename MakeRoom>
std::string post_on_full_disk(tests::RestMarket& market, Fill fill, MakeRoom make_room) {
    Provider provider;
    HttpTestClient client(market.port());
    const auto post = [&] { return client.request("POST", kOrders, provider.next_body()); };
    const HttpAnswer first = post();
    if (first.status != 201) return "the first order: " + first.body;
    const std::string id = json::parse(first.body)["id"];
    fill();
    // What still fits is taken, then nothing is.
    std::uint64_t taken = 1;
    HttpAnswer answer = post();
    for (; answer.status == 201 && taken < 100'000; ++taken)
        answer = post();
    for (int i = 0; i < 20; ++i) {
        if (auto wrong = wrong_refusal(answer, "disk_full"); !wrong.empty()) return wrong;
        if (client.request("GET", std::string(kOrders) + "/" + id).body != first.body)
            return "the order cannot be read";
        if (client.request("GET", "/v1/market/book").status != 200) return "no book";
        if (client.request("GET", "/livez").status != 200) return "not alive";
        answer = post();
    }
    const std::string refused = provider.next_body();
    answer = client.request("POST", kOrders, refused);
    if (answer.status != 503) return "not full any more";
    make_room();
    // The very request that was refused.
    answer = client.request("POST", kOrders, refused);
    if (answer.status != 201) return "after: " + answer.body;
    for (int i = 0; i < 20; ++i, ++taken)
        if (post().status != 201) return "posting did not go on";
    ++taken;
    // What was refused left no trace: the log has a record for each order taken.
    return market.log().size() == taken ? "" : "the log has another number of records";
}

/// On a real file system that is really full.
int post_on_small_disk(const std::filesystem::path& folder) {
    if (!durable::mount_small_disk(folder, "size=14m")) return durable::kNoMount;
    const auto ballast = folder / "ballast";
    tests::RestMarket market(folder, make_config());
    market.start();
    const std::string wrong = post_on_full_disk(
        market, [&] { durable::fill_disk(ballast); }, [&] { std::filesystem::remove(ballast); });
    if (!wrong.empty()) std::fprintf(stderr, "%s\n", wrong.c_str());
    return wrong.empty() ? 0 : 1;
}

/// Holds the engine's thread inside a group.
class Gate {
 public:
    void pass() {
        std::unique_lock lock(mutex_);
        inside_ = true;
        changed_.notify_all();
        changed_.wait(lock, [this] { return open_; });
    }
    void wait_inside() {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return inside_; });
    }
    void open() {
        const std::scoped_lock lock(mutex_);
        open_ = true;
        changed_.notify_all();
    }

 private:
    std::mutex mutex_;
    std::condition_variable changed_;
    bool inside_ = false;
    bool open_ = false;
};

void send_post(HttpTestClient& client, const std::string& body) {
    REQUIRE(client.send(std::string("POST ") + kOrders +
                        " HTTP/1.1\r\nHost: localhost\r\nContent-Length: " +
                        std::to_string(body.size()) + "\r\n\r\n" + body));
}

/// Those that were answered, once there are `count` of them.
std::vector<std::size_t> wait_answered(const std::vector<HttpTestClient>& clients,
                                       std::size_t count) {
    for (;;) {
        std::vector<pollfd> waiting;
        for (const HttpTestClient& client : clients)
            waiting.push_back({client.fd(), POLLIN, 0});
        REQUIRE(::poll(waiting.data(), waiting.size(), 10'000) > 0);
        std::vector<std::size_t> out;
        for (std::size_t i = 0; i < waiting.size(); ++i)
            if (waiting[i].revents != 0) out.push_back(i);
        if (out.size() >= count) return out;
    }
}

}  // namespace

TEST_CASE("rest: a database that cannot grow answers 503, serves readers, and goes on") {
    const tests::TempFolder folder;
    tests::RestMarket market(folder.file("."), make_config());
    market.start();
    // The limit is changed between requests: the engine's thread is idle then.
    SQLite::Database& raw = market.database().raw();
    const std::string wrong = post_on_full_disk(
        market,
        [&] {
            const int pages = raw.execAndGet("PRAGMA page_count").getInt();
            raw.exec("PRAGMA max_page_count=" + std::to_string(pages + 20));
        },
        [&] { raw.exec("PRAGMA max_page_count=100000"); });
    CHECK(wrong == "");
}

TEST_CASE("rest: a full file system answers 503, serves readers, and goes on") {
    const tests::TempFolder folder;
    std::filesystem::create_directories(folder.file("disk"));
    const int status =
        durable::run_in_child([&] { return post_on_small_disk(folder.file("disk")); });
    if (status == durable::kNoMount) {
        MESSAGE("skipped: no user namespace with mounts here");
        return;
    }
    CHECK(status == 0);
}

TEST_CASE("rest: a full engine queue answers 503, and what was queued is taken") {
    constexpr std::size_t kQueue = 4;
    constexpr std::size_t kRefused = 3;
    const tests::TempFolder folder;
    Gate gate;
    tests::RestMarket market(folder.file("."), make_config(), kQueue);
    market.engine().on_stage([&](app::EngineThread::Stage stage) {
        if (stage == app::EngineThread::Stage::kCommitting) gate.pass();
    });
    market.start();
    Provider provider;
    HttpTestClient first(market.port());
    send_post(first, provider.next_body());
    gate.wait_inside();
    std::vector<HttpTestClient> clients;
    std::vector<std::string> bodies;
    for (std::size_t i = 0; i < kQueue + kRefused; ++i) {
        clients.emplace_back(market.port());
        bodies.push_back(provider.next_body());
        send_post(clients.back(), bodies.back());
    }
    const auto refused = wait_answered(clients, kRefused);
    CHECK(refused.size() == kRefused);
    for (const std::size_t i : refused)
        CHECK(wrong_refusal(clients[i].read_answer(), "queue_full") == "");
    HttpTestClient reader(market.port());
    CHECK(wrong_refusal(reader.request("GET", "/v1/market/book"), "queue_full") == "");
    CHECK(reader.request("GET", "/v1/market/info").status == 200);
    CHECK(reader.request("GET", "/livez").status == 200);
    gate.open();
    CHECK(first.read_answer().status == 201);
    for (std::size_t i = 0; i < clients.size(); ++i) {
        if (std::find(refused.begin(), refused.end(), i) == refused.end()) {
            CHECK(clients[i].read_answer().status == 201);
        } else {
            CHECK(clients[i].request("POST", kOrders, bodies[i]).status == 201);
        }
    }
    CHECK(market.log().size() == 1 + clients.size());
}
