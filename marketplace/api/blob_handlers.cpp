// SPDX-License-Identifier: Apache-2.0
// Content-addressed blobs.
#include "ledger/base/hex.hpp"
#include "ledger/base/money.hpp"
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
    const auto account = services.context.auth.account_of(*request, kScopeFiles);
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

[[nodiscard]] Result<std::uint64_t> header_u64(const http::Request& request, const char* name) {
    const auto text = request.header(name);
    if (!text) return fail(ErrorCode::missing_field, std::string("the header ") + name);
    const auto value = ledger::base::parse_u64(*text);
    if (!value)
        return fail(ErrorCode::invalid_field, std::string(name) + " must be a number, 0 or above");
    return *value;
}

/// Where an upload stands, in the headers of draft-ietf-httpbis-resumable-upload and in the body.
[[nodiscard]] http::Response upload_response(const http::Request& request,
                                             const BlobUploads::State& state, int status) {
    Json out;
    out["object"] = state.complete ? "blob" : "blob_upload";
    out["id"] = std::string(request.param("sha256"));
    out["bytes"] = state.length;
    out["offset"] = state.offset;
    out["complete"] = state.complete;
    http::Response response = json_response(out, status);
    response.header("upload-offset", std::to_string(state.offset));
    response.header("upload-length", std::to_string(state.length));
    response.header("upload-complete", state.complete ? "?1" : "?0");
    response.header("cache-control", "no-store");
    return response;
}

/// Who calls and which blob.
struct UploadTarget {
    domain::Address account;
    domain::Hash32 hash;
};
[[nodiscard]] Result<UploadTarget> upload_target(Services& services, const http::Request& request) {
    TRY_ASSIGN(const domain::Address account,
               services.context.auth.account_of(request, kScopeFiles));
    TRY_ASSIGN(const domain::Hash32 hash, path_hash(request));
    return UploadTarget{account, hash};
}

[[nodiscard]] http::Response create_upload(Services& services, const http::Request& request) {
    const auto target = upload_target(services, request);
    if (!target) return error_response(request, target.error());
    const auto length = header_u64(request, "upload-length");
    if (!length) return error_response(request, length.error());
    const auto state = services.context.uploads.create(target->account, target->hash, *length);
    if (!state) return error_response(request, state.error());
    http::Response response = upload_response(request, *state, state->complete ? 200 : 201);
    response.header("location", request.path);
    return response;
}

[[nodiscard]] http::Response look_at_upload(Services& services, const http::Request& request) {
    const auto target = upload_target(services, request);
    if (!target) return error_response(request, target.error());
    const auto state = services.context.uploads.find(target->account, target->hash);
    if (!state) return error_response(request, Error(ErrorCode::not_found, "no such upload"));
    return upload_response(request, *state, 200);
}

[[nodiscard]] http::Response drop_upload(Services& services, const http::Request& request) {
    const auto target = upload_target(services, request);
    if (!target) return error_response(request, target.error());
    const auto dropped = services.context.uploads.drop(target->account, target->hash);
    if (!dropped) return error_response(request, dropped.error());
    return http::Response::empty(204);
}

void patch_upload(Services& services, const http::RequestPtr& request, const http::Reply& reply) {
    auto piece = std::dynamic_pointer_cast<BlobUploads::Piece>(request->sink);
    if (!piece) return reply(error_response(*request, Error(ErrorCode::internal)));
    services.context.uploads.commit(std::move(piece), [request, reply](const auto& state) {
        if (!state) return reply(error_response(*request, state.error()));
        reply(upload_response(*request, *state, state->complete ? 201 : 200));
    });
}

/// Uploads in parts: the resource is named by the caller and the blob.
void add_upload_routes(RouteTable& table, Services& services) {
    constexpr const char* kPath = "/v1/blobs/{sha256}/upload";
    const auto at_desk = [&services](auto work) {
        return [&services, work](const http::RequestPtr& request, const http::Reply& reply) {
            answer_from_desk(services, request, reply,
                             [&services, request, work] { return work(services, *request); });
        };
    };
    RouteDoc create{http::Method::kPost,
                    kPath,
                    "createBlobUpload",
                    "blobs",
                    "Begin to send a blob of Upload-Length bytes in parts, or find where it "
                    "stands; 200 when the blob is stored already",
                    Access::kAccount};
    create.success = 201;
    table.add(std::move(create), at_desk(create_upload));
    table.add({http::Method::kGet, kPath, "getBlobUpload", "blobs",
               "Where an upload stands: Upload-Offset is the next byte wanted", Access::kAccount},
              at_desk(look_at_upload));
    RouteDoc drop{http::Method::kDelete, kPath,           "deleteBlobUpload", "blobs",
                  "Give an upload up",   Access::kAccount};
    drop.success = 204;
    table.add(std::move(drop), at_desk(drop_upload));
    http::RouteOptions options;
    options.body_bytes_max = ledger::base::limits::kHttpBlobBytes;
    options.handler_timeout = std::chrono::minutes(10);  // the last part: the whole is hashed
    options.sink =
        [&services](const http::Request& head) -> Result<std::shared_ptr<http::BodySink>> {
        TRY_ASSIGN(const UploadTarget target, upload_target(services, head));
        TRY_ASSIGN(const std::uint64_t offset, header_u64(head, "upload-offset"));
        TRY_ASSIGN(auto piece, services.context.uploads.append(target.account, target.hash, offset,
                                                               head.content_length));
        return std::shared_ptr<http::BodySink>(std::move(piece));
    };
    RouteDoc append{http::Method::kPatch,
                    kPath,
                    "appendBlobUpload",
                    "blobs",
                    "The bytes from Upload-Offset on; 201 when the blob is whole and stored. What "
                    "arrived before a cut counts",
                    Access::kAccount};
    append.success = 201;
    append.request_type = "application/octet-stream";
    append.request_schema = R"({"type":"string"})";
    table.add(
        std::move(append),
        [&services](const auto& request, const auto& reply) {
            patch_upload(services, request, reply);
        },
        std::move(options));
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
    put.request_type = "application/octet-stream";
    put.request_schema = R"({"type":"string"})";
    http::RouteOptions options;
    options.body_bytes_max = ledger::base::limits::kHttpBlobBytes;
    options.sink =
        [&services](const http::Request& head) -> Result<std::shared_ptr<http::BodySink>> {
        TRY_ASSIGN(const UploadTarget target, upload_target(services, head));
        TRY_ASSIGN(auto upload,
                   services.context.blobs.begin(target.hash, head.content_length, target.account));
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
    add_upload_routes(table, services);
}

}  // namespace marketplace::api
