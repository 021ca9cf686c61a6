// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/marketplace/api/api_fixture.hpp"

#include <fstream>

using namespace api_test;

namespace {
std::string hash_of(const std::string& bytes) {
    return to_hex(ledger::base::sha256(ledger::base::as_bytes(bytes)));
}
std::size_t files_in(const std::filesystem::path& folder) {
    std::size_t count = 0;
    for (const auto& item : std::filesystem::recursive_directory_iterator(folder))
        count += item.is_regular_file() ? 1U : 0U;
    return count;
}
}  // namespace

TEST_CASE("blobs: strangers, wrong names, other bytes and too much are refused, nothing stays") {
    Fixture f({}, 100'000);
    const auto key = PrivateKey::generate();
    const std::string header = f.bearer(key);
    const auto put = [&](const std::string& target, const std::string& bytes,
                         const std::string& headers) {
        auto client = f.client();
        return client.request("PUT", target, bytes, headers);
    };
    CHECK(put("/v1/blobs/" + hash_of("x"), "x", "").status == 401);
    CHECK(put("/v1/blobs/0x1234", "x", header).status == 400);
    const auto other = put("/v1/blobs/" + hash_of("x"), "y", header);
    CHECK(other.status == 422);
    CHECK(code_of(json::parse(other.body)) == "data_invalid");
    const std::string big(100'001, 'b');
    const auto full = put("/v1/blobs/" + hash_of(big), big, header);
    CHECK(full.status == 507);
    CHECK(code_of(json::parse(full.body)) == "disk_full");
    CHECK(files_in(f.folder) == 0);
    CHECK(f.blobs->used_bytes() == 0);
    auto client = f.client();
    client.send("PUT /v1/blobs/" + hash_of("cut") + " HTTP/1.1\r\nHost: a\r\n" + header +
                "Content-Length: 3\r\n\r\ncu");
    client.close();
    CHECK(put("/v1/blobs/" + hash_of("fine"), "fine", header).status == 201);
    CHECK_FALSE(f.blobs->has(ledger::base::sha256(ledger::base::as_bytes("cut"))));
}

TEST_CASE("blobs: stored once, read whole and in parts, kept across a restart") {
    Fixture f;
    const auto key = PrivateKey::generate();
    const std::string header = f.bearer(key);
    const std::string bytes = std::string(70'000, 'a') + "the end";
    const std::string target = "/v1/blobs/" + hash_of(bytes);
    auto client = f.client();
    CHECK(client.request("GET", target, "", header).status == 404);
    CHECK(client.request("PUT", target, bytes, header).status == 201);
    CHECK(client.request("PUT", target, bytes, header).status == 200);
    CHECK(client.request("PUT", target, "lie", header).status == 422);
    CHECK(f.blobs->used_bytes() == bytes.size());
    CHECK(client.request("GET", target).status == 401);
    CHECK(client.request("GET", target, "", header).body == bytes);
    CHECK(client.request("HEAD", target, "", header).header("content-length") == "70007");
    const auto part = client.request("GET", target, "", header + "Range: bytes=70000-\r\n");
    CHECK(part.status == 206);
    CHECK(part.body == "the end");
    const std::string etag = client.request("HEAD", target, "", header).header("etag");
    CHECK(client.request("GET", target, "", header + "If-None-Match: " + etag + "\r\n").status ==
          304);
    const auto reopened = api::BlobStore::open(f.folder, 1'000'000);
    REQUIRE(reopened);
    CHECK((*reopened)->used_bytes() == bytes.size());
    CHECK((*reopened)->has(ledger::base::sha256(ledger::base::as_bytes(bytes))));
}

TEST_CASE("blobs: ranges, one at a time, and only of the blob the client has a part of") {
    Fixture f;
    const std::string header = f.bearer(PrivateKey::generate());
    const std::string bytes = "0123456789";
    const std::string target = "/v1/blobs/" + hash_of(bytes);
    auto client = f.client();
    REQUIRE(client.request("PUT", target, bytes, header).status == 201);
    const std::string etag = client.request("HEAD", target, "", header).header("etag");
    CHECK(etag == "\"" + hash_of(bytes) + "\"");
    const auto get = [&](const std::string& headers, const char* method = "GET") {
        return client.request(method, target, "", header + headers);
    };
    for (const char* beyond : {"bytes=10-", "bytes=99-100", "bytes=-0"}) {
        CAPTURE(beyond);
        const auto answer = get("Range: " + std::string(beyond) + "\r\n");
        CHECK(answer.status == 416);
        CHECK(answer.header("content-range") == "bytes */10");
    }
    for (const char* other : {"items=1-2", "bytes=1-2,4-5", "bytes=x-2", "bytes=5-4", "bytes=-"}) {
        CAPTURE(other);
        const auto answer = get("Range: " + std::string(other) + "\r\n");
        CHECK(answer.status == 200);
        CHECK(answer.body == bytes);
    }
    const auto part = get("Range: bytes=2-4\r\nIf-Range: " + etag + "\r\n");
    CHECK(part.status == 206);
    CHECK(part.body == "234");
    CHECK(part.header("content-range") == "bytes 2-4/10");
    CHECK(get("Range: bytes=-3\r\n").body == "789");
    CHECK(get("Range: bytes=2-4\r\nIf-Range: \"other\"\r\n").body == bytes);
    CHECK(get("Range: bytes=2-4\r\nIf-Range: W/" + etag + "\r\n").status == 200);
    const auto head = get("Range: bytes=2-4\r\n", "HEAD");
    CHECK(head.header("content-length") == "3");
}

namespace {
/// One account's upload in parts.
struct PartUpload {
    PartUpload(Fixture& fixture, const std::string& headers, const std::string& bytes)
        : f(fixture),
          header(headers),
          target("/v1/blobs/" + hash_of(bytes)),
          path(target + "/upload") {}

    HttpAnswer create(std::uint64_t length) {
        return f.client().request("POST", path, "",
                                  header + "Upload-Length: " + std::to_string(length) + "\r\n");
    }
    HttpAnswer patch(std::uint64_t offset, const std::string& bytes) {
        const std::string framing = bytes.empty() ? "Content-Length: 0\r\n" : "";
        return f.client().request(
            "PATCH", path, bytes,
            header + framing + "Upload-Offset: " + std::to_string(offset) + "\r\n");
    }
    HttpAnswer state() { return f.client().request("GET", path, "", header); }
    /// Announces `bytes`, sends a part of them and goes.
    void cut(std::uint64_t offset, const std::string& bytes, std::size_t sent) {
        auto client = f.client();
        client.send("PATCH " + path + " HTTP/1.1\r\nHost: localhost\r\n" + header +
                    "Upload-Offset: " + std::to_string(offset) + "\r\nContent-Length: " +
                    std::to_string(bytes.size()) + "\r\n\r\n" + bytes.substr(0, sent));
        client.close();
    }
    /// Asks until the market noticed the cut.
    std::uint64_t offset_at_least(std::uint64_t bytes) {
        for (int i = 0; i < 1000; ++i) {
            const std::string text = state().header("upload-offset");
            if (!text.empty() && std::stoull(text) >= bytes) return std::stoull(text);
            std::this_thread::sleep_for(std::chrono::milliseconds(5));
        }
        return 0;
    }

    Fixture& f;
    const std::string header;
    const std::string target;
    const std::string path;
};
}  // namespace

TEST_CASE("blobs: uploads in parts are refused by name, length, offset and contents") {
    Fixture f({}, 100'000);
    const std::string header = f.bearer(PrivateKey::generate());
    const std::string bytes(3'000, 'p');
    PartUpload upload(f, header, bytes);
    CHECK(PartUpload(f, "", bytes).create(5).status == 401);
    CHECK(f.client()
              .request("POST", "/v1/blobs/0x12/upload", "", header + "Upload-Length: 5\r\n")
              .status == 400);
    CHECK(f.client().request("POST", upload.path, "", header).status == 400);
    CHECK(f.client().request("POST", upload.path, "", header + "Upload-Length: -1\r\n").status ==
          400);
    CHECK(upload.create(0).status == 422);
    CHECK(upload.create(api::kBlobBytesMax + 1).status == 422);
    const auto full = upload.create(100'001);
    CHECK(full.status == 507);
    CHECK(code_of(json::parse(full.body)) == "disk_full");
    CHECK(upload.state().status == 404);
    CHECK(upload.patch(0, bytes).status == 404);
    REQUIRE(upload.create(3'000).status == 201);
    CHECK(f.blobs->used_bytes() == 3'000);
    const auto other_length = upload.create(2'999);
    CHECK(other_length.status == 409);
    CHECK(code_of(json::parse(other_length.body)) == "exists_with_different_body");
    CHECK(code_of(json::parse(upload.patch(1, "x").body)) == "wrong_state");
    CHECK(upload.patch(0, std::string(3'001, 'p')).status == 422);
    CHECK(upload.patch(0, std::string(3'000, 'q')).status == 422);
    CHECK(upload.state().status == 404);  // other bytes: nothing stays
    CHECK(f.blobs->used_bytes() == 0);
    CHECK(files_in(f.folder) == 0);
    REQUIRE(upload.create(3'000).status == 201);
    CHECK(f.client().request("DELETE", upload.path, "", header).status == 204);
    CHECK(f.client().request("DELETE", upload.path, "", header).status == 404);
    CHECK(f.blobs->used_bytes() == 0);
}

TEST_CASE("blobs: an upload in parts goes on after a cut and after a restart of the market") {
    Fixture f;
    const auto key = PrivateKey::generate();
    const std::string header = f.bearer(key);
    std::string bytes;
    for (int i = 0; i < 40'000; ++i)
        bytes.push_back(static_cast<char>('a' + i * i % 26));
    PartUpload upload(f, header, bytes);
    REQUIRE(upload.create(bytes.size()).status == 201);
    CHECK(upload.patch(0, bytes.substr(0, 10'000)).header("upload-offset") == "10000");
    CHECK(upload.create(bytes.size()).header("upload-offset") == "10000");
    upload.cut(10'000, bytes.substr(10'000, 20'000), 5'000);
    const std::uint64_t kept = upload.offset_at_least(10'001);
    REQUIRE(kept > 10'000);
    CHECK(kept <= 15'000);
    CHECK_FALSE(f.blobs->has(ledger::base::sha256(ledger::base::as_bytes(bytes))));
    // Another account's upload of the same blob is its own.
    CHECK(PartUpload(f, f.bearer(PrivateKey::generate()), bytes).state().status == 404);

    SUBCASE("the same process") {
        const auto done = upload.patch(kept, bytes.substr(kept));
        CHECK(done.status == 201);
        CHECK(done.header("upload-complete") == "?1");
        CHECK(f.client().request("GET", upload.target, "", header).body == bytes);
        CHECK(f.blobs->used_bytes() == bytes.size());
        CHECK(f.blobs->account_bytes(key.address()) == bytes.size());
        CHECK(upload.state().status == 404);
        const auto again = upload.create(bytes.size());
        CHECK(again.status == 200);
        CHECK(again.header("upload-complete") == "?1");
    }
    SUBCASE("the next process") {
        f.server.reset();
        const auto store = api::BlobStore::open(f.folder, 1'000'000, f.clock);
        REQUIRE(store);
        {
            const auto uploads = api::BlobUploads::open(**store);
            REQUIRE(uploads);
            const auto hash = ledger::base::sha256(ledger::base::as_bytes(bytes));
            const auto state = (*uploads)->find(key.address(), hash);
            REQUIRE(state);
            CHECK(state->offset == kept);
            CHECK(state->length == bytes.size());
            CHECK((*store)->account_bytes(key.address()) == bytes.size());
            auto piece = (*uploads)->append(key.address(), hash, kept, bytes.size() - kept);
            REQUIRE(piece);
            CHECK((*uploads)->append(key.address(), hash, kept, 1).error().code() ==
                  ErrorCode::wrong_state);
            REQUIRE((*piece)->write(std::string_view(bytes).substr(kept)));
            bool complete = false;
            (*uploads)->commit(*piece,
                               [&](const auto& done) { complete = done && done->complete; });
            (*store)->stop();
            CHECK(complete);
            CHECK((*store)->has(hash));
        }
    }
}

TEST_CASE("blobs: bytes that were all here when the market fell are finished by an empty part") {
    Fixture f;
    const auto key = PrivateKey::generate();
    const std::string bytes = "all of it";
    const auto hash = ledger::base::sha256(ledger::base::as_bytes(bytes));
    const std::string name = to_hex(key.address()).substr(2) + "_" + to_hex(hash).substr(2) + "_9";
    f.server.reset();
    std::ofstream(f.folder / "parts" / name) << bytes;
    std::ofstream(f.folder / "parts" / "stranger") << "x";
    const auto store = api::BlobStore::open(f.folder, 1'000'000, f.clock);
    REQUIRE(store);
    const auto uploads = api::BlobUploads::open(**store);
    REQUIRE(uploads);
    CHECK_FALSE(std::filesystem::exists(f.folder / "parts" / "stranger"));
    CHECK((*store)->used_bytes() == bytes.size());
    const auto piece = (*uploads)->append(key.address(), hash, bytes.size(), 0);
    REQUIRE(piece);
    bool complete = false;
    (*uploads)->commit(*piece, [&](const auto& done) { complete = done && done->complete; });
    (*store)->stop();
    CHECK(complete);
    CHECK((*store)->has(hash));
    CHECK((*store)->used_bytes() == bytes.size());
}

TEST_CASE("blobs: an account's share and an upload that nobody goes on with") {
    api::BlobLimits limits(1'000'000);
    limits.account_bytes = 5'000;
    Fixture f({}, limits);
    const auto key = PrivateKey::generate();
    const std::string header = f.bearer(key);
    const std::string first(3'000, '1');
    const std::string second(3'000, '2');
    REQUIRE(f.client().request("PUT", "/v1/blobs/" + hash_of(first), first, header).status == 201);
    CHECK(f.blobs->account_bytes(key.address()) == 3'000);
    const auto over = f.client().request("PUT", "/v1/blobs/" + hash_of(second), second, header);
    CHECK(over.status == 413);
    CHECK(code_of(json::parse(over.body)) == "too_large");
    CHECK(PartUpload(f, header, second).create(3'000).status == 413);
    // Another account has its own share, and pays for nothing that is here.
    const auto other = PrivateKey::generate();
    const std::string other_header = f.bearer(other);
    CHECK(f.client().request("PUT", "/v1/blobs/" + hash_of(first), first, other_header).status ==
          200);
    CHECK(f.blobs->account_bytes(other.address()) == 0);
    REQUIRE(PartUpload(f, other_header, second).create(3'000).status == 201);
    CHECK(f.uploads->expire() == 0);
    f.clock.time_ms += limits.upload_ms;
    CHECK(f.uploads->expire() == 1);
    CHECK(f.blobs->account_bytes(other.address()) == 0);
    CHECK(f.blobs->used_bytes() == 3'000);
    const auto reopened = api::BlobStore::open(f.folder, limits, f.clock);
    REQUIRE(reopened);
    CHECK((*reopened)->account_bytes(key.address()) == 3'000);
}

TEST_CASE("blobs: what is unused is dropped, what was asked for or stored again is not") {
    api::BlobLimits limits(1'000'000);
    Fixture f({}, limits);
    const auto key = PrivateKey::generate();
    const std::string header = f.bearer(key);
    std::vector<domain::Hash32> hashes;
    const std::vector<std::string> all{"old", "asked for", "stored again"};
    for (const std::string& bytes : all) {
        REQUIRE(f.client().request("PUT", "/v1/blobs/" + hash_of(bytes), bytes, header).status ==
                201);
        hashes.push_back(ledger::base::sha256(ledger::base::as_bytes(bytes)));
    }
    CHECK(f.blobs->unused().empty());
    CHECK(f.blobs->drop(hashes[0]) == 0);
    f.clock.time_ms += limits.keep_ms;
    CHECK(f.blobs->unused().size() == 3);
    const std::string later = f.bearer(key);  // sessions do not last that long
    CHECK(f.client().request("HEAD", "/v1/blobs/" + hash_of(all[1]), "", later).status == 200);
    CHECK(f.client().request("PUT", "/v1/blobs/" + hash_of(all[2]), all[2], later).status == 200);
    CHECK(f.blobs->unused() == std::vector<domain::Hash32>{hashes[0]});
    CHECK(f.blobs->drop(hashes[1]) == 0);
    CHECK(f.blobs->drop(hashes[0]) == 3);
    CHECK(f.blobs->drop(hashes[0]) == 0);
    CHECK_FALSE(f.blobs->has(hashes[0]));
    CHECK(f.blobs->freed().blobs == 1);
    CHECK(f.blobs->freed().bytes == 3);
    CHECK(f.blobs->account_bytes(key.address()) == all[1].size() + all[2].size());
    // What was acknowledged again outlives a restart; what was only read does not.
    const auto reopened = api::BlobStore::open(f.folder, limits, f.clock);
    REQUIRE(reopened);
    CHECK((*reopened)->unused() == std::vector<domain::Hash32>{hashes[1]});
    CHECK((*reopened)->account_bytes(key.address()) == all[1].size() + all[2].size());
}
