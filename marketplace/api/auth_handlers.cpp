// SPDX-License-Identifier: Apache-2.0
// Sign-in and API keys.
#include "ledger/base/hex.hpp"
#include "ledger/crypto/address.hpp"
#include "ledger/rpc/json.hpp"
#include "marketplace/api/handlers.hpp"
#include "marketplace/api/siwe.hpp"

namespace marketplace::api {

using ledger::base::Error;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::crypto::to_checksum;

namespace {

constexpr std::size_t kLabelBytesMax = 100;
constexpr std::size_t kKeysPerAccount = 100;

struct SiweInput {
    std::string message;
    domain::Signature signature;
};

/// Refuses members besides the two names given.
[[nodiscard]] Result<Json> parse_small_object(const http::Request& request,
                                              std::initializer_list<std::string_view> names) {
    ledger::rpc::JsonLimits bounds;
    bounds.bytes = ledger::base::limits::kHttpBodyBytes;
    TRY_ASSIGN(Json body, ledger::rpc::parse_json(request.body, bounds));
    if (!body.is_object()) return fail(ErrorCode::invalid_request, "/ must be an object");
    for (const auto& [key, value] : body.items())
        if (std::find(names.begin(), names.end(), key) == names.end())
            return fail(ErrorCode::unknown_field, "/" + key.substr(0, 64) + " is not known");
    return body;
}

[[nodiscard]] Result<SiweInput> parse_siwe_input(const http::Request& request) {
    TRY_ASSIGN(const Json body, parse_small_object(request, {"message", "signature"}));
    SiweInput input;
    TRY_ASSIGN(input.message, ledger::rpc::string_at(body, "message"));
    TRY_ASSIGN(const std::string text, ledger::rpc::string_at(body, "signature"));
    TRY_ASSIGN(input.signature, ledger::base::parse_fixed<domain::Signature>(text));
    return input;
}

void sign_in(Services& services, const http::RequestPtr& request, const http::Reply& reply) {
    const auto input = parse_siwe_input(*request);
    if (!input) return reply(error_response(*request, input.error()));
    const auto session = services.context.auth.sign_in(input->message, input->signature,
                                                       request->header("host").value_or(""));
    if (!session) return reply(error_response(*request, session.error()));
    Json out;
    out["token"] = session->token;
    out["token_type"] = "Bearer";
    out["address"] = to_checksum(session->account);
    out["expires_ms"] = session->expires_ms;
    http::Response response = json_response(out);
    response.header("cache-control", "no-store");
    reply(std::move(response));
}

[[nodiscard]] Json key_view(const ApiKeyRow& row) {
    Json out;
    out["id"] = row.id;
    out["object"] = "api_key";
    out["label"] = row.label;
    out["owner"] = to_checksum(row.owner);
    out["created_ms"] = row.created_ms;
    out["revoked"] = row.revoked;
    return out;
}

void create_key(Services& services, const http::RequestPtr& request, const http::Reply& reply) {
    const auto account = services.context.auth.account_of(*request);
    if (!account) return reply(error_response(*request, account.error()));
    std::string label;
    if (!request->body.empty()) {
        const auto body = parse_small_object(*request, {"label"});
        if (!body) return reply(error_response(*request, body.error()));
        if (body->contains("label")) {
            const auto text = ledger::rpc::string_at(*body, "label");
            if (!text) return reply(error_response(*request, text.error()));
            label = *text;
        }
    }
    if (label.size() > kLabelBytesMax)
        return reply(error_response(*request, Error(ErrorCode::too_large, "/label: 100 bytes")));
    answer_from_desk(services, request, reply, [&services, request, account = *account, label] {
        CatalogPort& catalog = services.context.catalog;
        std::size_t live = 0;
        for (const ApiKeyRow& row : catalog.api_keys(account))
            live += row.revoked ? 0 : 1;
        if (live >= kKeysPerAccount)
            return error_response(*request, Error(ErrorCode::out_of_range, "100 keys at most"));
        const Auth::NewKey key = services.context.auth.make_api_key(account, label);
        if (const auto kept = catalog.put_api_key(key.row); !kept)
            return error_response(*request, kept.error());
        Json out = key_view(key.row);
        out["key"] = key.secret;
        http::Response response = json_response(out, 201);
        response.header("cache-control", "no-store");
        return response;
    });
}

void list_keys(Services& services, const http::RequestPtr& request, const http::Reply& reply) {
    const auto account = services.context.auth.account_of(*request);
    if (!account) return reply(error_response(*request, account.error()));
    answer_from_desk(services, request, reply, [&services, account = *account] {
        Json items = Json::array();
        for (const ApiKeyRow& row : services.context.catalog.api_keys(account))
            items.push_back(key_view(row));
        return json_response(list_of(std::move(items), false));
    });
}

void revoke_key(Services& services, const http::RequestPtr& request, const http::Reply& reply) {
    const auto account = services.context.auth.account_of(*request);
    if (!account) return reply(error_response(*request, account.error()));
    answer_from_desk(services, request, reply, [&services, request, account = *account] {
        const std::string id(request->param("id"));
        const auto revoked = services.context.catalog.revoke_api_key(id, account);
        if (!revoked) return error_response(*request, revoked.error());
        services.context.auth.forget_api_keys();
        Json out;
        out["id"] = id;
        out["object"] = "api_key";
        out["revoked"] = true;
        return json_response(out);
    });
}

}  // namespace

void add_auth_routes(RouteTable& table, Services& services) {
    table.add({http::Method::kGet, "/v1/auth/nonce", "getNonce", "auth",
               "A nonce for a Sign-In with Ethereum message"},
              [&services](const auto&, const auto& reply) {
                  Json out;
                  out["nonce"] = services.context.auth.issue_nonce();
                  out["chain_id"] = services.context.domain.chain_id;
                  http::Response response = json_response(out);
                  response.header("cache-control", "no-store");
                  reply(std::move(response));
              });
    RouteDoc siwe{http::Method::kPost,
                  "/v1/auth/siwe",
                  "signIn",
                  "auth",
                  "A session for a signed ERC-4361 message",
                  Access::kSigned};
    siwe.request_schema = R"({"type":"object","required":["message","signature"],
"properties":{"message":{"type":"string"},"signature":{"type":"string"}},
"additionalProperties":false})";
    table.add(std::move(siwe), [&services](const auto& request, const auto& reply) {
        sign_in(services, request, reply);
    });
    table.add({http::Method::kGet, "/v1/auth/session", "getSession", "auth", "Who am I?",
               Access::kAccount},
              [&services](const auto& request, const auto& reply) {
                  const auto account = services.context.auth.account_of(*request);
                  if (!account) return reply(error_response(*request, account.error()));
                  reply(json_response({{"address", to_checksum(*account)}}));
              });
    RouteDoc create{http::Method::kPost,
                    "/v1/api-keys",
                    "createApiKey",
                    "auth",
                    "A new API key, shown this once",
                    Access::kAccount};
    create.request_schema = R"({"type":"object","properties":{"label":{"type":"string"}}})";
    create.success = 201;
    table.add(std::move(create), [&services](const auto& request, const auto& reply) {
        create_key(services, request, reply);
    });
    table.add({http::Method::kGet, "/v1/api-keys", "listApiKeys", "auth", "My API keys",
               Access::kAccount},
              [&services](const auto& request, const auto& reply) {
                  list_keys(services, request, reply);
              });
    table.add({http::Method::kDelete, "/v1/api-keys/{id}", "revokeApiKey", "auth",
               "Revoke an API key at once", Access::kAccount},
              [&services](const auto& request, const auto& reply) {
                  revoke_key(services, request, reply);
              });
}

}  // namespace marketplace::api
