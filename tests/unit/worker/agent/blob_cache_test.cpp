// SPDX-License-Identifier: Apache-2.0
#include "worker/agent/blob_cache.hpp"

#include "ledger/base/hex.hpp"
#include "ledger/base/sha256.hpp"
#include "tests/support/scripted_server.hpp"
#include "tests/support/temp_database.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <unordered_set>
#include <utility>

namespace {

using ledger::base::ErrorCode;
using ledger::base::Hash32;
using ledger::base::to_hex;
using tests::support::http_answer;
using tests::support::ScriptedServer;
using tests::support::ServerAction;
using worker::agent::CachedBlobs;
using worker::agent::LogLevel;
using worker::agent::MarketHttp;
using Then = tests::support::ServerAction::Then;

/// A market of blobs that forgets the session once and cuts the first download.
struct Market {
    std::map<std::string, std::string> blobs;  // by hex name
    bool cut = false;
    bool forget = false;
    int downloads = 0;

    ServerAction operator()(const std::string& request) {
        if (request.find(" /v1/auth/nonce") != request.npos)
            return {http_answer("200 OK", R"({"nonce":"abcdefgh1234","chain_id":31337})")};
        if (request.find(" /v1/auth/siwe") != request.npos)
            return {http_answer("200 OK", R"({"token":"mrs_test"})")};
        if (forget) {
            forget = false;
            return {http_answer("401 Unauthorized", "{}"), Then::kClose};  // the server has one ear
        }
        if (request.starts_with("PUT")) return {http_answer("201 Created", "{}")};
        ++downloads;
        const auto found = blobs.find(request.substr(14, 66));
        if (found == blobs.end()) return {http_answer("404 Not Found", "{}")};
        const std::string& body = found->second;
        const auto range = request.find("Range: bytes=");
        const std::size_t from =
            range == request.npos ? 0 : std::stoull(request.substr(range + 13));
        const std::string rest = body.substr(from);
        std::string head = from == 0
                               ? "HTTP/1.1 200 OK\r\n"
                               : "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes " +
                                     std::to_string(from) + "-" + std::to_string(body.size() - 1) +
                                     "/" + std::to_string(body.size()) + "\r\n";
        head += "Content-Length: " + std::to_string(rest.size()) + "\r\n\r\n";
        if (!std::exchange(cut, false)) return {head + rest};
        return {head + rest.substr(0, rest.size() / 2), Then::kClose};
    }
};

struct Setup {
    explicit Setup(std::uint64_t bytes_max)
        : cache(
              http, folder.file("blobs"), bytes_max, [this] { return in_use; },
              [](LogLevel, std::string_view) {}) {}

    Hash32 publish(const std::string& bytes) {
        const auto hash = ledger::base::sha256(ledger::base::as_bytes(bytes));
        std::ofstream(folder.file("made"), std::ios::binary) << bytes;
        REQUIRE(cache.publish(folder.file("made"), hash));
        return hash;
    }
    [[nodiscard]] std::filesystem::path path(const Hash32& hash) const {
        return folder.file("blobs") / to_hex(hash).substr(2);
    }
    /// The cache goes by the files' times: this one was used so long ago.
    void age(const Hash32& hash, std::chrono::minutes ago) const {
        std::filesystem::last_write_time(path(hash),
                                         std::filesystem::file_time_type::clock::now() - ago);
    }
    [[nodiscard]] bool kept(const Hash32& hash) const {
        return std::filesystem::exists(path(hash));
    }

    tests::TempFolder folder;
    Market market;
    ScriptedServer server{[this](const std::string& request) { return market(request); }};
    ledger::crypto::PrivateKey key = ledger::crypto::PrivateKey::generate();
    MarketHttp http{server.url(""), key};
    std::unordered_set<Hash32> in_use;
    CachedBlobs cache;
};

}  // namespace

TEST_CASE("blob_cache: a missing blob and one with other contents are refused, nothing stays") {
    Setup setup(1'000);
    const auto hash = ledger::base::sha256(ledger::base::as_bytes("right"));
    CHECK(setup.cache.fetch(hash).error().code() == ErrorCode::data_missing);
    setup.market.blobs[to_hex(hash)] = "wrong";
    CHECK(setup.cache.fetch(hash).error().code() == ErrorCode::data_invalid);
    CHECK_FALSE(setup.kept(hash));
    setup.market.blobs[to_hex(hash)] = "right";
    CHECK(setup.cache.fetch(hash));
}

TEST_CASE(
    "blob_cache: a cut download goes on, a forgotten session is renewed, a second look is free") {
    Setup setup(1'000'000);
    const std::string bytes(50'000, 'b');
    const auto hash = ledger::base::sha256(ledger::base::as_bytes(bytes));
    setup.market.blobs[to_hex(hash)] = bytes;
    setup.market.cut = true;
    setup.market.forget = true;
    const auto path = setup.cache.fetch(hash);
    REQUIRE(path);
    CHECK(std::filesystem::file_size(*path) == bytes.size());
    CHECK(setup.market.downloads == 2);
    CHECK(setup.cache.fetch(hash));
    CHECK(setup.market.downloads == 2);
    std::ofstream(*path, std::ios::binary) << "damaged";
    CHECK(setup.cache.fetch(hash));
    CHECK(setup.market.downloads == 3);
}

TEST_CASE("blob_cache: the least recently used go first, what a lease uses never") {
    Setup setup(250);
    const auto oldest = setup.publish(std::string(100, '1'));
    const auto used = setup.publish(std::string(100, '2'));
    setup.age(oldest, std::chrono::minutes(3));
    setup.age(used, std::chrono::minutes(2));
    setup.in_use.insert(oldest);
    const auto third = setup.publish(std::string(100, '3'));
    CHECK(setup.kept(oldest));
    CHECK_FALSE(setup.kept(used));
    CHECK(setup.kept(third));
    // More in use than the cache may hold: nothing of it goes.
    setup.in_use.insert(third);
    const auto fourth = setup.publish(std::string(100, '4'));
    CHECK(setup.kept(oldest));
    CHECK(setup.kept(third));
    CHECK(setup.kept(fourth));
    // The lease is over.
    setup.in_use.clear();
    setup.age(third, std::chrono::minutes(1));
    const auto fifth = setup.publish(std::string(100, '5'));
    CHECK_FALSE(setup.kept(oldest));
    CHECK_FALSE(setup.kept(third));
    CHECK(setup.kept(fourth));
    CHECK(setup.kept(fifth));
}
