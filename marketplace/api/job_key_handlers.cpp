// SPDX-License-Identifier: Apache-2.0
// The data keys of sealed jobs, on their way from buyer to worker.
#include "ledger/base/hex.hpp"
#include "ledger/crypto/address.hpp"
#include "ledger/crypto/key_wrap.hpp"
#include "ledger/rpc/json.hpp"
#include "marketplace/api/handlers.hpp"

namespace marketplace::api {

using ledger::base::Error;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::to_hex;

namespace {

constexpr const char* kKeySchema = R"({"type":"object","required":["wrapped_key"],
"properties":{"wrapped_key":{"type":"string","description":"the job's data key, wrapped for the worker: 113 bytes as 0x-hex"}},"additionalProperties":false})";

struct Place {
    domain::JobId job;
    domain::Hash32 lease;
};

Result<Place> parse_place(const http::Request& request) {
    const auto job = domain::JobId::parse(request.param("id"));
    const auto lease = ledger::base::parse_fixed<domain::Hash32>(request.param("lease"));
    if (!job || !lease) return fail(ErrorCode::not_found, "no such job or lease");
    return Place{*job, *lease};
}

Result<domain::Bytes> parse_key(const http::Request& request) {
    ledger::rpc::JsonLimits bounds;
    bounds.bytes = 1024;
    TRY_ASSIGN(const Json body, ledger::rpc::parse_json(request.body, bounds));
    if (!body.is_object()) return fail(ErrorCode::invalid_request, "/ must be an object");
    for (const auto& [key, value] : body.items())
        if (key != "wrapped_key")
            return fail(ErrorCode::unknown_field, "/" + key.substr(0, 64) + " is not known");
    TRY_ASSIGN(const std::string text, ledger::rpc::string_at(body, "wrapped_key"));
    TRY_ASSIGN(domain::Bytes key, ledger::base::parse_hex(text, ledger::crypto::kWrappedKeyBytes));
    if (key.size() != ledger::crypto::kWrappedKeyBytes)
        return fail(ErrorCode::invalid_field, "/wrapped_key must have 113 bytes");
    return key;
}

/// Who may write and who may read the key of a lease.
struct Parties {
    domain::Address buyer;
    domain::Address worker;
};

Result<Parties> find_parties(const engine::Engine& engine, const Place& place) {
    const domain::Lease* lease = engine.find_lease(place.lease);
    if (lease == nullptr || lease->job != place.job)
        return fail(ErrorCode::not_found, "no such job or lease");
    return Parties{lease->buyer, lease->worker};
}

/// Looks the lease up on the engine's thread, then runs `use` on the desk.
void with_lease(Services& services, const http::RequestPtr& request, const http::Reply& reply,
                const Place& place, std::function<Result<Json>(const Parties&)> use) {
    const bool queued = services.context.engine.query(
        [&services, request, reply, place, use = std::move(use)](const engine::Engine& engine) {
            const auto parties = find_parties(engine, place);
            if (!parties) return reply(error_response(*request, parties.error()));
            answer_from_desk(services, request, reply, [request, use, parties = *parties] {
                http::Response response = to_response(*request, use(parties));
                response.header("cache-control", "no-store");
                return response;
            });
        });
    if (!queued) reply(error_response(*request, Error(ErrorCode::queue_full, "the engine")));
}

Json key_view(const Place& place) {
    return {{"object", "job_key"}, {"job", place.job.to_string()}, {"lease", to_hex(place.lease)}};
}

void put_key(Services& services, const http::RequestPtr& request, const http::Reply& reply) {
    const auto account = services.context.auth.account_of(*request, kScopeJobs);
    if (!account) return reply(error_response(*request, account.error()));
    const auto place = parse_place(*request);
    if (!place) return reply(error_response(*request, place.error()));
    const auto key = parse_key(*request);
    if (!key) return reply(error_response(*request, key.error()));
    with_lease(services, request, reply, *place,
               [&services, account = *account, place = *place,
                key = *key](const Parties& parties) -> Result<Json> {
                   if (parties.buyer != account)
                       return fail(ErrorCode::forbidden, "the key is its buyer's to give");
                   TRY(services.context.catalog.put_job_key(place.lease, key));
                   return key_view(place);
               });
}

void get_key(Services& services, const http::RequestPtr& request, const http::Reply& reply) {
    const auto account = services.context.auth.account_of(*request, kScopeJobs);
    if (!account) return reply(error_response(*request, account.error()));
    const auto place = parse_place(*request);
    if (!place) return reply(error_response(*request, place.error()));
    with_lease(
        services, request, reply, *place,
        [&services, account = *account, place = *place](const Parties& parties) -> Result<Json> {
            if (parties.worker != account && parties.buyer != account)
                return fail(ErrorCode::forbidden, "the key is for the lease's worker");
            const auto key = services.context.catalog.job_key(place.lease);
            if (!key) return fail(ErrorCode::not_found, "the buyer has given no key yet");
            Json out = key_view(place);
            out["wrapped_key"] = to_hex(*key);
            return out;
        });
}

void get_public_key(Services& services, const http::RequestPtr& request, const http::Reply& reply) {
    const auto address = ledger::crypto::parse_address(request->param("address"));
    if (!address) return reply(error_response(*request, address.error()));
    const auto key = services.context.auth.public_key_of(*address);
    if (!key)
        return reply(error_response(
            *request, Error(ErrorCode::not_found, "this account is not signed in now")));
    reply(json_response({{"object", "public_key"},
                         {"address", ledger::crypto::to_checksum(*address)},
                         {"public_key", to_hex(*key)}}));
}

}  // namespace

void add_job_key_routes(RouteTable& table, Services& services) {
    RouteDoc put{http::Method::kPut,
                 "/v1/jobs/{id}/keys/{lease}",
                 "putJobKey",
                 "jobs",
                 "Give a sealed job's data key to the worker of a lease",
                 Access::kAccount};
    put.request_schema = kKeySchema;
    table.add(std::move(put), [&services](const auto& request, const auto& reply) {
        put_key(services, request, reply);
    });
    table.add(
        {http::Method::kGet, "/v1/jobs/{id}/keys/{lease}", "getJobKey", "jobs",
         "The wrapped data key, for the lease's worker", Access::kAccount},
        [&services](const auto& request, const auto& reply) { get_key(services, request, reply); });
    table.add({http::Method::kGet, "/v1/accounts/{address}/public-key", "getPublicKey", "ledger",
               "The public key of an account that is signed in: x and y, 64 bytes"},
              [&services](const auto& request, const auto& reply) {
                  get_public_key(services, request, reply);
              });
}

}  // namespace marketplace::api
