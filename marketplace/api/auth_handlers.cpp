// SPDX-License-Identifier: Apache-2.0
// Sign-in and API keys.
#include "ledger/base/hex.hpp"
#include "ledger/crypto/address.hpp"
#include "ledger/crypto/secp256k1.hpp"
#include "ledger/rpc/json.hpp"
#include "marketplace/api/handlers.hpp"
#include "marketplace/api/signatures.hpp"
#include "marketplace/api/siwe.hpp"
#include "marketplace/wire/order_json.hpp"

#include <algorithm>
#include <limits>

namespace marketplace::api {

using ledger::base::Error;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::crypto::to_checksum;

namespace {

constexpr std::size_t kLabelBytesMax = 100;
constexpr std::size_t kKeysPerAccount = 100;
/// A contract's signature may be of any shape; wallets with many owners send some hundred bytes.
constexpr std::size_t kSignatureBytesMax = 4096;
constexpr std::uint64_t kAtomsMax = std::numeric_limits<std::int64_t>::max();
constexpr std::uint64_t kRequestsPerMinuteMax = 1'000'000;
constexpr std::uint64_t kLatestMs = 253'402'300'799'999;  // the year 9999 ends

constexpr const char* kKeySchema = R"({"type":"object","properties":{
"label":{"type":"string","maxLength":100},
"scopes":{"type":"array","minItems":1,"uniqueItems":true,"items":{"enum":
["inference","files","jobs","orders","models","account"]},
"description":"What the key may be used for; everything when absent"},
"spend_cap":{"$ref":"#/components/schemas/Decimal",
"description":"Atoms that completions made with the key may cost in all; none: no cap"},
"expires_ms":{"type":"integer","description":"Unix ms; never when absent"},
"requests_per_minute":{"type":"integer","minimum":1,"maximum":1000000,
"description":"Requests with the key, so many at once at most; none: the market's own limit"},
"delegation":{"$ref":"#/components/schemas/Delegation",
"description":"Binds the key: it ends when the owner revokes delegations on chain"},
"delegation_signature":{"$ref":"#/components/schemas/Hex"}},"additionalProperties":false})";

struct SiweInput {
    std::string text;
    SiweMessage message;
    ledger::base::Bytes signature;
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
    TRY_ASSIGN(input.text, ledger::rpc::string_at(body, "message"));
    TRY_ASSIGN(const std::string signature, ledger::rpc::string_at(body, "signature"));
    TRY_ASSIGN(input.signature, ledger::base::parse_hex(signature, kSignatureBytesMax));
    TRY_ASSIGN(input.message, parse_siwe(input.text));
    return input;
}

[[nodiscard]] http::Response session_response(const http::Request& request,
                                              const Result<Auth::Session>& session) {
    if (!session) return error_response(request, session.error());
    Json out;
    out["token"] = session->token;
    out["token_type"] = "Bearer";
    out["address"] = to_checksum(session->account);
    out["expires_ms"] = session->expires_ms;
    http::Response response = json_response(out);
    response.header("cache-control", "no-store");
    return response;
}

/// The account's own key first, which costs nobody but the caller. What is not its signature is put
/// to the account's contract, and only when everything else of the message is right.
void sign_in(Services& services, const http::RequestPtr& request, const http::Reply& reply) {
    auto input = parse_siwe_input(*request);
    if (!input) return reply(error_response(*request, input.error()));
    Auth& auth = services.context.auth;
    const auto digest = ledger::crypto::personal_digest(input->text);
    const std::string host(request->header("host").value_or(""));
    if (input->signature.size() == domain::Signature::kSize) {
        const ledger::base::ByteView bytes(input->signature);
        const domain::Signature plain(bytes.first<domain::Signature::kSize>());
        const auto signer = ledger::crypto::recover(digest, plain);
        if (signer && *signer == input->message.address) {
            const auto key = ledger::crypto::recover_public_key(digest, plain);
            const auto checked = auth.check_message(input->message, host);
            if (!checked) return reply(error_response(*request, checked.error()));
            return reply(session_response(
                *request,
                auth.open_session(input->message, key ? std::optional(*key) : std::nullopt)));
        }
    }
    if (const auto checked = auth.check_message(input->message, host); !checked)
        return reply(error_response(*request, checked.error()));
    answer_from_chain(
        services, request, reply, [&services, request, digest, input = std::move(*input)] {
            const auto accepted = check_account_signature(input.message.address, digest,
                                                          input.signature, services.context.chain);
            if (!accepted) return error_response(*request, accepted.error());
            return session_response(
                *request, services.context.auth.open_session(input.message, std::nullopt));
        });
}

[[nodiscard]] Json key_view(const ApiKeyRow& row, std::uint64_t spent_atoms) {
    Json out;
    out["id"] = row.id;
    out["object"] = "api_key";
    out["label"] = row.label;
    out["owner"] = to_checksum(row.owner);
    out["created_ms"] = row.created_ms;
    out["revoked"] = row.revoked;
    out["scopes"] = scope_names(row.scopes);
    out["spend_cap"] = row.spend_cap_atoms ? Json(std::to_string(*row.spend_cap_atoms)) : Json();
    out["spent"] = std::to_string(spent_atoms);
    out["expires_ms"] = row.expires_ms == 0 ? Json() : Json(row.expires_ms);
    out["requests_per_minute"] =
        row.requests_per_minute == 0 ? Json() : Json(row.requests_per_minute);
    out["bound"] = row.delegation_nonce.has_value();
    return out;
}

/// What is asked of a new key.
struct KeyInput {
    ApiKeyRow terms;
    std::optional<ledger::eth::Delegation> delegation;
    ledger::base::Bytes signature;
};

[[nodiscard]] Result<std::uint32_t> parse_scopes(const Json& list) {
    if (!list.is_array() || list.empty())
        return fail(ErrorCode::invalid_field, "/scopes must be a list of names");
    std::uint32_t scopes = 0;
    for (const Json& name : list) {
        const auto bit = name.is_string() ? scope_of(name.get_ref<const std::string&>())
                                          : std::optional<std::uint32_t>();
        if (!bit)
            return fail(ErrorCode::unsupported,
                        "/scopes: inference, files, jobs, orders, models or account");
        scopes |= *bit;
    }
    return scopes;
}

/// The delegation must let this market's delegate sign vouchers for the account; the key may not
/// pass it.
[[nodiscard]] Result<void> bind_key(Services& services, const domain::Address& account,
                                    domain::TimeMs now_ms, KeyInput& input) {
    const ledger::eth::Delegation& delegation = *input.delegation;
    ApiKeyRow& terms = input.terms;
    if (delegation.owner != account)
        return fail(ErrorCode::invalid_field, "/delegation/owner is not the account signed in");
    if (delegation.delegate != services.context.info.delegate_address)
        return fail(ErrorCode::invalid_field,
                    "/delegation/delegate must be the delegate_address of /v1/market/info");
    if ((delegation.scope & ledger::eth::kScopeVouchers) == 0 ||
        delegation.scope > ledger::eth::kScopeAll)
        return fail(ErrorCode::invalid_field, "/delegation/scope must allow vouchers");
    const domain::TimeMs end_ms = std::min(delegation.expiry_s, kLatestMs / 1000) * 1000;
    if (end_ms <= now_ms) return fail(ErrorCode::expired, "the delegation has expired");
    const std::uint64_t cap = std::min(delegation.spend_cap_atoms, kAtomsMax);
    terms.spend_cap_atoms = terms.spend_cap_atoms.value_or(cap);
    if (*terms.spend_cap_atoms > cap || *terms.spend_cap_atoms == 0)
        return fail(ErrorCode::out_of_range, "/spend_cap passes the delegation's");
    if (terms.expires_ms == 0) terms.expires_ms = end_ms;
    if (terms.expires_ms > end_ms)
        return fail(ErrorCode::out_of_range, "/expires_ms is after the delegation's expiry");
    return {};
}

/// Label, scopes and limits.
[[nodiscard]] Result<void> parse_terms(const Json& body, domain::TimeMs now_ms, ApiKeyRow& terms) {
    if (body.contains("label")) {
        TRY_ASSIGN(terms.label, ledger::rpc::string_at(body, "label"));
    }
    if (terms.label.size() > kLabelBytesMax) return fail(ErrorCode::too_large, "/label: 100 bytes");
    if (body.contains("scopes")) {
        TRY_ASSIGN(terms.scopes, parse_scopes(body["scopes"]));
    }
    if (body.contains("spend_cap")) {
        TRY_ASSIGN(terms.spend_cap_atoms, ledger::rpc::u64_text_at(body, "spend_cap"));
        if (*terms.spend_cap_atoms == 0 || *terms.spend_cap_atoms > kAtomsMax)
            return fail(ErrorCode::out_of_range, "/spend_cap: 1 to 2^63 - 1 atoms");
    }
    if (body.contains("expires_ms")) {
        TRY_ASSIGN(terms.expires_ms, ledger::rpc::integer_at(body, "expires_ms"));
        if (terms.expires_ms <= now_ms || terms.expires_ms > kLatestMs)
            return fail(ErrorCode::invalid_window, "/expires_ms must be in the future");
    }
    if (body.contains("requests_per_minute")) {
        TRY_ASSIGN(terms.requests_per_minute, ledger::rpc::integer_at(body, "requests_per_minute"));
        if (terms.requests_per_minute == 0 || terms.requests_per_minute > kRequestsPerMinuteMax)
            return fail(ErrorCode::out_of_range, "/requests_per_minute: 1 to 1,000,000");
    }
    return {};
}

[[nodiscard]] Result<KeyInput> parse_key_input(Services& services, const http::Request& request,
                                               const domain::Address& account) {
    KeyInput input;
    input.terms.scopes = kScopeEverything;
    if (request.body.empty()) return input;
    TRY_ASSIGN(
        const Json body,
        parse_small_object(request, {"label", "scopes", "spend_cap", "expires_ms",
                                     "requests_per_minute", "delegation", "delegation_signature"}));
    const domain::TimeMs now_ms = services.context.clock.now_ms();
    TRY(parse_terms(body, now_ms, input.terms));
    if (!body.contains("delegation")) {
        if (body.contains("delegation_signature"))
            return fail(ErrorCode::missing_field, "/delegation");
        return input;
    }
    TRY_ASSIGN(input.delegation, wire::parse_delegation(ledger::rpc::to_text(body["delegation"])));
    TRY_ASSIGN(const std::string hex, ledger::rpc::string_at(body, "delegation_signature"));
    TRY_ASSIGN(input.signature, ledger::base::parse_hex(hex, kSignatureBytesMax));
    TRY(bind_key(services, account, now_ms, input));
    return input;
}

/// On the desk.
[[nodiscard]] http::Response store_key(Services& services, const http::Request& request,
                                       const domain::Address& account, const KeyInput& input) {
    CatalogPort& catalog = services.context.catalog;
    std::size_t live = 0;
    for (const ApiKeyRow& row : catalog.api_keys(account))
        live += row.revoked ? 0 : 1;
    if (live >= kKeysPerAccount)
        return error_response(request, Error(ErrorCode::out_of_range, "100 keys at most"));
    const Auth::NewKey key = services.context.auth.make_api_key(account, input.terms);
    if (const auto kept = catalog.put_api_key(key.row); !kept)
        return error_response(request, kept.error());
    Json out = key_view(key.row, 0);
    out["key"] = key.secret;
    http::Response response = json_response(out, 201);
    response.header("cache-control", "no-store");
    return response;
}

/// Signature and nonce of the delegation. On the thread that may ask the chain.
[[nodiscard]] Result<void> check_binding(Services& services, KeyInput& input) {
    const ledger::eth::Delegation& delegation = *input.delegation;
    TRY(check_delegation(services.order_domain, delegation, input.signature,
                         services.context.chain));
    TRY_ASSIGN(const std::uint64_t nonce,
               services.context.chain.delegation_nonce(delegation.owner));
    if (nonce != delegation.nonce || nonce > kAtomsMax)
        return fail(ErrorCode::delegation_revoked,
                    "/delegation/nonce must be " + std::to_string(nonce));
    input.terms.delegation_nonce = nonce;
    return {};
}

void create_key(Services& services, const http::RequestPtr& request, const http::Reply& reply) {
    const auto account = services.context.auth.session_of(*request);
    if (!account) return reply(error_response(*request, account.error()));
    auto input = parse_key_input(services, *request, *account);
    if (!input) return reply(error_response(*request, input.error()));
    if (!input->delegation)
        return answer_from_desk(services, request, reply,
                                [&services, request, account = *account, input = *input] {
                                    return store_key(services, *request, account, input);
                                });
    answer_from_chain(services, request, reply,
                      [&services, request, account = *account, input = *input]() mutable {
                          if (const auto bound = check_binding(services, input); !bound)
                              return error_response(*request, bound.error());
                          return store_key(services, *request, account, input);
                      });
}

void list_keys(Services& services, const http::RequestPtr& request, const http::Reply& reply) {
    const auto account = services.context.auth.account_of(*request);
    if (!account) return reply(error_response(*request, account.error()));
    answer_from_desk(services, request, reply, [&services, account = *account] {
        Json items = Json::array();
        for (const ApiKeyRow& row : services.context.catalog.api_keys(account))
            items.push_back(key_view(row, services.context.auth.spent_atoms(row)));
        return json_response(list_of(std::move(items), false));
    });
}

void revoke_key(Services& services, const http::RequestPtr& request, const http::Reply& reply) {
    const auto account = services.context.auth.session_of(*request);
    if (!account) return reply(error_response(*request, account.error()));
    answer_from_desk(services, request, reply, [&services, request, account = *account] {
        const std::string id(request->param("id"));
        const auto revoked = services.context.catalog.revoke_api_key(id, account);
        if (!revoked) return error_response(*request, revoked.error());
        services.context.auth.end_api_key(id);
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
                  const auto caller = services.context.auth.caller_of(*request, 0);
                  if (!caller) return reply(error_response(*request, caller.error()));
                  Json out{{"address", to_checksum(caller->account)}, {"api_key", nullptr}};
                  if (caller->key)
                      out["api_key"] = key_view(caller->key->row(), caller->key->spent_atoms());
                  reply(json_response(out));
              });
    RouteDoc create{http::Method::kPost,
                    "/v1/api-keys",
                    "createApiKey",
                    "auth",
                    "A new API key, shown this once",
                    Access::kAccount};
    create.request_schema = kKeySchema;
    create.body_required = false;
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
