// SPDX-License-Identifier: Apache-2.0
#include "ledger/crypto/key_store.hpp"

#include "ledger/base/hex.hpp"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <iterator>

using namespace ledger::base;
using namespace ledger::crypto;

namespace {
// The scrypt vector of the Web3 Secret Storage definition.
const std::string kVector = R"({"crypto":{"cipher":"aes-128-ctr",
"cipherparams":{"iv":"83dbcc02d8ccb40e466191a123791e0e"},
"ciphertext":"d172bf743a674da9cdad04534d56926ef8358534d458fffccd4e6ad2fbde479c","kdf":"scrypt",
"kdfparams":{"dklen":32,"n":262144,"p":8,"r":1,
"salt":"ab0c7876052600dd703518d6fc3fe8984592145b591fc8fb5c6d43190334ba19"},
"mac":"2103ac29920d71da29f15d75b4a16dbe95cfd7ff8faea1056c33131d846e3097"},
"id":"3198bc9c-6672-5ab3-d995-4942343ae5b6","version":3})";

std::string replaced(std::string text, const std::string& from, const std::string& to) {
    return text.replace(text.find(from), from.size(), to);
}
}  // namespace

TEST_CASE("key_store: a hostile or broken document is refused before any cost") {
    CHECK(!decrypt_key("", "x"));
    CHECK(!decrypt_key("[]", "x"));
    CHECK(!decrypt_key(std::string(8000, '['), "x"));
    CHECK(decrypt_key(std::string(20'000, ' '), "x").error().code() == ErrorCode::too_large);
    CHECK(!decrypt_key(replaced(kVector, "\"version\":3", "\"version\":4"), "testpassword"));
    for (const char* n : {"1073741824", "0", "3", "1", "-5", "1.5", "\"2\""})
        CHECK_MESSAGE(!decrypt_key(replaced(kVector, "262144", n), "testpassword"), n);
    CHECK(!decrypt_key(replaced(kVector, "\"r\":1", "\"r\":1048576"), "testpassword"));
    CHECK(!decrypt_key(replaced(kVector, "\"p\":8", "\"p\":0"), "testpassword"));
    CHECK(!decrypt_key(replaced(kVector, "\"dklen\":32", "\"dklen\":31"), "testpassword"));
}

TEST_CASE("key_store: opens the official vector; another password or address does not") {
    const auto key = decrypt_key(kVector, "testpassword");
    REQUIRE(key);
    CHECK(to_hex(key->secret()) ==
          "0x7a28b5ba57c53603b0b07b56bba752f7784bf506fa95edc395f5cf6c7514fe9d");
    const std::string moved = replaced(
        kVector, "\"version\":3", "\"version\":3,\"address\":\"" + std::string(40, '1') + "\"");
    CHECK(decrypt_key(moved, "testpassword").error().code() == ErrorCode::invalid_encoding);
}

TEST_CASE("key_store: file round trip, no overwrite, owner-only mode") {
    const auto directory = std::filesystem::temp_directory_path() /
                           ("millrace-keys-" + to_hex(random_bytes(8)).substr(2));
    std::filesystem::create_directories(directory);
    const auto path = directory / "key.json";
    const auto key = PrivateKey::generate();
    REQUIRE(write_key_file(path, key, "pässword", KeyStoreCost::kLight));
    CHECK(read_key_file(path, "pässword")->address() == key.address());
    CHECK(read_key_file(path, "password").error().code() == ErrorCode::forbidden);
    CHECK(!write_key_file(path, key, "x", KeyStoreCost::kLight));
    CHECK((std::filesystem::status(path).permissions() & std::filesystem::perms(077)) ==
          std::filesystem::perms::none);
    CHECK(read_key_file(directory / "none.json", "x").error().code() == ErrorCode::not_found);
    std::filesystem::remove_all(directory);
}

TEST_CASE("key_store: a password is changed whole, and a wrong one changes nothing") {
    const auto directory = std::filesystem::temp_directory_path() /
                           ("millrace-keys-" + to_hex(random_bytes(8)).substr(2));
    std::filesystem::create_directories(directory);
    const auto path = directory / "key.json";
    const auto bytes = [&] {
        std::ifstream file(path, std::ios::binary);
        return std::string(std::istreambuf_iterator<char>(file), {});
    };
    const auto key = PrivateKey::generate();
    REQUIRE(write_key_file(path, key, "old", KeyStoreCost::kLight));
    std::filesystem::permissions(path, std::filesystem::perms(0400));
    const std::string before = bytes();
    CHECK(change_password(path, "wrong", "new").error().code() == ErrorCode::forbidden);
    CHECK(bytes() == before);
    CHECK(change_password(directory / "none.json", "old", "new").error().code() ==
          ErrorCode::not_found);

    // What a crash left behind is overwritten.
    std::ofstream(path.string() + ".tmp") << "half";
    REQUIRE(change_password(path, "old", "new"));
    CHECK(read_key_file(path, "new")->address() == key.address());
    CHECK(read_key_file(path, "old").error().code() == ErrorCode::forbidden);
    CHECK(bytes().find("\"n\": 4096") != std::string::npos);
    CHECK(std::filesystem::status(path).permissions() == std::filesystem::perms(0400));
    CHECK(!std::filesystem::exists(path.string() + ".tmp"));

    // Where nothing can be written beside it, the old file stays.
    std::filesystem::create_directory(path.string() + ".tmp");
    const std::string now = bytes();
    CHECK(change_password(path, "new", "newer").error().code() == ErrorCode::io_error);
    CHECK(bytes() == now);
    std::filesystem::remove_all(directory);
}
