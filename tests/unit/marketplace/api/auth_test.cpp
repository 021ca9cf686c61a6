// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/marketplace/api/api_fixture.hpp"

using namespace api_test;

TEST_CASE("auth: messages for other sites, chains, times and keys open no session") {
    Fixture f;
    const auto key = PrivateKey::generate();
    const auto other = PrivateKey::generate();
    const auto nonce = [&] { return f.get("/v1/auth/nonce")["nonce"].get<std::string>(); };
    const auto text = [&](const std::string& host, std::uint64_t chain = 31337) {
        return f.siwe_text(key.address(), nonce(), host, chain);
    };
    CHECK(code_of(f.sign_in(other, text("localhost"), 401)) == "invalid_signature");
    CHECK(code_of(f.sign_in(key, text("evil.example"), 403)) == "forbidden");
    CHECK(code_of(f.sign_in(key, text("127.0.0.1"), 403)) == "forbidden");  // Host says localhost
    CHECK(code_of(f.sign_in(key, text("localhost", 1), 422)) == "wrong_chain");
    CHECK(code_of(f.sign_in(key, f.siwe_text(key.address(), "0123456789abcdef", "localhost"),
                            401)) == "nonce_used");
    const std::string late = text("localhost");
    f.clock.time_ms += 120'000;
    CHECK(code_of(f.sign_in(key, late, 422)) == "expired");
    std::string foreign_uri = text("localhost");
    foreign_uri.replace(foreign_uri.find("URI: http://localhost"), 21, "URI: http://evil.test");
    CHECK(code_of(f.sign_in(key, foreign_uri, 403)) == "forbidden");
    CHECK(code_of(f.post("/v1/auth/siwe", "{\"message\":\"x\"}", 400)) == "missing_field");
    CHECK(code_of(f.post("/v1/auth/siwe", R"({"message":"x","signature":"0x","a":1})", 400)) ==
          "unknown_field");
    CHECK(code_of(f.post("/v1/auth/siwe", R"({"message":"x","message":"y"})", 400)) ==
          "invalid_json");
    CHECK(code_of(f.post("/v1/auth/siwe", std::string(100, '['), 400)) == "invalid_json");
}

TEST_CASE("auth: nonces and sessions of another market, and of an earlier run, are nothing here") {
    Fixture f;
    Fixture other;
    const auto key = PrivateKey::generate();
    const std::string nonce = other.get("/v1/auth/nonce")["nonce"];
    CHECK(code_of(f.sign_in(key, f.siwe_text(key.address(), nonce, "localhost"), 401)) ==
          "nonce_used");
    const std::string header = other.bearer(key);
    CHECK(other.client().request("GET", "/v1/auth/session", "", header).status == 200);
    CHECK(f.client().request("GET", "/v1/auth/session", "", header).status == 401);
}

TEST_CASE("auth: a message works once, its session until it expires") {
    Fixture f;
    const auto key = PrivateKey::generate();
    const std::string nonce = f.get("/v1/auth/nonce")["nonce"];
    const std::string text = f.siwe_text(key.address(), nonce, "market.example");
    const json session = f.sign_in(key, text, 200);
    CHECK(code_of(f.sign_in(key, text, 401)) == "nonce_used");
    const std::string header =
        "Authorization: Bearer " + session["token"].get<std::string>() + "\r\n";
    auto client = f.client();
    const auto me = client.request("GET", "/v1/auth/session", "", header);
    CHECK(me.status == 200);
    CHECK(json::parse(me.body)["address"] == ledger::crypto::to_checksum(key.address()));
    CHECK(client.request("GET", "/v1/auth/session").status == 401);
    CHECK(client.request("GET", "/v1/auth/session", "", "Authorization: Basic x\r\n").status ==
          401);
    CHECK(
        client.request("GET", "/v1/auth/session", "", "Authorization: Bearer mrs_00\r\n").status ==
        401);
    f.clock.time_ms += 25ULL * 3600 * 1000;
    const auto later = client.request("GET", "/v1/auth/session", "", header);
    CHECK(later.status == 401);
    CHECK(code_of(json::parse(later.body)) == "session_expired");
}

TEST_CASE("auth: API keys are shown once, work, and stop at once when revoked") {
    Fixture f;
    const auto key = PrivateKey::generate();
    const std::string header = f.bearer(key);
    CHECK(code_of(f.post("/v1/api-keys", "", 401)) == "unauthorized");
    CHECK(code_of(f.post("/v1/api-keys", R"({"label":1})", 400, header)) == "invalid_field");
    const json made = f.post("/v1/api-keys", R"({"label":"laptop"})", 201, header);
    const std::string secret = made["key"];
    CHECK(secret.starts_with("mrk_"));
    auto client = f.client();
    const auto list = client.request("GET", "/v1/api-keys", "", header);
    CHECK(list.body.find(secret) == std::string::npos);
    CHECK(json::parse(list.body)["data"].size() == 1);
    const std::string by_key = "Authorization: Bearer " + secret + "\r\n";
    CHECK(client.request("GET", "/v1/auth/session", "", by_key).status == 200);
    const std::string target = "/v1/api-keys/" + made["id"].get<std::string>();
    const auto stranger = PrivateKey::generate();
    CHECK(client.request("DELETE", target, "", f.bearer(stranger)).status == 404);
    CHECK(client.request("DELETE", target, "", header).status == 200);
    CHECK(client.request("GET", "/v1/auth/session", "", by_key).status == 401);
}

TEST_CASE("auth: requests beyond the rate are refused with the time to wait") {
    api::ApiOptions options;
    options.requests_per_s = 1;
    options.request_burst = 3;
    Fixture f(options);
    auto client = f.client();
    const auto first = client.request("GET", "/version");
    CHECK(first.status == 200);
    CHECK(first.header("x-ratelimit-limit-requests") == "3");
    CHECK(first.header("x-ratelimit-remaining-requests") == "2");
    client.request("GET", "/version");
    client.request("GET", "/version");
    const auto refused = client.request("GET", "/version");
    CHECK(refused.status == 429);
    CHECK(refused.header("retry-after") == "1");
    CHECK(code_of(json::parse(refused.body)) == "rate_limited");
    CHECK(client.request("GET", "/livez").status == 200);
    f.clock.time_ms += 2000;
    CHECK(client.request("GET", "/version").status == 200);
}

TEST_CASE("auth: a contract wallet signs in when its code says so, and only then") {
    Fixture f;
    const auto owner = PrivateKey::generate();
    f.chain.wallet = PrivateKey::generate().address();
    const auto post = [&](const std::string& text, const std::string& signature, int status) {
        const json body{{"message", text}, {"signature", signature}};
        return f.post("/v1/auth/siwe", body.dump(), status);
    };
    const auto text = [&](const std::string& site) {
        const std::string nonce = f.get("/v1/auth/nonce")["nonce"];
        return f.siwe_text(f.chain.wallet, nonce, site);
    };
    const std::string good = text("localhost");
    CHECK(code_of(post(good, "0x09", 401)) == "invalid_signature");
    CHECK(code_of(post(text("evil.example"), "0x010203", 403)) == "forbidden");
    const int asked = f.chain.questions;
    CHECK(asked == 1);  // what is wrong otherwise is not put to the chain
    f.chain.away = true;
    CHECK(code_of(post(good, "0x010203", 503)) == "chain_unreachable");
    f.chain.away = false;
    CHECK(code_of(post(good, "0x" + std::string(2 * 4097, '0'), 413)) == "too_large");
    // Neither the refusal nor the silence used the message up.
    const json session = post(good, "0x010203", 200);
    CHECK(session["address"] == ledger::crypto::to_checksum(f.chain.wallet));
    CHECK(code_of(post(good, "0x010203", 401)) == "nonce_used");
    const std::string header =
        "Authorization: Bearer " + session["token"].get<std::string>() + "\r\n";
    CHECK(f.client().request("GET", "/v1/auth/session", "", header).status == 200);
    CHECK(f.client()
              .request("GET", "/v1/accounts/" + ledger::crypto::to_checksum(f.chain.wallet) +
                                  "/public-key")
              .status == 404);
}

TEST_CASE("auth: questions to the chain are few per address") {
    Fixture f;
    const auto key = PrivateKey::generate();
    const auto other = PrivateKey::generate();
    int refused = 0;
    for (int i = 0; i < 30; ++i) {
        const std::string nonce = f.get("/v1/auth/nonce")["nonce"];
        const std::string text = f.siwe_text(key.address(), nonce, "localhost");
        const json body{{"message", text},
                        {"signature", to_hex(other.sign(ledger::crypto::personal_digest(text)))}};
        refused += f.client().request("POST", "/v1/auth/siwe", body.dump()).status == 429;
    }
    CHECK(refused == 10);
    CHECK(f.chain.questions == 20);
}
