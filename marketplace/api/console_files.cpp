// SPDX-License-Identifier: Apache-2.0
#include "marketplace/api/console_files.hpp"

#include "ledger/base/hex.hpp"
#include "ledger/base/sha256.hpp"
#include "marketplace/api/compression.hpp"
#include "marketplace/api/services.hpp"

#include <algorithm>
#include <array>
#include <fstream>
#include <system_error>

namespace marketplace::api {

using ledger::base::Error;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

namespace {

namespace fs = std::filesystem;

constexpr std::size_t kFilesMax = 256;
constexpr std::size_t kBytesMax = 16 * 1024 * 1024;
constexpr std::string_view kIndex = "index.html";

/// Everything comes from the market itself; only a node that its reader names is asked besides.
constexpr const char* kContentPolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self' https: http://127.0.0.1:* http://localhost:*; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'";

/// The API's documents need styles that their reader's program makes; nothing leaves the market.
constexpr const char* kDocsPolicy =
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
constexpr std::string_view kDocs = "docs.html";

[[nodiscard]] std::string_view content_type_of(const fs::path& path) {
    static constexpr std::array<std::pair<std::string_view, std::string_view>, 4> kTypes = {{
        {".html", "text/html; charset=utf-8"},
        {".js", "text/javascript; charset=utf-8"},
        {".css", "text/css; charset=utf-8"},
        {".svg", "image/svg+xml"},
    }};
    const std::string extension = path.extension().string();
    for (const auto& [known, type] : kTypes)
        if (extension == known) return type;
    return {};
}

[[nodiscard]] Result<std::string> read_bounded(const fs::path& path, std::size_t bytes_max) {
    std::error_code error;
    const std::uintmax_t size = fs::file_size(path, error);
    if (!error && size > bytes_max)
        return fail(ErrorCode::config_invalid, "the console passes 16 MiB");
    std::ifstream in(path, std::ios::binary);
    std::string bytes(error ? 0 : static_cast<std::size_t>(size), '\0');
    if (error || !in.read(bytes.data(), static_cast<std::streamsize>(bytes.size())))
        return fail(ErrorCode::config_invalid, "cannot read " + path.string());
    return bytes;
}

[[nodiscard]] http::Response answer(const http::Request& request, const ConsoleFiles::File& file,
                                    const char* cache, const char* policy = kContentPolicy) {
    const bool zipped = !file.gzip.empty() && accepts_gzip(request);
    // What is compressed is another representation, with a tag of its own.
    std::string etag = file.etag;
    if (zipped) etag.insert(etag.size() - 1, "-gzip");
    http::Response response(200, file.content_type, "");
    response.header("etag", etag);
    response.header("cache-control", cache);
    response.header("vary", "Accept-Encoding");
    response.header("content-security-policy", policy);
    response.header("referrer-policy", "no-referrer");
    response.header("cross-origin-opener-policy", "same-origin");
    const auto known = request.header("if-none-match");
    if (known && http::etag_matches(*known, etag)) {
        response.status = 304;
        response.content_type.clear();
        return response;
    }
    if (zipped) response.header("content-encoding", "gzip");
    response.body = zipped ? file.gzip : file.bytes;
    return response;
}

}  // namespace

Result<ConsoleFiles> ConsoleFiles::load(const fs::path& folder) {
    ConsoleFiles out;
    std::map<std::string, std::string> zipped;
    std::size_t left = kBytesMax;
    for (const auto& [place, prefix] :
         {std::pair{folder, std::string()}, std::pair{folder / "assets", std::string("assets/")}}) {
        std::error_code error;
        for (fs::directory_iterator at(place, error), end; !error && at != end;
             at.increment(error)) {
            if (at->symlink_status().type() != fs::file_type::regular) continue;
            if (out.files_.size() + zipped.size() >= kFilesMax)
                return fail(ErrorCode::config_invalid, "the console has more than 256 files");
            TRY_ASSIGN(std::string bytes, read_bounded(at->path(), left));
            left -= bytes.size();
            const std::string name = prefix + at->path().filename().string();
            if (at->path().extension() == ".gz") {
                zipped.emplace(name.substr(0, name.size() - 3), std::move(bytes));
                continue;
            }
            const std::string_view type = content_type_of(at->path());
            if (type.empty())
                return fail(ErrorCode::config_invalid, "the console has no use for " + name);
            const auto hash = ledger::base::sha256(ledger::base::as_bytes(bytes));
            const std::string etag = "\"" + ledger::base::to_hex(hash).substr(2, 32) + "\"";
            out.files_.emplace(name, File{std::string(type), etag, std::move(bytes), {}});
        }
        if (error)
            return fail(ErrorCode::config_invalid, "cannot read the console in " + place.string());
    }
    if (out.find(kIndex) == nullptr)
        return fail(ErrorCode::config_invalid, folder.string() + " has no index.html");
    for (auto& [name, bytes] : zipped)
        if (const auto file = out.files_.find(name); file != out.files_.end())
            file->second.gzip = std::move(bytes);
    return out;
}

const ConsoleFiles::File* ConsoleFiles::find(std::string_view name) const {
    const auto found = files_.find(name);
    return found == files_.end() ? nullptr : &found->second;
}

void add_console_routes(http::Router& router, const ConsoleFiles& files) {
    // The page is asked for again each time, so that a new version is found; what it names by hash
    // never changes.
    const auto page = [&files](const http::Request& request) {
        return answer(request, *files.find(kIndex), "no-cache");
    };
    router.get("/", page);
    router.get("/app/{page...}", page);
    if (const ConsoleFiles::File* docs = files.find(kDocs))
        router.get("/docs", [docs](const http::Request& request) {
            return answer(request, *docs, "no-cache", kDocsPolicy);
        });
    router.get("/assets/{file}", [&files](const http::Request& request) {
        const auto* file = files.find("assets/" + std::string(request.param("file")));
        if (file == nullptr)
            return error_response(request, Error(ErrorCode::not_found, "no such file"));
        return answer(request, *file, "public, max-age=31536000, immutable");
    });
}

}  // namespace marketplace::api
