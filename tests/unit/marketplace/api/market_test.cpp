// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/marketplace/api/api_fixture.hpp"

using namespace api_test;

namespace {

const std::string kDigits = "00112233445566778899aabbccddeeff";

/// A market with two providers whose workers are there, and a buyer with money and data.
struct Exchange {
    Fixture f;
    PrivateKey buyer = PrivateKey::generate();
    PrivateKey provider = PrivateKey::generate();
    PrivateKey worker = PrivateKey::generate();
    std::string blob = to_hex(ledger::base::sha256(ledger::base::as_bytes("call me ishmael")));

    explicit Exchange(api::ApiOptions options = {}) : f(std::move(options)) {
        auto client = f.client();
        const auto put =
            client.request("PUT", "/v1/blobs/" + blob, "call me ishmael", f.bearer(buyer));
        REQUIRE(put.status == 201);
        f.engine.apply(domain::EscrowDeposited{buyer.address(), 10'000'000,
                                               ledger::base::sha256(buyer.address().span()), 0});
    }
    void connect(const PrivateKey& who, const PrivateKey& whose) {
        f.engine.apply(domain::WorkerConnected{who.address(), whose.address()});
    }
    [[nodiscard]] std::string ask_body(std::uint64_t price, const std::string& salt) const {
        auto ask = test_ask(f, provider, worker.address());
        ask.ask.price_atoms = price;
        ask.ask.salt = ledger::base::sha256(ledger::base::as_bytes(salt));
        return signed_ask(ask, provider);
    }
    std::string post_ask(std::uint64_t price, const std::string& salt) {
        return f.post("/v1/market/orders", ask_body(price, salt), 201)["id"];
    }
    [[nodiscard]] std::string job_body(const std::string& digits, std::uint64_t ceiling = 200,
                                       domain::Clearing clearing = domain::Clearing::kLimit) const {
        auto job = test_job(f, buyer, train_spec(blob), digits);
        domain::BidLeg& leg = job.command.legs[0];
        leg.constraints.clearing = clearing;
        leg.bid.constraints_hash = wire::document_hash(wire::constraints_document(leg.constraints));
        leg.bid.price_ceiling_atoms = ceiling;
        leg.signature = buyer.sign(ledger::eth::digest(test_domain(), leg.bid));
        return wire::post_job_json(job);
    }
};

std::string digits(std::uint64_t n) {
    return fmt::format("{:032x}", n);
}

}  // namespace

TEST_CASE("market: queries that make no sense are refused with their code") {
    Fixture f;
    const std::vector<std::tuple<std::string, int, std::string>> bad = {
        {"/v1/market/trades?limit=0", 422, "out_of_range"},
        {"/v1/market/trades?after=7", 400, "invalid_field"},
        {"/v1/market/trades?after=x-1", 400, "invalid_field"},
        {"/v1/market/trades?order=sideways", 400, "invalid_field"},
        {"/v1/market/trades?unit_kind=hours", 400, "invalid_field"},
        {"/v1/market/candles?unit_kind=gpu_ms", 400, "missing_field"},
        {"/v1/market/candles?unit_kind=gpu_ms&gpu_model=cpu&interval=2h", 400, "invalid_field"},
        {"/v1/market/candles?unit_kind=gpu_ms&gpu_model=cpu&from=5&to=5", 422, "invalid_window"},
        {"/v1/market/candles?unit_kind=gpu_ms&gpu_model=cpu&from=-5", 400, "invalid_field"},
        {"/v1/market/depth", 400, "missing_field"},
        {"/v1/market/depth?unit_kind=gpu_ms&limit=501", 422, "out_of_range"},
        {"/v1/market/book?limit=501", 422, "out_of_range"},
        {"/v1/market/bids?buyer=0x12", 400, "invalid_encoding"},
        {"/v1/market/bids?after=0x12", 400, "invalid_field"},
        {"/v1/market/stream?after=x", 400, "invalid_field"},
    };
    for (const auto& [target, status, code] : bad) {
        CAPTURE(target);
        CHECK(code_of(f.get(target, status)) == code);
    }
}

TEST_CASE("market: an empty market has empty data") {
    Fixture f;
    CHECK(f.get("/v1/market/trades")["data"].empty());
    CHECK(f.get("/v1/market/index")["data"].empty());
    const json depth = f.get("/v1/market/depth?unit_kind=training_step");
    CHECK(depth["sequence"].is_null());
    CHECK(depth["asks"].empty());
    CHECK(depth["bids"].empty());
    CHECK(f.get("/v1/market/candles?unit_kind=gpu_ms&gpu_model=cpu")["data"].empty());
}

TEST_CASE("market: a match shows in trades, candles, index and depth") {
    Exchange e;
    e.connect(e.worker, e.provider);
    e.post_ask(100, "one");
    e.post_ask(150, "two");
    const std::string depth = "/v1/market/depth?unit_kind=training_step&gpu_model=cpu";
    REQUIRE(e.f.get(depth)["asks"].size() == 2);
    CHECK(e.f.get(depth)["asks"][0] ==
          json{{"price", "100"}, {"gpu_models", {"cpu"}}, {"units", "10000000"}, {"orders", 1}});
    CHECK(e.f.get("/v1/market/index")["data"][0]["source"] == "best_ask");
    e.f.post("/v1/jobs", e.job_body(kDigits), 201);
    const json trades = e.f.get("/v1/market/trades?gpu_model=cpu");
    REQUIRE(trades["data"].size() == 1);
    const json& trade = trades["data"][0];
    CHECK(trade["price"] == "100");
    CHECK(trade["units"] == "100");
    CHECK(trade["region"] == "local");
    CHECK(trade["unit_kind"] == "training_step");
    CHECK(trade["order_class"] == "standing");
    CHECK(trade["time_ms"] == e.f.clock.now_ms());
    CHECK(e.f.get("/v1/market/trades?gpu_model=H100")["data"].empty());
    CHECK(e.f.get("/v1/market/trades?after=" + trade["id"].get<std::string>())["data"].empty());
    const json candles =
        e.f.get("/v1/market/candles?unit_kind=training_step&gpu_model=cpu&interval=1m");
    REQUIRE(candles["data"].size() == 1);
    CHECK(candles["data"][0]["open"] == "100");
    CHECK(candles["data"][0]["mean"] == "100");
    CHECK(candles["data"][0]["volume"] == "100");
    const json index = e.f.get("/v1/market/index");
    CHECK(index["data"][0]["price"] == "100");
    CHECK(index["data"][0]["source"] == "trades");
    CHECK(e.f.get(depth)["asks"].empty());  // the worker is busy
    e.f.post("/v1/jobs", e.job_body(digits(2), 90), 201);
    const json waiting = e.f.get(depth);
    REQUIRE(waiting["bids"].size() == 1);
    CHECK(waiting["bids"][0] ==
          json{{"price", "90"}, {"gpu_models", json::array()}, {"units", "100"}, {"orders", 1}});
    const json book = e.f.get("/v1/market/book?gpu_model=cpu&region=local&limit=1");
    REQUIRE(book["asks"].size() == 1);
    CHECK(book["asks"][0]["price"] == "100");
    CHECK(book["asks"][0]["online"] == true);
    CHECK(book["bids"][0]["price_ceiling"] == "90");
    CHECK(e.f.get("/v1/market/book?region=mars")["asks"].empty());
}

TEST_CASE("market: trades go both ways from a cursor") {
    Exchange e;
    for (std::uint64_t n = 0; n < 3; ++n) {
        const auto worker = PrivateKey::generate();
        e.connect(worker, e.provider);
        auto ask = test_ask(e.f, e.provider, worker.address());
        ask.ask.price_atoms = 100 + n;
        e.f.post("/v1/market/orders", signed_ask(ask, e.provider), 201);
        e.f.post("/v1/jobs", e.job_body(digits(n)), 201);
    }
    const json newest = e.f.get("/v1/market/trades?limit=2");
    REQUIRE(newest["data"].size() == 2);
    CHECK(newest["has_more"] == true);
    CHECK(newest["data"][0]["price"] == "102");
    const std::string middle = newest["data"][1]["id"];
    const json older = e.f.get("/v1/market/trades?after=" + middle);
    REQUIRE(older["data"].size() == 1);
    CHECK(older["data"][0]["price"] == "100");
    const json newer = e.f.get("/v1/market/trades?order=asc&after=" + middle);
    REQUIRE(newer["data"].size() == 1);
    CHECK(newer["data"][0]["price"] == "102");
    CHECK(newer["has_more"] == false);
}

TEST_CASE("market: the stream begins with a reset, tells every change, and resumes without a gap") {
    Exchange e;
    e.connect(e.worker, e.provider);
    auto client = e.f.client();
    client.send("GET /v1/market/stream HTTP/1.1\r\nHost: a\r\n\r\n");
    REQUIRE(client.read_until("event: reset\ndata: {\"sequence\":1}\n\n"));
    CHECK(client.buffer().find("text/event-stream") != std::string::npos);
    const std::string ask = e.post_ask(100, "one");
    REQUIRE(client.read_until("event: order_accepted\n"));
    REQUIRE(client.read_until(ask));
    // The record's last change has its number.
    REQUIRE(client.read_until("id: 2\nevent: level\n"));
    CHECK(client.buffer().find("id: 2\nevent: order_accepted") == std::string::npos);
    client.close();

    e.f.post("/v1/jobs", e.job_body(kDigits), 201);
    auto again = e.f.client();
    again.send("GET /v1/market/stream HTTP/1.1\r\nHost: a\r\nLast-Event-ID: 2\r\n\r\n");
    REQUIRE(again.read_until("event: match\n"));
    REQUIRE(again.read_until("\"reason\":\"matched\""));
    REQUIRE(again.read_until("id: 3\n"));
    CHECK(again.buffer().find("event: reset") == std::string::npos);
    CHECK(again.buffer().find("\"sequence\":2") == std::string::npos);

    // A place that this market never gave.
    auto ahead = e.f.client();
    ahead.send("GET /v1/market/stream?after=500 HTTP/1.1\r\nHost: a\r\n\r\n");
    CHECK(ahead.read_until("id: 3\nevent: reset\ndata: {\"sequence\":3}\n\n"));
}

TEST_CASE("market: a reader that was away too long is told to read the snapshot") {
    Exchange e;
    e.connect(e.worker, e.provider);
    std::uint64_t sequence = 100;
    // Two changes a record: fill the ring and one more.
    for (std::size_t i = 0; i < engine::MarketData::kChangesKept / 2 + 2; ++i) {
        domain::PostAsk ask = test_ask(e.f, e.provider, e.worker.address());
        const auto id = ledger::base::sha256(ledger::base::as_bytes(std::to_string(i)));
        e.f.market.add({sequence++,
                        e.f.clock.now_ms(),
                        {},
                        ask,
                        {domain::AskAccepted{id}, domain::AskClosed{id, "cancelled"}},
                        {}});
    }
    auto client = e.f.client();
    client.send("GET /v1/market/stream HTTP/1.1\r\nHost: a\r\nLast-Event-ID: 100\r\n\r\n");
    CHECK(client.read_until(fmt::format("id: {}\nevent: reset\n", sequence - 1)));
}

TEST_CASE("market: a record larger than the stream's queue arrives whole") {
    Exchange e;
    domain::PostAsk ask = test_ask(e.f, e.provider, e.worker.address());
    std::vector<domain::Event> events;
    for (std::size_t i = 0; i < 10'000; ++i) {
        const auto id = ledger::base::sha256(ledger::base::as_bytes(std::to_string(i)));
        events.push_back(domain::AskAccepted{id});
    }
    auto client = e.f.client();
    client.send("GET /v1/market/stream?after=0 HTTP/1.1\r\nHost: a\r\n\r\n");
    REQUIRE(client.read_until(": connected"));
    e.f.market.add({1, e.f.clock.now_ms(), {}, ask, std::move(events), {}});
    CHECK(client.read_until("id: 1\n", 20'000));
    std::size_t count = 0;
    for (auto at = client.buffer().find("event: order_accepted"); at != std::string::npos;
         at = client.buffer().find("event: order_accepted", at + 1))
        ++count;
    CHECK(count == 10'000);
}

TEST_CASE("orders: an ask is amended whole or not at all, by its provider only") {
    Exchange e;
    const std::string id = e.post_ask(100, "one");
    const std::string target = "/v1/market/orders/" + id + "/amend";
    CHECK(code_of(e.f.post(target, "{", 400)) == "invalid_json");
    CHECK(code_of(e.f.post("/v1/market/orders/0x12/amend", e.ask_body(90, "two"), 404)) ==
          "not_found");
    CHECK(code_of(e.f.post("/v1/market/orders/" + e.blob + "/amend", e.ask_body(90, "two"), 404)) ==
          "not_found");
    CHECK(code_of(e.f.post(target, e.ask_body(0, "two"), 422)) == "invalid_price");
    const auto stranger = PrivateKey::generate();
    auto theirs = test_ask(e.f, stranger, e.worker.address());
    CHECK(code_of(e.f.post(target, signed_ask(theirs, stranger), 403)) == "forbidden");
    CHECK(code_of(e.f.post(target, signed_ask(theirs, e.provider), 401)) == "invalid_signature");
    CHECK(e.f.get("/v1/market/orders/" + id)["state"] == "open");
    const json amended = e.f.post(target, e.ask_body(90, "two"), 201);
    CHECK(amended["ask"]["price"] == "90");
    CHECK(e.f.get("/v1/market/orders/" + id)["state"] == "closed");
    const json book = e.f.get("/v1/market/book");
    REQUIRE(book["asks"].size() == 1);
    CHECK(book["asks"][0]["price"] == "90");
    CHECK(code_of(e.f.post(target, e.ask_body(80, "three"), 409)) == "already_cancelled");
}

TEST_CASE("jobs: an open job is amended whole or not at all, and bids are listed") {
    Exchange e;
    e.f.post("/v1/jobs", e.job_body(kDigits), 201);
    const std::string target = "/v1/jobs/job_" + kDigits + "/amend";
    CHECK(code_of(e.f.post("/v1/jobs/job_" + digits(9) + "/amend", e.job_body(digits(2)), 404)) ==
          "not_found");
    CHECK(code_of(e.f.post(target, e.job_body(digits(2), 0), 422)) == "invalid_price");
    CHECK(e.f.get("/v1/jobs/job_" + kDigits)["state"] == "open");
    const std::string header = "Idempotency-Key: once\r\n";
    const json amended = e.f.post(target, e.job_body(digits(2), 300), 201, header);
    CHECK(amended["id"] == "job_" + digits(2));
    CHECK(e.f.post(target, e.job_body(digits(2), 300), 201, header) == amended);
    CHECK(e.f.get("/v1/jobs/job_" + kDigits)["state"] == "cancelled");
    const std::string mine = "/v1/market/bids?buyer=" + to_hex(e.buyer.address());
    const json bids = e.f.get(mine);
    REQUIRE(bids["data"].size() == 2);
    CHECK(bids["data"][1]["bid"]["priceCeiling"] == "300");
    CHECK(bids["data"][1]["state"] == "open");
    CHECK(e.f.get(mine + "&state=open")["data"].size() == 1);
    CHECK(e.f.get(mine + "&unit_kind=gpu_ms")["data"].empty());
    const json page = e.f.get(mine + "&limit=1");
    CHECK(page["has_more"] == true);
    const json rest = e.f.get(mine + "&after=" + page["last_id"].get<std::string>());
    REQUIRE(rest["data"].size() == 1);
    CHECK(rest["data"][0] == bids["data"][1]);
}

TEST_CASE("market: a sealed bid is shown to nobody but its buyer") {
    Exchange e;
    e.f.post("/v1/jobs", e.job_body(kDigits, 200, domain::Clearing::kBatch), 201);
    CHECK(e.f.get("/v1/market/depth?unit_kind=training_step")["bids"].empty());
    CHECK(e.f.get("/v1/market/book")["bids"].empty());
    CHECK(e.f.get("/v1/market/bids")["data"].empty());
    auto client = e.f.client();
    const auto theirs =
        client.request("GET", "/v1/market/bids", "", e.f.bearer(PrivateKey::generate()));
    CHECK(json::parse(theirs.body)["data"].empty());
    const auto mine = client.request("GET", "/v1/market/bids", "", e.f.bearer(e.buyer));
    CHECK(json::parse(mine.body)["data"].size() == 1);
}

TEST_CASE("orders: too many of one account wait as long as Retry-After says; others do not") {
    api::ApiOptions options;
    options.orders_per_s = 0.1;
    options.order_burst = 2;
    Exchange e(options);
    e.post_ask(100, "one");
    e.post_ask(100, "two");
    auto client = e.f.client();
    const auto refused = client.request("POST", "/v1/market/orders", e.ask_body(100, "three"));
    CHECK(refused.status == 429);
    CHECK(code_of(json::parse(refused.body)) == "rate_limited");
    CHECK(refused.header("retry-after") == "10");
    e.f.post("/v1/jobs", e.job_body(kDigits), 201);  // another account
    // A bad signature takes nothing from the account it names.
    auto forged = test_ask(e.f, e.buyer, e.worker.address());
    for (int i = 0; i < 5; ++i)
        e.f.post("/v1/market/orders", signed_ask(forged, e.worker), 401);
    e.f.post("/v1/jobs/job_" + kDigits + "/amend", e.job_body(digits(2)), 201);
    e.f.clock.time_ms += 10'000;
    CHECK(client.request("POST", "/v1/market/orders", e.ask_body(100, "three")).status == 201);
    const json limits = e.f.get("/v1/market/info")["limits"];
    CHECK(limits["order_burst"] == 2);
    CHECK(limits["open_orders_per_account"] == 10'000);
    CHECK(e.f.get("/v1/market/info")["max_failovers"] == 5);
}
