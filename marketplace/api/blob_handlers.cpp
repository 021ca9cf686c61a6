// SPDX-License-Identifier: Apache-2.0
// Content-addressed blobs.
#include "ledger/base/hex.hpp"
#include "marketplace/api/handlers.hpp"

namespace marketplace::api {

using ledger::base::Error;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::to_hex;

namespace {

[[nodiscard]] Result<domain::Hash32> path_hash(const http::Request& request) {
    const auto hash = ledger::base::parse_fixed<domain::Hash32>(request.param("sha256"));
    if (!hash) return fail(ErrorCode::invalid_field, "a blob is named by 0x and 64 hex digits");
    return *hash;
}

void put_blob(Services& services, const http::RequestPtr& request, const http::Reply& reply) {
    auto upload = std::dynamic_pointer_cast<BlobStore::Upload>(request->sink);
    if (!upload) return reply(error_response(*request, Error(ErrorCode::internal)));
    services.context.blobs.commit(std::move(upload), [request, reply](const auto& stored) {
        if (!stored) return reply(error_response(*request, stored.error()));
        Json out;
        out["object"] = "blob";
        out["id"] = std::string(request->param("sha256"));
        out["bytes"] = request->content_length;
        reply(json_response(out, *stored == BlobStore::Stored::kNew ? 201 : 200));
    });
}

void get_blob(Services& services, const http::RequestPtr& request, const http::Reply& reply) {
    const auto account = services.context.auth.account_of(*request);
    if (!account) return reply(error_response(*request, account.error()));
    const auto hash = path_hash(*request);
    if (!hash) return reply(error_response(*request, hash.error()));
    const auto path = services.context.blobs.find(*hash);
    if (!path) return reply(error_response(*request, Error(ErrorCode::not_found, "no such blob")));
    auto response = http::Response::download(*path, *request, "application/octet-stream",
                                             "\"" + to_hex(*hash) + "\"");
    if (!response) return reply(error_response(*request, response.error()));
    response->header("cache-control", "private, max-age=31536000, immutable");
    reply(std::move(*response));
}

}  // namespace

void add_blob_routes(RouteTable& table, Services& services) {
    RouteDoc put{http::Method::kPut,
                 "/v1/blobs/{sha256}",
                 "putBlob",
                 "blobs",
                 "Store bytes under their SHA-256; 200 when they were there",
                 Access::kAccount};
    put.success = 201;
    http::RouteOptions options;
    options.body_bytes_max = ledger::base::limits::kHttpBlobBytes;
    options.sink =
        [&services](const http::Request& head) -> Result<std::shared_ptr<http::BodySink>> {
        TRY(services.context.auth.account_of(head));
        TRY_ASSIGN(const domain::Hash32 hash, path_hash(head));
        TRY_ASSIGN(auto upload, services.context.blobs.begin(hash, head.content_length));
        return std::shared_ptr<http::BodySink>(std::move(upload));
    };
    table.add(
        std::move(put),
        [&services](const auto& request, const auto& reply) { put_blob(services, request, reply); },
        std::move(options));
    RouteDoc get{http::Method::kGet,
                 "/v1/blobs/{sha256}",
                 "getBlob",
                 "blobs",
                 "The bytes, whole or by Range; HEAD asks whether they are there",
                 Access::kAccount};
    get.content_type = "application/octet-stream";
    table.add(std::move(get), [&services](const auto& request, const auto& reply) {
        get_blob(services, request, reply);
    });
}

}  // namespace marketplace::api
