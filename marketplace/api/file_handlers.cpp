// SPDX-License-Identifier: Apache-2.0
// OpenAI's files: names of an account for blobs.
#include "ledger/base/hex.hpp"
#include "ledger/base/sha256.hpp"
#include "ledger/crypto/secp256k1.hpp"
#include "marketplace/api/handlers.hpp"
#include "marketplace/api/multipart.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace marketplace::api {

using ledger::base::Error;
using ledger::base::ErrorCode;
using ledger::base::fail;

namespace {

constexpr std::size_t kFileBytesMax = 32U << 20U;  // the form is in memory
constexpr std::size_t kLineBytesMax = 1U << 20U;   // what a worker reads
constexpr std::size_t kFilesMax = 1000;            // of one account

Json file_view(const FileRow& file) {
    return {{"id", file.id},
            {"object", "file"},
            {"bytes", file.bytes},
            {"created_at", file.created_ms / 1000},
            {"expires_at", nullptr},
            {"filename", file.filename},
            {"purpose", file.purpose},
            {"status", "processed"},
            {"status_details", nullptr}};
}

/// Lines of JSON objects, as far as can be said without reading them all twice.
Result<void> check_examples(std::string_view text) {
    std::size_t number = 0;
    std::size_t examples = 0;
    while (!text.empty()) {
        ++number;
        const std::size_t size = std::min(text.substr(0, kLineBytesMax + 1).find('\n'),
                                          std::min(text.size(), kLineBytesMax + 1));
        if (size > kLineBytesMax)
            return fail(ErrorCode::data_invalid,
                        fmt::format("line {} of the file is longer than 1 MiB", number));
        const std::string_view line = text.substr(0, size);
        text.remove_prefix(std::min(size + 1, text.size()));
        if (line.find_first_not_of(" \t\r") == line.npos) continue;
        if (!Json::accept(line))
            return fail(ErrorCode::data_invalid,
                        fmt::format("line {} of the file is no JSON", number));
        ++examples;
    }
    if (examples == 0) return fail(ErrorCode::data_invalid, "the file has no examples");
    return {};
}

struct FileInput {
    std::string filename;
    std::string_view content;
};

Result<FileInput> parse_file(const http::Request& request) {
    TRY_ASSIGN(const auto parts,
               parse_form(request.header("content-type").value_or(""), request.body));
    FileInput out;
    std::string purpose;
    bool found = false;
    for (const FormPart& part : parts) {
        if (part.name == "purpose") purpose = part.content;
        if (part.name != "file") continue;
        out.filename = part.filename.value_or("file");
        out.content = part.content;
        found = true;
    }
    if (!found) return fail(ErrorCode::missing_field, "the form has no field \"file\"");
    if (purpose != "fine-tune")
        return fail(ErrorCode::invalid_field, "purpose must be \"fine-tune\"");
    TRY(check_examples(out.content));
    return out;
}

void put_file(Services& services, const http::RequestPtr& request, const http::Reply& reply) {
    const auto account = services.context.auth.account_of(*request, kScopeFiles);
    if (!account) return reply(error_response(*request, account.error()));
    const auto input = parse_file(*request);
    if (!input) return reply(error_response(*request, input.error()));
    FileRow file;
    file.id = "file-" + ledger::base::to_hex(ledger::crypto::random_bytes(12)).substr(2);
    file.owner = *account;
    file.filename = input->filename;
    file.purpose = "fine-tune";
    file.blob = ledger::base::sha256(ledger::base::as_bytes(input->content));
    file.bytes = input->content.size();
    file.created_ms = services.context.clock.now_ms();
    auto upload = services.context.blobs.begin(file.blob, file.bytes, *account);
    if (!upload) return reply(error_response(*request, upload.error()));
    if (const auto written = (*upload)->write(input->content); !written)
        return reply(error_response(*request, written.error()));
    services.context.blobs.commit(
        std::move(*upload), [&services, request, reply, file](const auto& stored) {
            if (!stored) return reply(error_response(*request, stored.error()));
            answer_from_desk(services, request, reply, [&services, request, file] {
                if (services.context.catalog.files(file.owner).size() >= kFilesMax)
                    return error_response(
                        *request, Error(ErrorCode::too_large,
                                        fmt::format("an account has at most {} files", kFilesMax)));
                const auto kept = services.context.catalog.put_file(file);
                if (!kept) return error_response(*request, kept.error());
                return json_response(file_view(file));
            });
        });
}

/// Runs `use` on the desk with the file of the path, when it is the caller's.
void with_file(Services& services, const http::RequestPtr& request, const http::Reply& reply,
               std::function<http::Response(const FileRow&)> use) {
    const auto account = services.context.auth.account_of(*request, kScopeFiles);
    if (!account) return reply(error_response(*request, account.error()));
    answer_from_desk(
        services, request, reply, [&services, request, account = *account, use = std::move(use)] {
            const auto file =
                services.context.catalog.file(std::string(request->param("id")), account);
            if (!file) return error_response(*request, Error(ErrorCode::not_found, "no such file"));
            return use(*file);
        });
}

void list_files(Services& services, const http::RequestPtr& request, const http::Reply& reply) {
    const auto account = services.context.auth.account_of(*request, kScopeFiles);
    if (!account) return reply(error_response(*request, account.error()));
    const auto limit = read_limit(*request, 10'000, 10'000);
    if (!limit) return reply(error_response(*request, limit.error()));
    answer_from_desk(
        services, request, reply, [&services, request, account = *account, limit = *limit] {
            auto files = services.context.catalog.files(account);  // oldest first
            if (request->query_value("order").value_or("desc") != "asc")
                std::reverse(files.begin(), files.end());
            const auto purpose = request->query_value("purpose");
            auto at = files.begin();
            if (const auto after = request->query_value("after")) {
                at = std::find_if(files.begin(), files.end(),
                                  [&](const FileRow& file) { return file.id == *after; });
                if (at != files.end()) ++at;
            }
            Json items = Json::array();
            for (; at != files.end() && items.size() < limit; ++at)
                if (!purpose || *purpose == at->purpose) items.push_back(file_view(*at));
            return to_response(*request, list_of(std::move(items), at != files.end()));
        });
}

}  // namespace

void add_file_routes(RouteTable& table, Services& services) {
    RouteDoc post{http::Method::kPost,
                  "/v1/files",
                  "createFile",
                  "files",
                  "Store a file of examples: multipart/form-data with file and purpose",
                  Access::kAccount};
    post.request_type = "multipart/form-data";
    http::RouteOptions options;
    options.body_bytes_max = kFileBytesMax;
    table.add(
        std::move(post),
        [&services](const auto& request, const auto& reply) { put_file(services, request, reply); },
        std::move(options));
    RouteDoc list{http::Method::kGet,   "/v1/files",     "listFiles", "files",
                  "The caller's files", Access::kAccount};
    list.query = {{"limit", "integer", "1 to 10000"},
                  {"after", "string", "id of the last file seen"},
                  {"order", "string", "desc (usual) or asc"},
                  {"purpose", "string", "fine-tune"}};
    table.add(std::move(list), [&services](const auto& request, const auto& reply) {
        list_files(services, request, reply);
    });
    table.add(
        {http::Method::kGet, "/v1/files/{id}", "getFile", "files", "One file", Access::kAccount},
        [&services](const auto& request, const auto& reply) {
            with_file(services, request, reply,
                      [](const FileRow& file) { return json_response(file_view(file)); });
        });
    RouteDoc content{http::Method::kGet, "/v1/files/{id}/content", "getFileContent", "files",
                     "Its bytes",        Access::kAccount};
    content.content_type = "application/octet-stream";
    table.add(std::move(content), [&services](const auto& request, const auto& reply) {
        with_file(services, request, reply, [&services, request](const FileRow& file) {
            const auto path = services.context.blobs.find(file.blob);
            if (!path)
                return error_response(*request, Error(ErrorCode::not_found, "its bytes are gone"));
            auto response = http::Response::download(*path, *request, "application/octet-stream",
                                                     "\"" + file.id + "\"");
            return response ? std::move(*response) : error_response(*request, response.error());
        });
    });
    table.add(
        {http::Method::kDelete, "/v1/files/{id}", "deleteFile", "files",
         "Forget a file; jobs that use it go on", Access::kAccount},
        [&services](const auto& request, const auto& reply) {
            with_file(services, request, reply, [&services, request](const FileRow& file) {
                const auto gone = services.context.catalog.delete_file(file.id, file.owner);
                if (!gone) return error_response(*request, gone.error());
                return json_response({{"id", file.id}, {"object", "file"}, {"deleted", true}});
            });
        });
}

}  // namespace marketplace::api
