// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/marketplace/api/api_fixture.hpp"

using namespace api_test;

TEST_CASE("orders: malformed, mis-signed and foreign asks are refused with their code") {
    Fixture f;
    const auto provider = PrivateKey::generate();
    const auto worker = PrivateKey::generate();
    const auto ask = test_ask(f, provider, worker.address());
    const auto post = [&](const std::string& body, int status) {
        return code_of(f.post("/v1/market/orders", body, status));
    };
    CHECK(post("{", 400) == "invalid_json");
    CHECK(post("[]", 400) == "invalid_request");
    CHECK(post("{}", 400) == "missing_field");
    const std::string good = signed_ask(ask, provider);
    json changed = json::parse(good);
    changed["extra"] = 1;
    CHECK(post(changed.dump(), 400) == "unknown_field");
    changed = json::parse(good);
    changed["ask"]["price"] = 100;
    CHECK(post(changed.dump(), 400) == "invalid_field");
    changed = json::parse(good);
    changed["ask"]["price"] = "18446744073709551616";
    CHECK(post(changed.dump(), 422) == "out_of_range");
    CHECK(post(good.substr(0, good.size() - 1) + ",\"signature\":\"0x00\"}", 400) ==
          "invalid_json");
    changed = json::parse(good);
    changed["resource"] = " {}";
    CHECK(post(changed.dump(), 400) == "invalid_field");
    CHECK(post(signed_ask(ask, worker), 401) == "invalid_signature");
    ledger::eth::Domain other = test_domain();
    other.chain_id = 1;
    CHECK(post(signed_ask(ask, provider, other), 422) == "wrong_chain");
    other = test_domain();
    other.contract = provider.address();
    CHECK(post(signed_ask(ask, provider, other), 401) == "invalid_signature");
    auto free = ask;
    free.ask.price_atoms = 0;
    CHECK(post(signed_ask(free, provider), 422) == "invalid_price");
    CHECK(f.get("/v1/market/orders")["data"].empty());
}

TEST_CASE("orders: an ask is listed, shown, quoted, and cancelled by its owner only") {
    Fixture f;
    const auto provider = PrivateKey::generate();
    const auto worker = PrivateKey::generate();
    const auto ask = test_ask(f, provider, worker.address());
    const json posted = f.post("/v1/market/orders", signed_ask(ask, provider), 201);
    const std::string id = posted["id"];
    CHECK(posted["side"] == "ask");
    CHECK(posted["ask"]["price"] == "100");
    CHECK(posted["resource"]["gpu_model"] == "cpu");
    CHECK(f.get("/v1/market/orders/" + id)["id"] == id);
    CHECK(f.get("/v1/asks/" + id)["id"] == id);
    CHECK(f.get("/v1/market/orders")["data"].size() == 1);
    CHECK(
        f.get("/v1/market/orders?provider=" + ledger::crypto::to_checksum(worker.address()))["data"]
            .empty());
    CHECK(code_of(f.get("/v1/market/orders?limit=0", 422)) == "out_of_range");
    CHECK(code_of(f.get("/v1/market/orders/0x12", 404)) == "not_found");
    const json book = f.get("/v1/market/book?unit_kind=training_step");
    REQUIRE(book["asks"].size() == 1);
    CHECK(book["asks"][0]["price"] == "100");
    CHECK(book["asks"][0]["online"] == false);
    CHECK(book["asks"][0]["gflop_per_s"] == 120);
    CHECK(book["asks"][0]["memory_mb_per_s"] == 45'000);
    CHECK(f.get("/v1/market/book?unit_kind=input_token")["asks"].empty());
    f.get("/v1/market/book?unit_kind=nonsense", 400);

    auto client = f.client();
    const std::string target = "/v1/market/orders/" + id;
    CHECK(client.request("DELETE", target).status == 401);
    const auto stranger = PrivateKey::generate();
    CHECK(client.request("DELETE", target, "", f.bearer(stranger)).status == 403);
    const auto cancelled = client.request("DELETE", target, "", f.bearer(provider));
    CHECK(cancelled.status == 200);
    CHECK(json::parse(cancelled.body)["state"] == "closed");
    CHECK(f.get("/v1/market/book")["asks"].empty());
}

TEST_CASE("orders: an idempotency key gives the first answer again and refuses another body") {
    Fixture f;
    const auto provider = PrivateKey::generate();
    const auto worker = PrivateKey::generate();
    auto ask = test_ask(f, provider, worker.address());
    const std::string header = "Idempotency-Key: one\r\n";
    const std::string body = signed_ask(ask, provider);
    const json first = f.post("/v1/market/orders", body, 201, header);
    auto client = f.client();
    const auto again = client.request("POST", "/v1/market/orders", body, header);
    CHECK(again.status == 201);
    CHECK(again.header("idempotent-replayed") == "true");
    CHECK(json::parse(again.body) == first);
    ask.ask.price_atoms = 101;
    CHECK(code_of(f.post("/v1/market/orders", signed_ask(ask, provider), 422, header)) ==
          "idempotency_conflict");
    f.post("/v1/market/orders", signed_ask(ask, provider), 201, "Idempotency-Key: two\r\n");
    CHECK(f.get("/v1/market/orders")["data"].size() == 2);
}

TEST_CASE("orders: a full engine answers 503 with the time to wait") {
    Fixture f;
    f.engine.full = true;
    auto client = f.client();
    const auto answer = client.request("GET", "/v1/market/book");
    CHECK(answer.status == 503);
    CHECK(answer.header("retry-after") == "1");
    CHECK(code_of(json::parse(answer.body)) == "queue_full");
    CHECK(client.request("GET", "/readyz").status == 503);
    CHECK(client.request("GET", "/livez").status == 200);
}
