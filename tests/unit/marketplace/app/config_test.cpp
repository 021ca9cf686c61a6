// SPDX-License-Identifier: Apache-2.0
#include "marketplace/app/config.hpp"

#include <doctest/doctest.h>

using namespace marketplace::app;
using ledger::base::ErrorCode;

namespace {
const std::string kPaths =
    "data_dir = \"market\"\ndeployment = \"/etc/d.json\"\nsigner_socket = \"s\"\n";
bool refused(const std::string& text) {
    const auto config = parse_config(text, "/base");
    return !config && config.error().code() == ErrorCode::config_invalid;
}
}  // namespace

TEST_CASE("config: wrong settings are refused with their name") {
    CHECK(refused("not toml ="));
    CHECK(refused(""));
    CHECK(refused(kPaths + "data_dirr = \"x\"\n"));
    CHECK(refused(kPaths + "listen = \"8080\"\n"));
    CHECK(refused(kPaths + "listen = \"127.0.0.1:65536\"\n"));
    CHECK(refused(kPaths + "listen = \"127.0.0.1:\"\n"));
    CHECK(refused(kPaths + "listen = \"127.0.0.1:99999999999999999999\"\n"));
    CHECK(refused(kPaths + "finality_depth = 0\n"));
    CHECK(refused(kPaths + "finality_depth = \"2\"\n"));
    CHECK(refused(kPaths + "claim_at_atoms = -5\n"));
    CHECK(refused(kPaths + "worker_grace_ms = 1.5\n"));
    CHECK(refused(kPaths + "witness = \"0x12\"\n"));
    CHECK(refused(kPaths + "witness = \"0x0000000000000000000000000000000000000000\"\n"));
    CHECK(parse_config(kPaths + "claim_at_atoms = -5\n", "/")
              .error()
              .detail()
              .find("claim_at_atoms") != std::string::npos);
}

TEST_CASE("config: names, origins and the log's form") {
    CHECK(refused(kPaths + "public_names = \"market.example\"\n"));
    CHECK(refused(kPaths + "public_names = [\"a b\"]\n"));
    CHECK(refused(kPaths + "public_names = [\"a\", \"a\"]\n"));
    for (const char* origin :
         {"*", "null", "console.example", "https://", "https://a/", "ftp://a", "https://*.example"})
        CHECK(refused(kPaths + "cors_origins = [\"" + origin + "\"]\n"));
    CHECK(refused(kPaths + "log_json = 1\n"));
    const auto config = parse_config(kPaths +
                                         "public_names = [\"market.example\", \"m:8460\"]\n"
                                         "cors_origins = [\"https://console.example\", "
                                         "\"http://127.0.0.1:5173\"]\nlog_json = true\n",
                                     "/");
    REQUIRE(config);
    CHECK(config->public_names.size() == 2);
    CHECK(config->cors_origins.back() == "http://127.0.0.1:5173");
    CHECK(config->log_json);
    CHECK_FALSE(config->log_requests);
}

TEST_CASE("config: one node or several, each once, and no quorum above their number") {
    CHECK(parse_config(kPaths, "/")->rpc_urls.size() == 1);
    CHECK(parse_config(kPaths + "rpc_url = \"http://a:1\"\n", "/")->rpc_urls ==
          std::vector<std::string>{"http://a:1"});
    const auto two = parse_config(
        kPaths + "rpc_urls = [\"http://a:1/key\", \"http://b:1\"]\nrpc_quorum = 2\n", "/");
    REQUIRE(two);
    CHECK(two->rpc_urls == std::vector<std::string>{"http://a:1/key", "http://b:1"});
    for (const char* wrong :
         {"rpc_urls = []", "rpc_urls = [1]", "rpc_url = \"a\"", "rpc_urls = [\"ftp://a\"]",
          "rpc_urls = [\"http://a\", \"http://a\"]", "rpc_quorum = 2", "rpc_quorum = 0",
          "rpc_url = \"http://a\"\nrpc_urls = [\"http://b\"]"})
        CHECK_MESSAGE(refused(kPaths + wrong + "\n"), wrong);
    const auto secret = parse_config(kPaths + "rpc_url = \"https://a/secret\"\n", "/");
    CHECK(secret.error().detail().find("secret") == std::string::npos);
}

TEST_CASE("config: webhooks stay public and x402 stays off unless said otherwise") {
    const auto usual = parse_config(kPaths, "/");
    CHECK_FALSE(usual->webhooks_to_private);
    CHECK(usual->x402_account.is_zero());
    const std::string account = "x402_account = \"0x00000000000000000000000000000000000000aa\"\n";
    CHECK(refused(kPaths + account));  // without the token's name
    CHECK(refused(kPaths + "webhooks_to_private = 1\n"));
    CHECK(refused(kPaths + "x402_least_atoms = 0\n"));
    const auto open = parse_config(kPaths + account +
                                       "x402_token_name = \"USD Coin\"\n"
                                       "x402_token_version = \"2\"\nwebhooks_to_private = true\n",
                                   "/");
    REQUIRE(open);
    CHECK(open->webhooks_to_private);
    CHECK(open->x402_token_name == "USD Coin");
    CHECK(open->x402_token_version == "2");
}

TEST_CASE("config: paths are relative to the file") {
    const auto config = parse_config(kPaths + "listen = \"0.0.0.0:9\"\n", "/base");
    REQUIRE(config);
    CHECK(config->data_dir == "/base/market");
    CHECK(config->console_dir.empty());
    CHECK(parse_config(kPaths + "console_dir = \"c\"\n", "/base")->console_dir == "/base/c");
    CHECK(config->deployment == "/etc/d.json");
    CHECK(config->listen_address == "0.0.0.0");
    CHECK(config->listen_port == 9);
}

TEST_CASE("config: a file that is not there is named") {
    CHECK(read_config("/nowhere/market.toml").error().code() == ErrorCode::config_invalid);
}
