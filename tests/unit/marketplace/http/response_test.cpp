// SPDX-License-Identifier: Apache-2.0
#include "marketplace/http/response.hpp"

#include <doctest/doctest.h>

using namespace marketplace::http;

namespace {
std::optional<ByteRange> range(std::string_view header, std::uint64_t size) {
    const auto parsed = parse_range(header, size);
    REQUIRE(parsed);
    return *parsed;
}
}  // namespace

TEST_CASE("range: what cannot be satisfied is refused, what is malformed is ignored") {
    CHECK_FALSE(parse_range("bytes=10-", 10));
    CHECK_FALSE(parse_range("bytes=11-20", 10));
    CHECK_FALSE(parse_range("bytes=-0", 10));
    CHECK_FALSE(parse_range("bytes=0-", 0));
    CHECK_FALSE(range("items=0-1", 10));
    CHECK_FALSE(range("bytes=5-2", 10));
    CHECK_FALSE(range("bytes=a-b", 10));
    CHECK_FALSE(range("bytes=-", 10));
    CHECK_FALSE(range("bytes=0-1,3-4", 10));
    CHECK_FALSE(range("bytes=0-99999999999999999999999", 10));
}

TEST_CASE("range: first, last and open ranges") {
    CHECK(range("bytes=0-0", 10) == ByteRange{0, 0});
    CHECK(range("bytes=2-5", 10) == ByteRange{2, 5});
    CHECK(range("bytes=2-", 10) == ByteRange{2, 9});
    CHECK(range("bytes=2-999", 10) == ByteRange{2, 9});
    CHECK(range("bytes=-3", 10) == ByteRange{7, 9});
    CHECK(range("bytes=-30", 10) == ByteRange{0, 9});
}

TEST_CASE("etag: lists, weak tags and the star") {
    CHECK(etag_matches("\"a\"", "\"a\""));
    CHECK(etag_matches("\"x\", W/\"a\"", "\"a\""));
    CHECK(etag_matches("*", "\"a\""));
    CHECK_FALSE(etag_matches("\"b\"", "\"a\""));
    CHECK_FALSE(etag_matches("", "\"a\""));
}
