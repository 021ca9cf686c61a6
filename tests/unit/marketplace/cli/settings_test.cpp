// SPDX-License-Identifier: Apache-2.0
#include "marketplace/cli/settings.hpp"

#include "ledger/base/hex.hpp"
#include "marketplace/cli/market_client.hpp"
#include "marketplace/cli/wallet.hpp"

#include <doctest/doctest.h>

#include <filesystem>
#include <map>
#include <string>

using namespace marketplace::cli;  // NOLINT: the room under test
using ledger::base::ErrorCode;

namespace {

class TempFolder {
 public:
    TempFolder() {
        const auto random = ledger::crypto::random_bytes(8);
        path_ = std::filesystem::temp_directory_path() /
                ("millrace-cli-" + ledger::base::to_hex(random).substr(2));
        std::filesystem::create_directories(path_);
    }
    ~TempFolder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    TempFolder(const TempFolder&) = delete;
    TempFolder& operator=(const TempFolder&) = delete;
    [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }

 private:
    std::filesystem::path path_;
};

Environment environment(std::map<std::string, std::string> values) {
    return [values](const char* name) {
        const auto found = values.find(name);
        return found == values.end() ? std::string() : found->second;
    };
}

}  // namespace

TEST_CASE("settings: file, then environment, then options") {
    const TempFolder folder;
    GivenSettings given;
    given.data = folder.path().string();
    REQUIRE(write_private_file(folder.path() / "config.toml",
                               "market = \"http://file:1\"\nrpc = \"http://file:2/\"\n")
                .has_value());
    auto settings = load_settings(given, environment({}));
    REQUIRE(settings.has_value());
    CHECK(settings->market == "http://file:1");
    CHECK(settings->rpc == "http://file:2");
    CHECK(settings->key_file == folder.path() / "wallet.json");
    settings = load_settings(given, environment({{"MILLRACE_MARKET", "http://env:1"}}));
    REQUIRE(settings.has_value());
    CHECK(settings->market == "http://env:1");
    given.market = "http://option:1/";
    settings = load_settings(given, environment({{"MILLRACE_MARKET", "http://env:1"}}));
    REQUIRE(settings.has_value());
    CHECK(settings->market == "http://option:1");
}

TEST_CASE("settings: what is wrong is named") {
    const TempFolder folder;
    GivenSettings given;
    given.data = folder.path().string();
    for (const char* text : {"market = 5", "colour = \"red\"", "market = ", "market = \"\""}) {
        REQUIRE(write_private_file(folder.path() / "config.toml", text).has_value());
        const auto settings = load_settings(given, environment({}));
        REQUIRE(!settings.has_value());
        CHECK(settings.error().code() == ErrorCode::config_invalid);
        CHECK(settings.error().detail().find("config.toml") != std::string::npos);
    }
    std::filesystem::remove(folder.path() / "config.toml");
    given.market = "localhost:8460";
    const auto settings = load_settings(given, environment({}));
    REQUIRE(!settings.has_value());
    CHECK(settings.error().detail().find("localhost:8460") != std::string::npos);
}

TEST_CASE("wallet: a secret is hex or a key file, nothing else") {
    using ledger::crypto::PrivateKey;
    const std::string hex(63, '0');
    CHECK(parse_secret("0x" + hex + "1\n", "").has_value());
    CHECK(parse_secret(hex + "1", "").has_value());
    CHECK(!parse_secret(hex, "").has_value());
    CHECK(!parse_secret(hex + "0", "").has_value());  // zero is no key
    CHECK(!parse_secret("", "").has_value());
    CHECK(!parse_secret("password", "").has_value());
    const auto key = parse_secret(hex + "1", "");
    const std::string file =
        ledger::crypto::encrypt_key(*key, "secret", ledger::crypto::KeyStoreCost::kLight);
    const auto read = parse_secret(file, "secret");
    REQUIRE(read.has_value());
    CHECK(read->address() == key->address());
    CHECK(!parse_secret(file, "other").has_value());
}

TEST_CASE("wallet: a missing one names the next command; an open password file is refused") {
    const TempFolder folder;
    Settings settings;
    settings.data = folder.path();
    settings.key_file = folder.path() / "wallet.json";
    const auto missing = open_wallet(settings);
    REQUIRE(!missing.has_value());
    CHECK(missing.error().detail().find("millrace init") != std::string::npos);
    settings.password_file = folder.path() / "password";
    REQUIRE(write_private_file(settings.password_file, "secret\n").has_value());
    CHECK(read_password(settings, PasswordUse::kOpen).value_or("") == "secret");
    std::filesystem::permissions(settings.password_file, std::filesystem::perms::others_read,
                                 std::filesystem::perm_options::add);
    CHECK(!read_password(settings, PasswordUse::kOpen).has_value());
}

TEST_CASE("market_client: problems keep their code and lose their control characters") {
    ledger::rpc::HttpResponse response;
    response.status = 402;
    response.body = R"({"code":"insufficient_funds","detail":"needs 5\u001b[2J"})";
    auto error = error_of(response);
    CHECK(error.code() == ErrorCode::insufficient_funds);
    CHECK(error.detail() == "needs 5?[2J");
    response.body = R"({"error":{"message":"no such model","code":"model_not_found"}})";
    error = error_of(response);
    CHECK(error.code() == ErrorCode::unknown_model);
    response.body = "<html>";
    response.status = 503;
    CHECK(error_of(response).code() == ErrorCode::unavailable);
    response.status = 401;
    CHECK(error_of(response).code() == ErrorCode::unauthorized);
}

TEST_CASE("settings: what init keeps is what is read again") {
    const TempFolder folder;
    GivenSettings given;
    given.data = folder.path().string();
    given.market = "http://market.example:80/";
    given.rpc = "http://node.example:8545";
    given.password_file = (folder.path() / "a \"pass\"\\word").string();
    const auto settings = load_settings(given, environment({}));
    REQUIRE(settings.has_value());
    const auto text = config_text(*settings);
    REQUIRE(text.has_value());
    REQUIRE(write_private_file(folder.path() / "config.toml", *text).has_value());
    GivenSettings later;
    later.data = given.data;
    const auto again = load_settings(later, environment({}));
    REQUIRE(again.has_value());
    CHECK(again->market == "http://market.example:80");
    CHECK(again->rpc == settings->rpc);
    CHECK(again->password_file == settings->password_file);
    CHECK(again->key_file == settings->key_file);
    Settings odd = *settings;
    odd.password_file = "it's";
    CHECK_FALSE(config_text(odd).has_value());
}

TEST_CASE("curl: runs in a shell and shows no secret") {
    ledger::rpc::HttpRequest request;
    request.method = "POST";
    request.url = "http://market/v1/jobs";
    request.headers.push_back({"Authorization", "Bearer mrs_secret"});
    request.headers.push_back({"Content-Type", "application/json"});
    request.body = "{\"it's\":1}";
    CHECK(curl_text(request, {}) ==
          "curl -sS -X POST -H \"Authorization: Bearer $MILLRACE_TOKEN\" -H 'Content-Type: "
          "application/json' --data-raw '{\"it'\\''s\":1}' 'http://market/v1/jobs'");
    CHECK(curl_text(request, "a file").find("--data-binary '@a file'") != std::string::npos);
    request.url = "http://market/v1/auth/siwe";
    request.body = "{\"signature\":\"0x12\"}";
    CHECK(curl_text(request, {}).find("0x12") == std::string::npos);
}
