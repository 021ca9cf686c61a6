// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/marketplace/api/api_fixture.hpp"

using namespace api_test;

namespace {

/// A published model, a signed-in owner, and keys with terms.
struct Keyed : Fixture {
    Keyed() {
        api::PublishedModel model;
        model.name = "moby";
        model.owner = owner.address();
        REQUIRE(catalog.put_model(model));
        session = bearer(owner);
    }
    json make(const json& terms, int status = 201) {
        return post("/v1/api-keys", terms.dump(), status, session);
    }
    static std::string header_of(const json& key) {
        return "Authorization: Bearer " + key["key"].get<std::string>() + "\r\n";
    }
    HttpAnswer complete(const std::string& header, bool stream = false) {
        const json body{{"model", "moby"}, {"prompt", "Call"}, {"stream", stream}};
        return client().request("POST", "/v1/completions", body.dump(), header);
    }
    json listed(const json& key) {
        const auto answer = client().request("GET", "/v1/api-keys", "", session);
        const json page = json::parse(answer.body);
        for (const json& one : page["data"])
            if (one["id"] == key["id"]) return one;
        return {};
    }
    [[nodiscard]] ledger::eth::Delegation delegation() const {
        ledger::eth::Delegation out;
        out.owner = owner.address();
        out.delegate = context.info.delegate_address;
        out.scope = ledger::eth::kScopeVouchers;
        out.spend_cap_atoms = 1000;
        out.expiry_s = now_s() + 3600;
        return out;
    }
    json bound_terms(const ledger::eth::Delegation& d, const PrivateKey& signer) {
        return {
            {"delegation",
             {{"owner", ledger::crypto::to_checksum(d.owner)},
              {"delegate", ledger::crypto::to_checksum(d.delegate)},
              {"scope", d.scope},
              {"spendCap", std::to_string(d.spend_cap_atoms)},
              {"expiry", std::to_string(d.expiry_s)},
              {"nonce", std::to_string(d.nonce)}}},
            {"delegation_signature", to_hex(signer.sign(ledger::eth::digest(test_domain(), d)))}};
    }

    const PrivateKey owner = PrivateKey::generate();
    std::string session;
};

template <typename Condition>
bool comes_true(Condition condition) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (!condition()) {
        if (std::chrono::steady_clock::now() > until) return false;
        std::this_thread::yield();
    }
    return true;
}

}  // namespace

TEST_CASE("api_keys: terms that make no sense are refused by name") {
    Keyed f;
    CHECK(code_of(f.make({{"scopes", json::array()}}, 400)) == "invalid_field");
    CHECK(code_of(f.make({{"scopes", {"inference", "root"}}}, 422)) == "unsupported");
    CHECK(code_of(f.make({{"spend_cap", 5}}, 400)) == "invalid_field");
    CHECK(code_of(f.make({{"spend_cap", "0"}}, 422)) == "out_of_range");
    CHECK(code_of(f.make({{"spend_cap", "9223372036854775808"}}, 422)) == "out_of_range");
    CHECK(code_of(f.make({{"expires_ms", f.clock.now_ms()}}, 422)) == "invalid_window");
    CHECK(code_of(f.make({{"expires_ms", 999'999'999'999'999ULL}}, 422)) == "invalid_window");
    CHECK(code_of(f.make({{"requests_per_minute", 0}}, 422)) == "out_of_range");
    CHECK(code_of(f.make({{"requests_per_minute", 1'000'001}}, 422)) == "out_of_range");
    CHECK(code_of(f.make({{"requests_per_minute", "5"}}, 400)) == "invalid_field");
    CHECK(code_of(f.make({{"delegation_signature", "0x00"}}, 400)) == "missing_field");
    CHECK(code_of(f.make({{"cap", "5"}}, 400)) == "unknown_field");
    CHECK(f.listed({{"id", "none"}}).is_null());
}

TEST_CASE("api_keys: a key does what its scopes say, and never makes or ends keys") {
    Keyed f;
    const json inference = f.make({{"scopes", {"inference"}}});
    const json files = f.make({{"scopes", {"files", "account"}}});
    auto client = f.client();
    CHECK(f.complete(Keyed::header_of(inference)).status == 200);
    const auto refused = f.complete(Keyed::header_of(files));
    CHECK(refused.status == 403);
    CHECK(json::parse(refused.body)["error"]["code"] == "forbidden");
    CHECK(client.request("GET", "/v1/files", "", Keyed::header_of(files)).status == 200);
    CHECK(client.request("GET", "/v1/files", "", Keyed::header_of(inference)).status == 403);
    CHECK(client.request("GET", "/v1/api-keys", "", Keyed::header_of(inference)).status == 403);
    CHECK(client.request("GET", "/v1/api-keys", "", Keyed::header_of(files)).status == 200);
    const json all = f.make(json::object());
    CHECK(all["scopes"].size() == 6);
    CHECK(code_of(f.post("/v1/api-keys", "", 403, Keyed::header_of(all))) == "forbidden");
    const std::string target = "/v1/api-keys/" + all["id"].get<std::string>();
    CHECK(client.request("DELETE", target, "", Keyed::header_of(all)).status == 403);
    const auto me = client.request("GET", "/v1/auth/session", "", Keyed::header_of(inference));
    CHECK(json::parse(me.body)["api_key"]["scopes"] == json::array({"inference"}));
}

TEST_CASE("api_keys: a key's own rate holds that key alone, and the headers tell it") {
    Keyed f;
    const json slow = f.make({{"requests_per_minute", 3}});
    const json other = f.make(json::object());
    CHECK(slow["requests_per_minute"] == 3);
    CHECK(other["requests_per_minute"].is_null());
    CHECK(f.listed(slow)["requests_per_minute"] == 3);
    auto client = f.client();
    const auto ask = [&](const json& key) {
        return client.request("GET", "/v1/auth/session", "", Keyed::header_of(key));
    };
    for (const char* left : {"2", "1", "0"}) {
        const auto answer = ask(slow);
        CHECK(answer.status == 200);
        CHECK(answer.header("x-ratelimit-limit-requests") == "3");
        CHECK(answer.header("x-ratelimit-remaining-requests") == left);
        CHECK(answer.header("ratelimit-policy") == "\"key\";q=3;w=60");
        CHECK(answer.header("ratelimit").starts_with(fmt::format("\"key\";r={};t=", left)));
    }
    const auto refused = ask(slow);
    CHECK(refused.status == 429);
    CHECK(code_of(json::parse(refused.body)) == "rate_limited");
    CHECK(refused.header("retry-after") == "20");
    CHECK(refused.header("ratelimit") == "\"key\";r=0;t=60");
    // OpenAI's routes refuse in OpenAI's words, before anything is done.
    const auto completion = f.complete(Keyed::header_of(slow));
    CHECK(completion.status == 429);
    CHECK(json::parse(completion.body)["error"]["code"] == "rate_limited");
    CHECK(completion.header("retry-after") == "20");
    // Nobody else waits: another key, the session, who has none.
    const auto free = ask(other);
    CHECK(free.status == 200);
    CHECK(free.header("ratelimit-policy").starts_with("\"default\";"));
    CHECK(f.complete(Keyed::header_of(other)).status == 200);
    CHECK(client.request("GET", "/v1/auth/session", "", f.session).status == 200);
    CHECK(client.request("GET", "/version").status == 200);
    f.clock.time_ms += 19'999;
    CHECK(ask(slow).status == 429);
    f.clock.time_ms += 1;
    CHECK(ask(slow).status == 200);
    CHECK(ask(slow).status == 429);
    // A probe is never counted.
    CHECK(client.request("GET", "/livez", "", Keyed::header_of(slow)).status == 200);
}

TEST_CASE("api_keys: what is paid adds up to the cap and never passes it") {
    Keyed f;
    const json key = f.make({{"spend_cap", "120"}});
    CHECK(key["spent"] == "0");
    const auto whole = json::parse(f.complete(Keyed::header_of(key)).body);
    CHECK(whole["millrace"]["cost_atoms"] == "42");
    CHECK_FALSE(whole["millrace"].contains("ended_by"));
    CHECK(f.listed(key)["spent"] == "42");
    // 78 are left, and the next could cost 100: it ends where the cap does.
    const auto cut = f.complete(Keyed::header_of(key), true);
    CHECK(cut.status == 200);
    CHECK(cut.body.ends_with("data: [DONE]\n\n"));
    CHECK(cut.body.find("\"finish_reason\":\"length\"") != std::string::npos);
    CHECK(cut.body.find("\"ended_by\":\"spend_cap_reached\"") != std::string::npos);
    CHECK(cut.body.find("\"error\"") == std::string::npos);
    CHECK(f.listed(key)["spent"] == "84");
    CHECK(f.complete(Keyed::header_of(key)).status == 200);
    CHECK(f.listed(key)["spent"] == "120");
    const auto over = f.complete(Keyed::header_of(key));
    CHECK(over.status == 402);
    CHECK(json::parse(over.body)["error"]["code"] == "delegation_cap_exceeded");
    CHECK(f.listed(key)["spent"] == "120");
    CHECK(comes_true([&] { return f.catalog.api_keys(f.owner.address())[0].spent_atoms == 120; }));
    CHECK(f.complete(f.session).status == 200);  // the account itself has no cap
}

TEST_CASE("api_keys: requests at the same time share what is left") {
    api::ApiKeyRow row;
    row.spend_cap_atoms = 100;
    api::LiveKey key(row);
    CHECK(key.hold(70) == 70);
    CHECK(key.hold(70) == 30);
    CHECK(key.hold(1) == 0);
    key.settle(70, 20);
    CHECK(key.hold(70) == 50);
    key.settle(30, 30);
    key.settle(50, 50);
    CHECK(key.spent_atoms() == 100);
    CHECK(key.hold(1) == 0);
    CHECK(key.take_unsaved() == 100);
    CHECK(key.is_saved());
}

TEST_CASE("api_keys: a key revoked in mid stream ends it with what was paid") {
    Keyed f;
    f.inference.endless = true;
    const json key = f.make({{"label", "leaked"}});
    auto client = f.client();
    const std::string body = R"({"model":"moby","stream":true,"prompt":"a"})";
    client.send("POST /v1/completions HTTP/1.1\r\nHost: a\r\nConnection: close\r\n" +
                Keyed::header_of(key) + "Content-Length: " + std::to_string(body.size()) +
                "\r\n\r\n" + body);
    CHECK(client.read_until("more "));
    const std::string target = "/v1/api-keys/" + key["id"].get<std::string>();
    CHECK(f.client().request("DELETE", target, "", f.session).status == 200);
    CHECK(client.read_until("data: [DONE]"));
    CHECK(f.inference.aborted);
    CHECK(f.complete(Keyed::header_of(key)).status == 401);
    CHECK(f.listed(key)["revoked"] == true);
    CHECK(comes_true([&] { return f.catalog.api_keys(f.owner.address())[0].spent_atoms == 42; }));
}

TEST_CASE("api_keys: a key that expires in mid stream ends it, and is nothing afterwards") {
    Keyed f;
    f.inference.endless = true;
    const json key = f.make({{"expires_ms", f.clock.now_ms() + 1000}});
    auto client = f.client();
    const std::string body = R"({"model":"moby","stream":true,"prompt":"a"})";
    client.send("POST /v1/completions HTTP/1.1\r\nHost: a\r\n" + Keyed::header_of(key) +
                "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
    CHECK(client.read_until("more "));
    f.clock.time_ms += 2000;
    CHECK(client.read_until("\"ended_by\":\"api_key_expired\""));
    CHECK(f.complete(Keyed::header_of(key)).status == 401);
}

TEST_CASE("api_keys: a delegation binds a key: whose, to whom, how much, how long") {
    Keyed f;
    const auto other = PrivateKey::generate();
    auto d = f.delegation();
    CHECK(code_of(f.make(f.bound_terms(d, other), 401)) == "invalid_signature");
    d.owner = other.address();
    CHECK(code_of(f.make(f.bound_terms(d, other), 400)) == "invalid_field");
    d = f.delegation();
    d.delegate = other.address();
    CHECK(code_of(f.make(f.bound_terms(d, f.owner), 400)) == "invalid_field");
    d = f.delegation();
    d.scope = ledger::eth::kScopeOrders;
    CHECK(code_of(f.make(f.bound_terms(d, f.owner), 400)) == "invalid_field");
    d = f.delegation();
    d.expiry_s = f.now_s();
    CHECK(code_of(f.make(f.bound_terms(d, f.owner), 422)) == "expired");
    d = f.delegation();
    d.nonce = 1;
    CHECK(code_of(f.make(f.bound_terms(d, f.owner), 403)) == "delegation_revoked");
    json terms = f.bound_terms(f.delegation(), f.owner);
    terms["spend_cap"] = "1001";
    CHECK(code_of(f.make(terms, 422)) == "out_of_range");
    terms["spend_cap"] = "900";
    terms["expires_ms"] = f.clock.now_ms() + 3601'000;
    CHECK(code_of(f.make(terms, 422)) == "out_of_range");
    f.chain.away = true;
    CHECK(code_of(f.make(f.bound_terms(f.delegation(), f.owner), 503)) == "chain_unreachable");
    f.chain.away = false;
    const json key = f.make(f.bound_terms(f.delegation(), f.owner));
    CHECK(key["spend_cap"] == "1000");
    CHECK(key["expires_ms"] == (f.now_s() + 3600) * 1000);
    CHECK(key["bound"] == true);
}

TEST_CASE("api_keys: a delegation revoked on chain ends its keys, also in mid stream") {
    Keyed f;
    const json bound = f.make(f.bound_terms(f.delegation(), f.owner));
    const json free = f.make(json::object());
    CHECK(f.complete(Keyed::header_of(bound)).status == 200);
    f.inference.endless = true;
    auto client = f.client();
    const std::string body = R"({"model":"moby","stream":true,"prompt":"a"})";
    client.send("POST /v1/completions HTTP/1.1\r\nHost: a\r\n" + Keyed::header_of(bound) +
                "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
    CHECK(client.read_until("more "));
    f.chain.nonce = 1;
    f.clock.time_ms += 31'000;
    CHECK(client.read_until("\"ended_by\":\"api_key_revoked\""));
    CHECK(f.complete(Keyed::header_of(bound)).status == 401);
    f.inference.endless = false;
    CHECK(f.complete(Keyed::header_of(free)).status == 200);
}
