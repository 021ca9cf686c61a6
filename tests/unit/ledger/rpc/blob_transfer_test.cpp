// SPDX-License-Identifier: Apache-2.0
#include "ledger/rpc/blob_transfer.hpp"

#include "tests/support/scripted_server.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

namespace {

using ledger::base::ErrorCode;
using ledger::rpc::fetch_in_parts;
using ledger::rpc::HttpClient;
using ledger::rpc::HttpRequest;
using ledger::rpc::send_in_parts;
using ledger::rpc::TransferOptions;
using tests::support::http_answer;
using tests::support::ScriptedServer;
using tests::support::ServerAction;
using Then = tests::support::ServerAction::Then;

TransferOptions quick() {
    TransferOptions options;
    options.limits.exchange_timeout = std::chrono::milliseconds(2000);
    options.tries = 3;
    options.pause = std::chrono::milliseconds(1);
    options.part_bytes = 1000;
    return options;
}

struct TempFile {
    std::filesystem::path path = std::filesystem::temp_directory_path() /
                                 ("millrace-transfer-" + std::to_string(::getpid()));
    TempFile() { std::filesystem::remove(path); }
    ~TempFile() { std::filesystem::remove(path); }
    void write(const std::string& text) const { std::ofstream(path, std::ios::binary) << text; }
    [[nodiscard]] std::string read() const {
        std::ifstream file(path, std::ios::binary);
        return {std::istreambuf_iterator<char>(file), {}};
    }
};

std::string contents(std::size_t size) {
    std::string out;
    for (std::size_t i = 0; i < size; ++i)
        out.push_back(static_cast<char>('a' + i * i % 23));
    return out;
}

std::uint64_t number_after(const std::string& request, const std::string& name) {
    const auto at = request.find(name);
    return at == std::string::npos ? 0 : std::stoull(request.substr(at + name.size()));
}

/// A server of one file by range that cuts each answer after `piece` bytes of body.
ServerAction serve(const std::string& body, const std::string& request, std::size_t piece) {
    const std::uint64_t from = number_after(request, "Range: bytes=");
    if (from >= body.size())
        return {http_answer("416 Range Not Satisfiable", "",
                            "Content-Range: bytes */" + std::to_string(body.size()) + "\r\n"),
                Then::kKeep};
    const std::string rest = body.substr(from);
    std::string head = from > 0 ? "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes " +
                                      std::to_string(from) + "-" + std::to_string(body.size() - 1) +
                                      "/" + std::to_string(body.size()) + "\r\n"
                                : std::string("HTTP/1.1 200 OK\r\n");
    head += "Content-Length: " + std::to_string(rest.size()) + "\r\n\r\n";
    return {head + rest.substr(0, piece), rest.size() > piece ? Then::kClose : Then::kKeep};
}

/// An upload resource; `broken` says what happens to the n-th request instead.
struct UploadResource {
    std::string received;
    std::uint64_t length = 0;
    std::function<std::optional<ServerAction>(int, const std::string&)> broken;
    int requests = 0;

    ServerAction operator()(const std::string& request) {
        const int number = requests++;
        if (broken)
            if (auto action = broken(number, request)) return *action;
        if (request.starts_with("POST")) length = number_after(request, "Upload-Length: ");
        if (request.starts_with("PATCH")) {
            if (number_after(request, "Upload-Offset: ") != received.size())
                return {http_answer("409 Conflict", ""), Then::kKeep};
            received += request.substr(request.find("\r\n\r\n") + 4);
        }
        return {http_answer("200 OK", "", state()), Then::kKeep};
    }
    [[nodiscard]] std::string state() const {
        return "Upload-Offset: " + std::to_string(received.size()) + "\r\nUpload-Complete: ?" +
               (length > 0 && received.size() == length ? "1" : "0") + "\r\n";
    }
};

}  // namespace

TEST_CASE("blob_transfer: a refusal ends it at once, silence after the tries") {
    const TempFile file;
    file.write("bytes");
    HttpClient client;
    for (const char* status : {"401 Unauthorized", "404 Not Found", "413 Content Too Large",
                               "507 Insufficient Storage", "500 Internal Server Error"}) {
        CAPTURE(status);
        ScriptedServer server(
            [&](const std::string&) { return ServerAction{http_answer(status, "{}")}; });
        const auto sent = send_in_parts(client, {"POST", server.url(), {}, ""}, file.path, quick());
        REQUIRE(sent);
        CHECK(sent->status == std::stoul(status));
        const auto got = fetch_in_parts(client, {"GET", server.url(), {}, ""}, file.path, quick());
        REQUIRE(got);
        CHECK(got->status == std::stoul(status));
        CHECK(server.requests().size() == 2);
    }
    ScriptedServer closing([](const std::string&) { return ServerAction{"", Then::kClose}; });
    CHECK(
        send_in_parts(client, {"POST", closing.url(), {}, ""}, file.path, quick()).error().code() ==
        ErrorCode::unavailable);
    CHECK(closing.requests().size() == 3);
    CHECK(
        fetch_in_parts(client, {"GET", closing.url(), {}, ""}, file.path, quick()).error().code() ==
        ErrorCode::unavailable);
    CHECK(file.read() == "bytes");
    const auto nowhere =
        send_in_parts(client, {"POST", closing.url(), {}, ""}, "/nonexistent/file", quick());
    CHECK(nowhere.error().code() == ErrorCode::data_missing);
}

TEST_CASE("blob_transfer: a download goes on after every cut until it is whole") {
    const std::string body = contents(10'000);
    const TempFile file;
    HttpClient client;
    ScriptedServer server([&](const std::string& request) { return serve(body, request, 900); });
    TransferOptions options = quick();
    std::uint64_t told = 0;
    options.on_progress = [&](std::uint64_t done, std::uint64_t total) {
        CHECK(total == body.size());
        CHECK(done > told);
        told = done;
    };
    const auto response = fetch_in_parts(client, {"GET", server.url(), {}, ""}, file.path, options);
    REQUIRE(response);
    CHECK(response->status == 206);
    CHECK(file.read() == body);
    CHECK(told == body.size());
    CHECK(server.requests().size() == 12);

    // Once more: the server says that nothing is left.
    CHECK(fetch_in_parts(client, {"GET", server.url(), {}, ""}, file.path, options)->status == 416);
    // A file that is longer than the body is none of it.
    file.write(body + "and more");
    told = 0;
    CHECK(fetch_in_parts(client, {"GET", server.url(), {}, ""}, file.path, options));
    CHECK(file.read() == body);
}

TEST_CASE("blob_transfer: an upload in parts goes on after cuts, restarts and lost answers") {
    const std::string body = contents(5'500);
    const TempFile file;
    file.write(body);
    HttpClient client;
    UploadResource resource;
    resource.broken = [&](int number, const std::string& request) -> std::optional<ServerAction> {
        if (number == 0) return ServerAction{http_answer("503 Service Unavailable", "{}")};
        if (number == 3) {  // half of a part arrives, its answer never does
            resource.received += request.substr(request.find("\r\n\r\n") + 4, 500);
            return ServerAction{"", Then::kReset};
        }
        if (number == 6) {  // all of it arrives, and the answer is lost
            resource.received += request.substr(request.find("\r\n\r\n") + 4);
            return ServerAction{"", Then::kClose};
        }
        if (number == 8) return ServerAction{http_answer("409 Conflict", "{}")};
        return std::nullopt;
    };
    ScriptedServer server([&](const std::string& request) { return resource(request); });
    const auto response =
        send_in_parts(client, {"POST", server.url("/upload"), {}, ""}, file.path, quick());
    REQUIRE(response);
    CHECK(response->header("upload-complete") == "?1");
    CHECK(resource.received == body);
}

TEST_CASE("blob_transfer: bytes that were all there are finished by an empty part") {
    const TempFile file;
    file.write("abc");
    HttpClient client;
    int parts = 0;
    ScriptedServer server([&](const std::string& request) {
        const bool part = request.starts_with("PATCH");
        parts += part ? 1 : 0;
        return ServerAction{http_answer(
            "200 OK", "",
            std::string("Upload-Offset: 3\r\nUpload-Complete: ?") + (part ? "1" : "0") + "\r\n")};
    });
    REQUIRE(send_in_parts(client, {"POST", server.url(), {}, ""}, file.path, quick()));
    CHECK(parts == 1);
}

TEST_CASE("blob_transfer: a server that takes everything and gets nowhere is given up") {
    const TempFile file;
    file.write(contents(3'000));
    HttpClient client;
    std::string offset = "0";
    ScriptedServer server([&](const std::string&) {
        return ServerAction{http_answer("200 OK", "", "Upload-Offset: " + offset + "\r\n")};
    });
    const auto send = [&] {
        return send_in_parts(client, {"POST", server.url(), {}, ""}, file.path, quick())
            .error()
            .code();
    };
    CHECK(send() == ErrorCode::unavailable);
    CHECK(server.requests().size() < 10);
    offset = "3001";
    CHECK(send() == ErrorCode::invalid_encoding);
    offset = "x";
    CHECK_FALSE(send_in_parts(client, {"POST", server.url(), {}, ""}, file.path, quick()));
}
