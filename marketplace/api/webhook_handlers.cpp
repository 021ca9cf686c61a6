// SPDX-License-Identifier: Apache-2.0
// Webhooks of an account: endpoints, their secrets, deliveries and test events.
#include "ledger/crypto/address.hpp"
#include "ledger/rpc/json.hpp"
#include "marketplace/api/handlers.hpp"
#include "marketplace/api/webhook_port.hpp"
#include "marketplace/webhooks/signing.hpp"

#include <algorithm>
#include <initializer_list>

namespace marketplace::api {

using ledger::base::Error;
using ledger::base::ErrorCode;
using ledger::base::fail;
using webhooks::Delivery;
using webhooks::Endpoint;

namespace {

[[nodiscard]] Json time_or_null(domain::TimeMs time_ms) {
    return time_ms == 0 ? Json(nullptr) : Json(time_ms);
}

[[nodiscard]] Json text_or_null(std::string_view text) {
    return text.empty() ? Json(nullptr) : Json(std::string(text));
}

[[nodiscard]] Json endpoint_view(const Endpoint& endpoint) {
    Json out;
    out["id"] = endpoint.id;
    out["object"] = "webhook";
    out["owner"] = ledger::crypto::to_checksum(endpoint.owner);
    out["url"] = endpoint.url;
    out["events"] = endpoint.events;
    out["enabled"] = endpoint.disabled == webhooks::Disabled::kNo;
    out["disabled_reason"] = text_or_null(to_string(endpoint.disabled));
    out["created_ms"] = endpoint.created_ms;
    out["failing_since_ms"] = time_or_null(endpoint.failing_since_ms);
    out["old_secret_until_ms"] = time_or_null(endpoint.old_secret_until_ms);
    return out;
}

/// With the secret, which is shown where it was made and nowhere else.
[[nodiscard]] http::Response secret_response(const Endpoint& endpoint, int status) {
    Json out = endpoint_view(endpoint);
    out["secret"] = webhooks::secret_text(endpoint.secret);
    http::Response response = json_response(out, status);
    response.header("cache-control", "no-store");
    return response;
}

[[nodiscard]] Json delivery_view(const Delivery& delivery) {
    Json out;
    out["id"] = delivery.id;
    out["object"] = "webhook_delivery";
    out["webhook"] = delivery.endpoint;
    out["type"] = delivery.type;
    out["state"] = std::string(to_string(delivery.state));
    out["attempts"] = delivery.attempts;
    out["created_ms"] = delivery.created_ms;
    out["next_attempt_ms"] = time_or_null(delivery.next_attempt_ms);
    out["last_attempt_ms"] = time_or_null(delivery.last_attempt_ms);
    out["last_status"] = delivery.last_status == 0 ? Json(nullptr) : Json(delivery.last_status);
    out["last_failure"] = text_or_null(to_string(delivery.last_failure));
    out["payload"] = Json::parse(delivery.body, nullptr, false);
    return out;
}

[[nodiscard]] Result<std::vector<std::string>> parse_events(const Json& body) {
    std::vector<std::string> out;
    const Json& list = body["events"];
    if (!list.is_array()) return fail(ErrorCode::invalid_field, "/events must be a list");
    for (const Json& entry : list) {
        if (!entry.is_string()) return fail(ErrorCode::invalid_field, "/events must hold texts");
        out.push_back(entry.get<std::string>());
    }
    return out;
}

/// A body with "url" and "events", and with "enabled" where `names` has it.
[[nodiscard]] Result<WebhookPort::Change> parse_change(
    const http::Request& request, std::initializer_list<std::string_view> names) {
    ledger::rpc::JsonLimits bounds;
    bounds.bytes = 16 * 1024;
    TRY_ASSIGN(const Json body, ledger::rpc::parse_json(request.body, bounds));
    if (!body.is_object()) return fail(ErrorCode::invalid_request, "/ must be an object");
    for (const auto& [key, value] : body.items())
        if (std::find(names.begin(), names.end(), key) == names.end())
            return fail(ErrorCode::unknown_field, "/" + key.substr(0, 64) + " is not known");
    WebhookPort::Change out;
    if (body.contains("url")) {
        TRY_ASSIGN(out.url, ledger::rpc::string_at(body, "url"));
    }
    if (body.contains("events")) {
        TRY_ASSIGN(out.events, parse_events(body));
    }
    if (body.contains("enabled")) {
        if (!body["enabled"].is_boolean())
            return fail(ErrorCode::invalid_field, "/enabled must be true or false");
        out.enabled = body["enabled"].get<bool>();
    }
    return out;
}

/// Signs the caller in and runs `work` with its account and the path's endpoint on the desk.
using Work = std::function<http::Response(const domain::Address& owner, const std::string& id)>;
void with_account(Services& services, const http::RequestPtr& request, const http::Reply& reply,
                  Work work) {
    const auto account = services.context.auth.account_of(*request);
    if (!account) return reply(error_response(*request, account.error()));
    answer_from_desk(services, request, reply,
                     [request, account = *account, work = std::move(work)] {
                         return work(account, std::string(request->param("id")));
                     });
}

/// The view of what the port gave, or its refusal.
template <typename Value, typename View>
[[nodiscard]] http::Response answer(const http::Request& request, const Result<Value>& result,
                                    View view, int status = 200) {
    if (!result) return error_response(request, result.error());
    return json_response(view(*result), status);
}

[[nodiscard]] WebhookPort& port_of(Services& services) {
    return *services.context.webhooks;
}

void create(Services& services, const http::RequestPtr& request, const http::Reply& reply) {
    with_account(services, request, reply, [&services, request](const auto& owner, const auto&) {
        const auto input = parse_change(*request, {"url", "events"});
        if (!input) return error_response(*request, input.error());
        if (!input->url) return error_response(*request, Error(ErrorCode::missing_field, "/url"));
        const std::vector<std::string> all = {"*"};
        const auto made = port_of(services).create(owner, *input->url, input->events.value_or(all));
        if (!made) return error_response(*request, made.error());
        return secret_response(*made, 201);
    });
}

void list(Services& services, const http::RequestPtr& request, const http::Reply& reply) {
    with_account(services, request, reply, [&services, request](const auto& owner, const auto&) {
        return answer(*request, port_of(services).list(owner), [](const auto& endpoints) {
            Json items = Json::array();
            for (const Endpoint& endpoint : endpoints)
                items.push_back(endpoint_view(endpoint));
            return list_of(std::move(items), false);
        });
    });
}

void show(Services& services, const http::RequestPtr& request, const http::Reply& reply) {
    with_account(services, request, reply, [&services, request](const auto& owner, const auto& id) {
        return answer(*request, port_of(services).find(owner, id), endpoint_view);
    });
}

void change(Services& services, const http::RequestPtr& request, const http::Reply& reply) {
    with_account(services, request, reply, [&services, request](const auto& owner, const auto& id) {
        const auto input = parse_change(*request, {"url", "events", "enabled"});
        if (!input) return error_response(*request, input.error());
        return answer(*request, port_of(services).change(owner, id, *input), endpoint_view);
    });
}

void remove(Services& services, const http::RequestPtr& request, const http::Reply& reply) {
    with_account(services, request, reply, [&services, request](const auto& owner, const auto& id) {
        const auto removed = port_of(services).remove(owner, id);
        if (!removed) return error_response(*request, removed.error());
        return json_response({{"id", id}, {"object", "webhook"}, {"deleted", true}});
    });
}

void rotate(Services& services, const http::RequestPtr& request, const http::Reply& reply) {
    with_account(services, request, reply, [&services, request](const auto& owner, const auto& id) {
        const auto rotated = port_of(services).rotate(owner, id);
        if (!rotated) return error_response(*request, rotated.error());
        return secret_response(*rotated, 200);
    });
}

void test(Services& services, const http::RequestPtr& request, const http::Reply& reply) {
    with_account(services, request, reply, [&services, request](const auto& owner, const auto& id) {
        return answer(*request, port_of(services).test(owner, id), delivery_view, 202);
    });
}

void list_deliveries(Services& services, const http::RequestPtr& request,
                     const http::Reply& reply) {
    with_account(services, request, reply, [&services, request](const auto& owner, const auto& id) {
        const auto limit = read_limit(*request, 20, 100);
        if (!limit) return error_response(*request, limit.error());
        const auto after = request->query_value("after").value_or("");
        const auto found = port_of(services).deliveries(owner, id, after, *limit + 1);
        return answer(*request, found, [&limit](const auto& deliveries) {
            Json items = Json::array();
            for (const Delivery& delivery : deliveries)
                if (items.size() < *limit) items.push_back(delivery_view(delivery));
            return list_of(std::move(items), deliveries.size() > *limit);
        });
    });
}

void redeliver(Services& services, const http::RequestPtr& request, const http::Reply& reply) {
    with_account(services, request, reply, [&services, request](const auto& owner, const auto& id) {
        const std::string delivery(request->param("delivery"));
        return answer(*request, port_of(services).redeliver(owner, id, delivery), delivery_view,
                      202);
    });
}

[[nodiscard]] RouteDoc doc(http::Method method, const char* path, const char* operation,
                           const char* summary, int success = 200) {
    RouteDoc out{method, path, operation, "webhooks", summary, Access::kAccount};
    out.success = success;
    return out;
}

}  // namespace

void add_webhook_routes(RouteTable& table, Services& services) {
    if (services.context.webhooks == nullptr) return;
    using Handle = void (*)(Services&, const http::RequestPtr&, const http::Reply&);
    const auto add = [&](RouteDoc route, Handle handle) {
        table.add(std::move(route), [&services, handle](const auto& request, const auto& reply) {
            handle(services, request, reply);
        });
    };
    RouteDoc made = doc(http::Method::kPost, "/v1/webhooks", "createWebhook",
                        "Have events of your account sent to a URL; its secret is shown once", 201);
    made.request_schema = R"({"type":"object","required":["url"],"properties":{
"url":{"type":"string"},"events":{"type":"array","items":{"type":"string"}}},
"additionalProperties":false})";
    add(std::move(made), create);
    add(doc(http::Method::kGet, "/v1/webhooks", "listWebhooks", "My webhooks"), list);
    add(doc(http::Method::kGet, "/v1/webhooks/{id}", "getWebhook", "One of my webhooks"), show);
    RouteDoc changed = doc(http::Method::kPatch, "/v1/webhooks/{id}", "changeWebhook",
                           "Change URL or events; pause it, or enable it again");
    changed.request_schema = R"({"type":"object","properties":{
"url":{"type":"string"},"events":{"type":"array","items":{"type":"string"}},
"enabled":{"type":"boolean"}},"additionalProperties":false})";
    add(std::move(changed), change);
    add(doc(http::Method::kDelete, "/v1/webhooks/{id}", "deleteWebhook",
            "Delete a webhook and its delivery log"),
        remove);
    add(doc(http::Method::kPost, "/v1/webhooks/{id}/rotate", "rotateWebhookSecret",
            "A new secret; the one before signs besides for a day"),
        rotate);
    add(doc(http::Method::kPost, "/v1/webhooks/{id}/test", "testWebhook", "Send a test event", 202),
        test);
    RouteDoc log = doc(http::Method::kGet, "/v1/webhooks/{id}/deliveries", "listWebhookDeliveries",
                       "What was sent and how it went, newest first");
    log.query = {{"limit", "integer", "1 to 100"},
                 {"after", "string", "the last delivery of the page before"}};
    add(std::move(log), list_deliveries);
    add(doc(http::Method::kPost, "/v1/webhooks/{id}/deliveries/{delivery}/redeliver",
            "redeliverWebhook", "Send a delivery again, under its own id", 202),
        redeliver);
}

}  // namespace marketplace::api
