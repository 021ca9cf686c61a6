// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/marketplace/api/api_fixture.hpp"

namespace api_test {
namespace {

/// Keeps one endpoint of one account.
class FakeWebhooks final : public api::WebhookPort {
 public:
    Result<Endpoint> create(const domain::Address& owner, const std::string& url,
                            const std::vector<std::string>& events) override {
        endpoint.id = "whk_1";
        endpoint.owner = owner;
        endpoint.url = url;
        endpoint.events = events;
        endpoint.secret = ledger::base::Bytes(32, 1);
        endpoint.created_ms = 5;
        return endpoint;
    }
    Result<Endpoint> find(const domain::Address& owner, const std::string& id) override {
        if (owner != endpoint.owner || id != endpoint.id) return fail(ErrorCode::not_found);
        return endpoint;
    }
    Result<std::vector<Endpoint>> list(const domain::Address& owner) override {
        if (owner != endpoint.owner) return std::vector<Endpoint>();
        return std::vector{endpoint};
    }
    Result<Endpoint> change(const domain::Address& owner, const std::string& id,
                            const Change& wanted) override {
        TRY(find(owner, id));
        if (wanted.events) endpoint.events = *wanted.events;
        if (wanted.enabled)
            endpoint.disabled =
                *wanted.enabled ? webhooks::Disabled::kNo : webhooks::Disabled::kPaused;
        return endpoint;
    }
    Result<void> remove(const domain::Address& owner, const std::string& id) override {
        TRY(find(owner, id));
        endpoint = {};
        return {};
    }
    Result<Endpoint> rotate(const domain::Address& owner, const std::string& id) override {
        TRY(find(owner, id));
        endpoint.secret = ledger::base::Bytes(32, 2);
        return endpoint;
    }
    Result<Delivery> test(const domain::Address& owner, const std::string& id) override {
        TRY(find(owner, id));
        return delivery(1);
    }
    Result<std::vector<Delivery>> deliveries(const domain::Address& owner, const std::string& id,
                                             const std::string& after, std::size_t limit) override {
        TRY(find(owner, id));
        std::vector<Delivery> out;
        for (int i = after.empty() ? 5 : 2; i > 0 && out.size() < limit; --i)
            out.push_back(delivery(i));
        return out;
    }
    Result<Delivery> redeliver(const domain::Address& owner, const std::string& id,
                               const std::string& which) override {
        TRY(find(owner, id));
        if (which != "msg_1") return fail(ErrorCode::not_found);
        return delivery(1);
    }
    static Delivery delivery(int i) {
        Delivery out;
        out.id = "msg_" + std::to_string(i);
        out.endpoint = "whk_1";
        out.type = "webhook.test";
        out.body = R"({"type":"webhook.test"})";
        return out;
    }
    Endpoint endpoint;
};

/// The fixture's API with webhooks, on a socket of its own.
struct WithWebhooks {
    WithWebhooks() : context(fixture.context) {
        context.webhooks = &webhooks;
        http::Router router;
        api::register_routes(router, context);
        server = std::make_unique<http::Server>(http::ServerOptions(), std::move(router));
        REQUIRE(server->start());
    }
    json send(const std::string& method, const std::string& target, const std::string& body,
              int status, const std::string& headers) {
        HttpTestClient client(server->port());
        auto answer = client.request(method, target, body, headers);
        CHECK_MESSAGE(answer.status == status, target << ": " << answer.body);
        return json::parse(answer.body, nullptr, false);
    }

    Fixture fixture;
    FakeWebhooks webhooks;
    api::Context context;
    std::unique_ptr<http::Server> server;
};

}  // namespace

TEST_CASE("webhooks: bad bodies and strangers are refused") {
    WithWebhooks api;
    const auto key = PrivateKey::generate();
    const std::string bearer = api.fixture.bearer(key);
    CHECK(code_of(api.send("POST", "/v1/webhooks", "{}", 401, "")) == "unauthorized");
    CHECK(code_of(api.send("POST", "/v1/webhooks", "{", 400, bearer)) == "invalid_json");
    CHECK(code_of(api.send("POST", "/v1/webhooks", "[]", 400, bearer)) == "invalid_request");
    CHECK(code_of(api.send("POST", "/v1/webhooks", "{}", 400, bearer)) == "missing_field");
    CHECK(code_of(api.send("POST", "/v1/webhooks", R"({"url":1})", 400, bearer)) ==
          "invalid_field");
    CHECK(code_of(api.send("POST", "/v1/webhooks", R"({"url":"https://a/","events":"*"})", 400,
                           bearer)) == "invalid_field");
    CHECK(code_of(api.send("POST", "/v1/webhooks", R"({"url":"https://a/","events":[1]})", 400,
                           bearer)) == "invalid_field");
    CHECK(code_of(api.send("POST", "/v1/webhooks", R"({"url":"https://a/","secret":"x"})", 400,
                           bearer)) == "unknown_field");
    CHECK(code_of(api.send("GET", "/v1/webhooks/whk_9", "", 404, bearer)) == "not_found");
    CHECK(code_of(api.send("PATCH", "/v1/webhooks/whk_1", R"({"enabled":1})", 400, bearer)) ==
          "invalid_field");
}

TEST_CASE("webhooks: a secret is shown where it is made, and nowhere else") {
    WithWebhooks api;
    const auto key = PrivateKey::generate();
    const std::string bearer = api.fixture.bearer(key);
    const json made = api.send("POST", "/v1/webhooks", R"({"url":"https://a/"})", 201, bearer);
    CHECK(made["secret"].get<std::string>().starts_with("whsec_AQEB"));
    CHECK(made["events"] == json{"*"});
    CHECK(made["enabled"] == true);
    CHECK_FALSE(api.send("GET", "/v1/webhooks/whk_1", "", 200, bearer).contains("secret"));
    CHECK_FALSE(api.send("GET", "/v1/webhooks", "", 200, bearer)["data"][0].contains("secret"));
    const json rotated = api.send("POST", "/v1/webhooks/whk_1/rotate", "", 200, bearer);
    CHECK(rotated["secret"].get<std::string>().starts_with("whsec_AgIC"));
    const json paused = api.send("PATCH", "/v1/webhooks/whk_1",
                                 R"({"enabled":false,"events":["job.*"]})", 200, bearer);
    CHECK(paused["disabled_reason"] == "paused");
    CHECK(paused["events"] == json{"job.*"});
    CHECK(api.send("DELETE", "/v1/webhooks/whk_1", "", 200, bearer)["deleted"] == true);
}

TEST_CASE("webhooks: test events and the delivery log") {
    WithWebhooks api;
    const auto key = PrivateKey::generate();
    const std::string bearer = api.fixture.bearer(key);
    api.send("POST", "/v1/webhooks", R"({"url":"https://a/"})", 201, bearer);
    const json test = api.send("POST", "/v1/webhooks/whk_1/test", "", 202, bearer);
    CHECK(test["state"] == "pending");
    CHECK(test["payload"]["type"] == "webhook.test");
    const json page = api.send("GET", "/v1/webhooks/whk_1/deliveries?limit=3", "", 200, bearer);
    CHECK(page["has_more"] == true);
    CHECK(page["last_id"] == "msg_3");
    const json rest =
        api.send("GET", "/v1/webhooks/whk_1/deliveries?limit=3&after=msg_3", "", 200, bearer);
    CHECK(rest["has_more"] == false);
    CHECK(rest["data"].size() == 2);
    api.send("POST", "/v1/webhooks/whk_1/deliveries/msg_1/redeliver", "", 202, bearer);
    api.send("POST", "/v1/webhooks/whk_1/deliveries/msg_9/redeliver", "", 404, bearer);
    api.send("GET", "/v1/webhooks/whk_1/deliveries?limit=101", "", 422, bearer);
}

}  // namespace api_test
