// SPDX-License-Identifier: Apache-2.0
#include "marketplace/storage/catalog_store.hpp"

#include "tests/support/temp_database.hpp"

#include <doctest/doctest.h>

namespace marketplace::storage {
namespace {

using domain::Address;
using domain::Hash32;
using ledger::base::ErrorCode;

Address account(std::uint8_t n) {
    Address out;
    out.data()[19] = n;
    return out;
}
Hash32 hash(std::uint8_t n) {
    Hash32 out;
    out.data()[31] = n;
    return out;
}
ApiKey api_key(const char* id, std::uint8_t secret, std::uint8_t owner) {
    ApiKey out;
    out.id = id;
    out.key_hash = hash(secret);
    out.owner = account(owner);
    out.label = "laptop";
    out.created_ms = 5;
    return out;
}

}  // namespace

TEST_CASE("catalog_store: a model's name belongs to its first owner") {
    const tests::TempFolder folder;
    auto database = Database::open(folder.file("market.db"));
    REQUIRE(database);
    CatalogStore catalog(**database);
    CHECK_FALSE(catalog.model("moby")->has_value());
    REQUIRE(catalog.put_model({"moby", account(1), "{}", 5}));
    CHECK(catalog.put_model({"moby", account(2), "{}", 6}).error().code() ==
          ErrorCode::exists_with_different_body);
    REQUIRE(catalog.put_model({"moby", account(1), "{1}", 7}));
    CHECK((*catalog.model("moby"))->spec == "{1}");
    REQUIRE(catalog.put_model({"ahab", account(2), "{}", 8, true}));
    CHECK((*catalog.model("ahab"))->is_public);
    CHECK_FALSE((*catalog.model("moby"))->is_public);
    CHECK(catalog.models()->size() == 2);
}

TEST_CASE("catalog_store: job specs are kept by hash, byte for byte") {
    const tests::TempFolder folder;
    auto database = Database::open(folder.file("market.db"));
    REQUIRE(database);
    CatalogStore catalog(**database);
    CHECK_FALSE(catalog.job_spec(hash(1))->has_value());
    const std::string spec("{\"a\":\"'; DROP TABLE models\"}");
    REQUIRE(catalog.put_job_spec(hash(1), spec));
    REQUIRE(catalog.put_job_spec(hash(1), spec));
    CHECK(**catalog.job_spec(hash(1)) == spec);
}

TEST_CASE("catalog_store: a lease has one wrapped key, the last that was given") {
    const tests::TempFolder folder;
    auto database = Database::open(folder.file("market.db"));
    REQUIRE(database);
    CatalogStore catalog(**database);
    CHECK_FALSE(catalog.job_key(hash(1))->has_value());
    CHECK_FALSE(catalog.put_job_key(hash(1), ledger::base::Bytes(257, 1)).has_value());
    REQUIRE(catalog.put_job_key(hash(1), ledger::base::Bytes(113, 1)));
    REQUIRE(catalog.put_job_key(hash(1), ledger::base::Bytes(113, 2)));
    REQUIRE(catalog.put_job_key(hash(2), ledger::base::Bytes(113, 3)));
    CHECK(**catalog.job_key(hash(1)) == ledger::base::Bytes(113, 2));
    CHECK(**catalog.job_key(hash(2)) == ledger::base::Bytes(113, 3));
}

TEST_CASE("catalog_store: only the owner revokes a key") {
    const tests::TempFolder folder;
    auto database = Database::open(folder.file("market.db"));
    REQUIRE(database);
    CatalogStore catalog(**database);
    REQUIRE(catalog.put_api_key(api_key("key_1", 1, 1)));
    CHECK_FALSE(catalog.put_api_key(api_key("key_2", 1, 2)));
    CHECK_FALSE(catalog.revoke_api_key("key_1", account(2)));
    CHECK_FALSE(catalog.revoke_api_key("key_9", account(1)));
    CHECK_FALSE((*catalog.api_key(hash(1)))->revoked);
    REQUIRE(catalog.revoke_api_key("key_1", account(1)));
    CHECK((*catalog.api_key(hash(1)))->revoked);
    CHECK(catalog.api_keys(account(1))->size() == 1);
    CHECK(catalog.api_keys(account(2))->empty());
}

TEST_CASE("catalog_store: a key's terms and what was paid with it are kept") {
    const tests::TempFolder folder;
    auto database = Database::open(folder.file("market.db"));
    REQUIRE(database);
    CatalogStore catalog(**database);
    CHECK(catalog.spend_api_key("key_1", 5).error().code() == ErrorCode::not_found);
    ApiKey bound = api_key("key_1", 1, 1);
    bound.scopes = 5;
    bound.spend_cap_atoms = 1000;
    bound.expires_ms = 99;
    bound.delegation_nonce = 0;
    bound.requests_per_minute = 60;
    REQUIRE(catalog.put_api_key(bound));
    REQUIRE(catalog.put_api_key(api_key("key_2", 2, 1)));
    REQUIRE(catalog.spend_api_key("key_1", 7));
    REQUIRE(catalog.spend_api_key("key_1", 5));
    const auto read = **catalog.api_key(hash(1));
    CHECK(read.scopes == 5);
    CHECK(read.spend_cap_atoms == 1000);
    CHECK(read.spent_atoms == 12);
    CHECK(read.expires_ms == 99);
    CHECK(read.delegation_nonce == 0);
    CHECK(read.requests_per_minute == 60);
    const auto other = **catalog.api_key(hash(2));
    CHECK_FALSE(other.spend_cap_atoms);
    CHECK_FALSE(other.delegation_nonce);
    CHECK(other.spent_atoms == 0);
    CHECK(other.requests_per_minute == 0);
}

TEST_CASE("catalog_store: files are their owner's alone") {
    const tests::TempFolder folder;
    auto database = Database::open(folder.file("market.db"));
    REQUIRE(database);
    CatalogStore catalog(**database);
    REQUIRE(catalog.put_file({"file-1", account(1), "a.jsonl", "fine-tune", hash(1), 7, 5}));
    REQUIRE(catalog.put_file({"file-2", account(1), "b.jsonl", "fine-tune", hash(1), 7, 4}));
    CHECK_FALSE(catalog.put_file({"file-1", account(2), "c", "fine-tune", hash(2), 1, 6}));
    CHECK_FALSE(catalog.file("file-1", account(2))->has_value());
    CHECK((*catalog.file("file-1", account(1)))->filename == "a.jsonl");
    CHECK((*catalog.file("file-1", account(1)))->blob == hash(1));
    const auto files = catalog.files(account(1));
    REQUIRE(files->size() == 2);
    CHECK((*files)[0].id == "file-2");
    CHECK_FALSE(catalog.delete_file("file-1", account(2)));
    REQUIRE(catalog.delete_file("file-1", account(1)));
    CHECK_FALSE(catalog.delete_file("file-1", account(1)));
    CHECK(catalog.files(account(1))->size() == 1);
    CHECK(*catalog.file_blobs() == std::vector{hash(1)});
}

TEST_CASE("catalog_store: settings are replaced") {
    const tests::TempFolder folder;
    auto database = Database::open(folder.file("market.db"));
    REQUIRE(database);
    CatalogStore catalog(**database);
    CHECK_FALSE(catalog.setting("cursor")->has_value());
    REQUIRE(catalog.put_setting("cursor", ledger::base::Bytes{1, 2}));
    REQUIRE(catalog.put_setting("cursor", ledger::base::Bytes{}));
    CHECK((*catalog.setting("cursor"))->empty());
}

}  // namespace marketplace::storage
