// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/marketplace/api/api_fixture.hpp"

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
    CHECK(full.status == 503);
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
