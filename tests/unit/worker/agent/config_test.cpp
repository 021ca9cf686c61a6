// SPDX-License-Identifier: Apache-2.0
#include "worker/agent/config.hpp"

#include "tests/unit/worker/agent/fixture.hpp"
#include "worker/agent/asks.hpp"
#include "worker/agent/siwe.hpp"

#include <doctest/doctest.h>

using namespace worker::agent;        // NOLINT: the room under test
using namespace worker::agent::test;  // NOLINT

namespace {

std::string refusal(std::string_view text) {
    const auto config = parse_config(text, "/data");
    REQUIRE(!config.has_value());
    CHECK(config.error().code() == ErrorCode::config_invalid);
    return config.error().detail();
}

bool mentions(const std::string& text, std::string_view word) {
    return text.find(word) != std::string::npos;
}

}  // namespace

TEST_CASE("config: bad settings are refused by name") {
    CHECK(mentions(refusal("market = "), "line 1"));
    CHECK(mentions(refusal("colour = \"red\""), "colour"));
    CHECK(mentions(refusal("market = 7"), "market"));
    CHECK(mentions(refusal("market = \"ftp://x\""), "market"));
    CHECK(mentions(refusal("threads = 0"), "threads"));
    CHECK(mentions(refusal("threads = \"two\""), "threads"));
    CHECK(mentions(refusal("price_step = 0.5"), "price_step"));
    CHECK(mentions(refusal("price_step = \"0.0000001\""), "price_step"));
    CHECK(mentions(refusal("sandbox = \"docker\""), ""));
    CHECK(mentions(refusal("price_step = \"0\"\nprice_input_token = \"0\""), "offer something"));
    CHECK(mentions(refusal("gflop_per_s = 0.5"), "gflop_per_s"));
    CHECK(mentions(refusal("memory_mb_per_s = 4294967296"), "memory_mb_per_s"));
    CHECK(mentions(refusal("region = \"a\\nb\""), "region"));
}

TEST_CASE("config: what setup writes is what it reads") {
    WorkerConfig config = default_config("/data");
    config.market = "http://market.example:8460";
    config.region = "eu-north";
    config.price_step_atoms = 123;
    config.threads = 3;
    config.worker_key = "/elsewhere/worker.json";
    config.interconnect = "nvlink";
    config.gflop_per_s = 900'000;
    config.memory_mb_per_s = UINT32_MAX;
    config.sandbox = worker::sandbox::Mode::kNone;
    const auto read = parse_config(to_toml(config), "/data");
    REQUIRE(read.has_value());
    CHECK(*read == config);
}

TEST_CASE("config: no file names the next command") {
    const TempFolder folder;
    const auto config = read_config(folder.path());
    REQUIRE(!config.has_value());
    CHECK(mentions(config.error().detail(), "millrace-worker setup"));
}

TEST_CASE("asks: one per price, signed by the provider, kept until they age or change") {
    WorkerConfig config = default_config("/data");
    const PrivateKey provider = key_of(3);
    const Address by = key_of(6).address();
    const ledger::eth::Domain domain{31337, key_of(5).address()};
    config.disk_mib = 2048;
    config.bandwidth_mbps = 300;
    config.interconnect = "pcie";
    config.gflop_per_s = 120;
    config.memory_mb_per_s = 45'000;
    const auto resource = make_resource(config, key_of(1).address(), "libtorch-test");
    CHECK(resource.disk_mib == 2048);
    CHECK(resource.bandwidth_mbps == 300);
    CHECK(resource.interconnect == "pcie");
    CHECK(resource.gflop_per_s == 120);
    CHECK(resource.memory_mb_per_s == 45'000);
    CHECK(resource.numeric_classes == 0b0110);  // D1 and D2
    const std::uint64_t now_s = 1'000'000;
    const auto asks = make_asks(config, resource, provider, by, domain, now_s);
    REQUIRE(asks.size() == 3);
    for (const SignedAsk& ask : asks) {
        CHECK(ledger::crypto::verify(ledger::eth::digest(domain, ask.ask), ask.signature,
                                     provider.address())
                  .has_value());
        CHECK(ask.ask.matcher == by);
        CHECK(ask.ask.expiry_s == now_s + 24 * 3600);
    }
    const auto read = parse_asks(to_text(asks));
    REQUIRE(read.has_value());
    CHECK(*read == asks);
    CHECK(asks_current(asks, config, resource, provider.address(), by, now_s));
    CHECK(!asks_current(asks, config, resource, provider.address(), by, now_s + 20 * 3600));
    CHECK(!asks_current(asks, config, resource, key_of(9).address(), by, now_s));
    config.price_step_atoms += 1;
    CHECK(!asks_current(asks, config, resource, provider.address(), by, now_s));
    config.price_step_atoms = 0;
    CHECK(make_asks(config, resource, provider, by, domain, now_s).size() == 2);
}

TEST_CASE("siwe: the text of ERC-4361") {
    const std::string text = siwe_message("http://127.0.0.1:8460", key_of(1).address(), 31337,
                                          "abcdefgh12345678", 1'700'000'000'000);
    CHECK(text ==
          "127.0.0.1:8460 wants you to sign in with your Ethereum account:\n"
          "0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf\n"
          "\n"
          "Sign in to Millrace.\n"
          "\n"
          "URI: http://127.0.0.1:8460\n"
          "Version: 1\n"
          "Chain ID: 31337\n"
          "Nonce: abcdefgh12345678\n"
          "Issued At: 2023-11-14T22:13:20Z\n"
          "Expiration Time: 2023-11-14T22:18:20Z");
}
