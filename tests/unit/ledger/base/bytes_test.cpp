// SPDX-License-Identifier: Apache-2.0
#include "ledger/base/bytes.hpp"

#include "ledger/base/base64.hpp"
#include "ledger/base/hex.hpp"
#include "ledger/base/ids.hpp"
#include "ledger/base/sha256.hpp"

#include <doctest/doctest.h>

#include <set>

using namespace ledger::base;

TEST_CASE("hex: refuses other lengths, digits and sizes") {
    CHECK(!parse_fixed<Address>("0x00"));
    CHECK(!parse_fixed<Address>("0x" + std::string(39, '0')));
    CHECK(!parse_fixed<Address>("0x" + std::string(39, '0') + "g"));
    CHECK(!parse_hex("0x123", 10));
    CHECK(parse_hex("0x112233", 2).error().code() == ErrorCode::too_large);
}

TEST_CASE("hex: round trip, either case") {
    CHECK(to_hex(*parse_hex("0xAbCd", 2)) == "0xabcd");
    CHECK(parse_hex("", 0)->empty());
}

TEST_CASE("base64: refuses other letters, lengths, padding and hidden bits") {
    for (const char* text : {"Zg", "Zg=", "Zg=a", "====", "=", "Z===", "Zm9v\n", "Zm 9", "Zm9_",
                             "Zh==", "Zm9=", "Zg==Zg=="})
        CHECK_MESSAGE(parse_base64(text).error().code() == ErrorCode::invalid_encoding, text);
}

TEST_CASE("base64: the vectors of RFC 4648, both ways") {
    const char* vectors[][2] = {{"", ""},
                                {"f", "Zg=="},
                                {"fo", "Zm8="},
                                {"foo", "Zm9v"},
                                {"foob", "Zm9vYg=="},
                                {"fooba", "Zm9vYmE="},
                                {"foobar", "Zm9vYmFy"}};
    for (const auto& [plain, encoded] : vectors) {
        CHECK(to_base64(as_bytes(plain)) == encoded);
        CHECK(as_text(*parse_base64(encoded)) == plain);
    }
}

TEST_CASE("ids: carry their kind") {
    const auto id = JobId::parse("job_000102030405060708090a0b0c0d0e0f");
    REQUIRE(id);
    CHECK(id->to_string() == "job_000102030405060708090a0b0c0d0e0f");
    CHECK(!JobId::parse("ord_000102030405060708090a0b0c0d0e0f"));
    CHECK(!JobId::parse("job_0x0102030405060708090a0b0c0d0e0f"));
}

TEST_CASE("sha256: FIPS 180-4 example, in one piece and in parts") {
    const char* expected = "0xba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    CHECK(to_hex(sha256(as_bytes("abc"))) == expected);
    Sha256 hasher;
    hasher.update(as_bytes("a"));
    hasher.update(as_bytes("bc"));
    CHECK(to_hex(hasher.finish()) == expected);
}

TEST_CASE("error: every code has its own name and a next step") {
    std::set<std::string_view> names;
    for (int i = 0; i <= static_cast<int>(ErrorCode::internal); ++i) {
        const auto code = static_cast<ErrorCode>(i);
        CHECK(names.insert(to_string(code)).second);
        CHECK(help_for(code).size() > 10);
    }
}
