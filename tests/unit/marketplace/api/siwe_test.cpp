// SPDX-License-Identifier: Apache-2.0
#include "marketplace/api/siwe.hpp"

#include "ledger/base/hex.hpp"

#include <doctest/doctest.h>

using namespace marketplace::api;

namespace {

// The example of ERC-4361.
const std::string kExample =
    "example.com wants you to sign in with your Ethereum account:\n"
    "0xC02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2\n"
    "\n"
    "I accept the ExampleOrg Terms of Service: https://example.com/tos\n"
    "\n"
    "URI: https://example.com/login\n"
    "Version: 1\n"
    "Chain ID: 1\n"
    "Nonce: 32891756\n"
    "Issued At: 2021-09-30T16:25:24Z\n"
    "Resources:\n"
    "- ipfs://bafybeiemxf5abjwjbikoz4mc3a3dla6ual3jsgpdr4cjr3oz3evfyavhwq/\n"
    "- https://example.com/my-web2-claim.json";

std::string with(std::string_view from, std::string_view to) {
    std::string text = kExample;
    const auto at = text.find(from);
    REQUIRE(at != std::string::npos);
    text.replace(at, from.size(), to);
    return text;
}

}  // namespace

TEST_CASE("siwe: what is not exactly the standard's form is refused") {
    CHECK_FALSE(parse_siwe(""));
    CHECK_FALSE(parse_siwe(kExample + "\n"));
    CHECK_FALSE(parse_siwe(kExample + "\nextra"));
    CHECK_FALSE(parse_siwe("x" + std::string(5000, 'y')));
    CHECK_FALSE(parse_siwe(with("0xC02aaA39", "0xc02aaa39")));
    CHECK_FALSE(parse_siwe(with("0xC02aaA39", "0xC02aaA3")));
    CHECK_FALSE(parse_siwe(with("Version: 1", "Version: 2")));
    CHECK_FALSE(parse_siwe(with("Nonce: 32891756", "Nonce: 3289")));
    CHECK_FALSE(parse_siwe(with("Nonce: 32891756", "Nonce: 3289175-")));
    CHECK_FALSE(parse_siwe(with("Chain ID: 1", "Chain ID: 01")));
    CHECK_FALSE(parse_siwe(with("2021-09-30T16:25:24Z", "2021-09-31T16:25:24Z")));
    CHECK_FALSE(parse_siwe(with("2021-09-30T16:25:24Z", "yesterday")));
    CHECK_FALSE(parse_siwe(with("URI: ", "URL: ")));
    CHECK_FALSE(parse_siwe(with("\nURI", "\r\nURI")));
    CHECK_FALSE(parse_siwe(with("example.com wants", "example com wants")));
}

TEST_CASE("siwe: the standard's example is read whole") {
    const auto message = parse_siwe(kExample);
    REQUIRE(message);
    CHECK(message->domain == "example.com");
    CHECK(ledger::base::to_hex(message->address) == "0xc02aaa39b223fe8d0a0e5c4f27ead9083c756cc2");
    CHECK(message->statement ==
          "I accept the ExampleOrg Terms of Service: https://example.com/tos");
    CHECK(message->uri == "https://example.com/login");
    CHECK(message->chain_id == 1);
    CHECK(message->nonce == "32891756");
    CHECK(message->issued_at_ms == 1'633'019'124'000);
    CHECK(message->resources.size() == 2);
    const auto bare = parse_siwe(
        with("I accept the ExampleOrg Terms of Service: https://example.com/tos\n\n", "\n"));
    REQUIRE(bare);
    CHECK(bare->statement.empty());
    const auto scheme = parse_siwe(with("example.com wants", "https://example.com:80 wants"));
    REQUIRE(scheme);
    CHECK(scheme->scheme == "https");
    CHECK(scheme->domain == "example.com:80");
}

TEST_CASE("siwe: times with fractions and offsets") {
    CHECK(parse_rfc3339("1970-01-01T00:00:00Z") == 0);
    CHECK(parse_rfc3339("1970-01-01T00:00:00.5Z") == 500);
    CHECK(parse_rfc3339("1970-01-01T01:00:00.123456+01:00") == 123);
    CHECK(parse_rfc3339("2026-11-22T06:18:17.123Z") == 1'795'328'297'123);
    CHECK(to_rfc3339(1'795'328'297'123) == "2026-11-22T06:18:17.123Z");
    CHECK_FALSE(parse_rfc3339("1970-01-01T00:00:00"));
    CHECK_FALSE(parse_rfc3339("1970-01-01T24:00:00Z"));
    CHECK_FALSE(parse_rfc3339("1970-01-01T00:00:00.Z"));
    CHECK_FALSE(parse_rfc3339("1970-01-01T00:00:00+1:00"));
}
