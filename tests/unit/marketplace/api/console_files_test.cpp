// SPDX-License-Identifier: Apache-2.0
#include "marketplace/api/console_files.hpp"

#include <doctest/doctest.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

namespace fs = std::filesystem;
using ledger::base::ErrorCode;
using marketplace::api::ConsoleFiles;
using namespace marketplace;

namespace {

/// A folder of its own for each test, gone afterwards.
struct Folder {
    fs::path path =
        fs::temp_directory_path() / ("console-files-test-" + std::to_string(::getpid()));
    Folder() {
        fs::remove_all(path);
        fs::create_directories(path / "assets");
    }
    ~Folder() { fs::remove_all(path); }
    void write(const std::string& name, const std::string& text) const {
        std::ofstream(path / name, std::ios::binary) << text;
    }
};

struct Caught final : http::Reply::Sink {
    http::Response response;
    void send(http::Response answer) override { response = std::move(answer); }
};

http::Response ask(const http::Router& router, const std::string& path,
                   std::vector<std::pair<std::string, std::string>> headers = {}) {
    const auto match = router.find(http::Method::kGet, path);
    if (match.route == nullptr) return http::Response::empty(404);
    auto request = std::make_shared<http::Request>();
    request->path = path;
    request->params = match.params;
    request->headers = std::move(headers);
    auto sink = std::make_shared<Caught>();
    match.route->handler(request, http::Reply(sink));
    return sink->response;
}

std::string header(const http::Response& response, const std::string& name) {
    for (const auto& [key, value] : response.headers)
        if (key == name) return value;
    return "";
}

}  // namespace

TEST_CASE("console_files: what is no console is refused") {
    const Folder folder;
    const auto refused = [&] {
        const auto files = ConsoleFiles::load(folder.path);
        return !files && files.error().code() == ErrorCode::config_invalid;
    };
    CHECK(refused());  // no index.html
    folder.write("index.html", "<p>");
    CHECK_FALSE(refused());
    folder.write("assets/run.exe", "x");
    CHECK(refused());
    fs::remove(folder.path / "assets/run.exe");
    folder.write("assets/big.js", std::string(17 << 20, 'x'));
    CHECK(refused());
    fs::remove(folder.path / "assets/big.js");
    for (int i = 0; i < 257; ++i)
        folder.write("assets/" + std::to_string(i) + ".js", "x");
    CHECK(refused());
    fs::remove_all(folder.path / "assets");
    CHECK(refused());
}

TEST_CASE("console_files: no path leaves the folder, and links are not followed") {
    const Folder folder;
    folder.write("index.html", "<p>page");
    folder.write("secret.js", "not an asset");
    fs::create_symlink("/etc/passwd", folder.path / "assets/passwd.js");
    const auto files = ConsoleFiles::load(folder.path);
    REQUIRE(files);
    http::Router router;
    api::add_console_routes(router, *files);
    for (const char* path : {"/assets/passwd.js", "/assets/..%2Fsecret.js", "/assets/../secret.js",
                             "/assets/%2e%2e%2fsecret.js", "/secret.js", "/assets/",
                             "/assets/a/../../secret.js", "/v1/nothing"})
        CHECK_MESSAGE(ask(router, path).status == 404, path);
    // Under /app/ everything is the page, which finds its own way; what climbs is nothing.
    CHECK(ask(router, "/app/jobs/job_1").body == "<p>page");
    CHECK(ask(router, "/app/../secret.js").status == 404);
}

TEST_CASE("console_files: types, caching, compression and the policy") {
    const Folder folder;
    folder.write("index.html", "<p>page");
    folder.write("assets/a.js", "long script");
    folder.write("assets/a.js.gz", "short");
    const auto files = ConsoleFiles::load(folder.path);
    REQUIRE(files);
    http::Router router;
    api::add_console_routes(router, *files);

    const auto page = ask(router, "/");
    CHECK(page.status == 200);
    CHECK(page.content_type == "text/html; charset=utf-8");
    CHECK(header(page, "cache-control") == "no-cache");
    CHECK(header(page, "content-security-policy")
              .starts_with("default-src 'none'; script-src 'self';"));

    const auto plain = ask(router, "/assets/a.js");
    CHECK(plain.body == "long script");
    CHECK(header(plain, "content-encoding").empty());
    CHECK(header(plain, "vary") == "Accept-Encoding");
    CHECK(header(plain, "cache-control") == "public, max-age=31536000, immutable");
    CHECK(ask(router, "/assets/a.js", {{"Accept-Encoding", "br, gzip;q=0"}}).body == "long script");

    const auto zipped = ask(router, "/assets/a.js", {{"Accept-Encoding", "gzip, br"}});
    CHECK(zipped.body == "short");
    CHECK(header(zipped, "content-encoding") == "gzip");
    CHECK(header(zipped, "etag") != header(plain, "etag"));

    const auto known = ask(router, "/assets/a.js", {{"If-None-Match", header(plain, "etag")}});
    CHECK(known.status == 304);
    CHECK(known.body.empty());
    CHECK(ask(router, "/assets/a.js", {{"If-None-Match", "\"other\""}}).status == 200);
    // Only what can be asked for by its own name is an asset.
    CHECK(ask(router, "/assets/a.js.gz").status == 404);
}

TEST_CASE("console_files: the API's documents have a page of their own, when there are some") {
    const Folder folder;
    folder.write("index.html", "<p>page");
    {
        const auto files = ConsoleFiles::load(folder.path);
        http::Router router;
        api::add_console_routes(router, *files);
        CHECK(ask(router, "/docs").status == 404);
    }
    folder.write("docs.html", "<p>documents");
    const auto files = ConsoleFiles::load(folder.path);
    http::Router router;
    api::add_console_routes(router, *files);
    const auto page = ask(router, "/docs");
    CHECK(page.body == "<p>documents");
    CHECK(header(page, "cache-control") == "no-cache");
    const std::string policy = header(page, "content-security-policy");
    CHECK(policy.starts_with("default-src 'none'; script-src 'self';"));
    CHECK(policy.find("connect-src 'self';") != std::string::npos);
    CHECK(ask(router, "/").body == "<p>page");
}
