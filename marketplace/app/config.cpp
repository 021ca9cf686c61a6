// SPDX-License-Identifier: Apache-2.0
#include "marketplace/app/config.hpp"

#include "ledger/crypto/address.hpp"
#include "ledger/rpc/http_client.hpp"

#include <toml++/toml.h>

#include <algorithm>
#include <fstream>
#include <limits>

namespace marketplace::app {
namespace {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;
constexpr std::size_t kMaxBytes = 64 * 1024;
constexpr std::size_t kNodesMax = 9;

Result<void> set_text(const toml::node& node, std::string_view key, std::string& out) {
    const auto value = node.value_exact<std::string>();
    if (!value || value->empty())
        return fail(ErrorCode::config_invalid, std::string(key) + " must be a text");
    out = *value;
    return {};
}

Result<void> set_path(const toml::node& node, std::string_view key,
                      const std::filesystem::path& base, std::filesystem::path& out) {
    std::string text;
    TRY(set_text(node, key, text));
    out = base / text;
    return {};
}

Result<void> set_address(const toml::node& node, std::string_view key, ledger::base::Address& out) {
    std::string text;
    TRY(set_text(node, key, text));
    const auto address = ledger::crypto::parse_address(text);
    if (!address || address->is_zero())
        return fail(ErrorCode::config_invalid, std::string(key) + " must be an address");
    out = *address;
    return {};
}

Result<void> set_number(const toml::node& node, std::string_view key, std::uint64_t& out,
                        std::uint64_t least, std::uint64_t most) {
    const auto value = node.value_exact<std::int64_t>();
    if (!value || *value < 0 || static_cast<std::uint64_t>(*value) < least ||
        static_cast<std::uint64_t>(*value) > most)
        return fail(ErrorCode::config_invalid, std::string(key) + " must be a number from " +
                                                   std::to_string(least) + " to " +
                                                   std::to_string(most));
    out = static_cast<std::uint64_t>(*value);
    return {};
}

Result<void> set_flag(const toml::node& node, std::string_view key, bool& out) {
    const auto value = node.value_exact<bool>();
    if (!value) return fail(ErrorCode::config_invalid, std::string(key) + " must be true or false");
    out = *value;
    return {};
}

/// One URL or a list of them. Detail and log never hold a URL: it may carry a secret.
Result<void> set_urls(const toml::node& node, std::string_view key, std::vector<std::string>& out) {
    out.clear();
    const toml::array* list = node.as_array();
    const std::size_t count = list == nullptr ? 1 : list->size();
    if (count == 0 || count > kNodesMax)
        return fail(ErrorCode::config_invalid,
                    std::string(key) + " must have 1 to " + std::to_string(kNodesMax) + " URLs");
    for (std::size_t i = 0; i < count; ++i) {
        std::string url;
        TRY(set_text(list == nullptr ? node : *list->get(i), key, url));
        if (const auto parsed = ledger::rpc::parse_url(url); !parsed)
            return fail(ErrorCode::config_invalid,
                        std::string(key) + ": " + parsed.error().detail());
        if (std::find(out.begin(), out.end(), url) != out.end())
            return fail(ErrorCode::config_invalid, std::string(key) + " names a node twice");
        out.push_back(std::move(url));
    }
    return {};
}

/// A list of short texts without spaces, each once.
Result<void> set_names(const toml::node& node, std::string_view key,
                       std::vector<std::string>& out) {
    constexpr std::size_t kNamesMax = 64;
    constexpr std::size_t kNameBytesMax = 255;
    const toml::array* list = node.as_array();
    if (list == nullptr || list->size() > kNamesMax)
        return fail(ErrorCode::config_invalid, std::string(key) + " must be a list of texts");
    out.clear();
    for (const toml::node& item : *list) {
        std::string name;
        TRY(set_text(item, key, name));
        const bool plain =
            std::all_of(name.begin(), name.end(), [](char c) { return c > ' ' && c < '\x7f'; });
        if (!plain || name.size() > kNameBytesMax ||
            std::find(out.begin(), out.end(), name) != out.end())
            return fail(ErrorCode::config_invalid,
                        std::string(key) + " must hold plain names, each once");
        out.push_back(std::move(name));
    }
    return {};
}

/// "https://console.example": a scheme and an authority, nothing behind it.
Result<void> set_origins(const toml::node& node, std::string_view key,
                         std::vector<std::string>& out) {
    TRY(set_names(node, key, out));
    for (const std::string& origin : out) {
        const auto at = origin.find("://");
        const bool shaped = (origin.starts_with("https://") || origin.starts_with("http://")) &&
                            origin.size() > at + 3 &&
                            origin.find_first_of("/*?#", at + 3) == std::string::npos;
        if (!shaped)
            return fail(ErrorCode::config_invalid,
                        std::string(key) + " must be like https://console.example");
    }
    return {};
}

Result<void> set_listen(const toml::node& node, Config& config) {
    std::string text;
    TRY(set_text(node, "listen", text));
    const auto colon = text.rfind(':');
    if (colon == std::string::npos)
        return fail(ErrorCode::config_invalid, "listen must be ADDRESS:PORT");
    const std::string port = text.substr(colon + 1);
    std::uint64_t number = 0;
    for (const char c : port) {
        if (c < '0' || c > '9' || number > 65'535)
            return fail(ErrorCode::config_invalid, "listen: port must be 0 to 65535");
        number = number * 10 + static_cast<std::uint64_t>(c - '0');
    }
    if (port.empty() || number > 65'535)
        return fail(ErrorCode::config_invalid, "listen: port must be 0 to 65535");
    config.listen_address = text.substr(0, colon);
    config.listen_port = static_cast<std::uint16_t>(number);
    return {};
}

Result<void> set_key(std::string_view key, const toml::node& node,
                     const std::filesystem::path& base, Config& c) {
    constexpr std::uint64_t kAny = std::numeric_limits<std::int64_t>::max();
    constexpr std::uint64_t kDayMs = 86'400'000;
    constexpr std::uint64_t kRateMax = 1'000'000'000;
    if (key == "listen") return set_listen(node, c);
    if (key == "data_dir") return set_path(node, key, base, c.data_dir);
    if (key == "deployment") return set_path(node, key, base, c.deployment);
    if (key == "signer_socket") return set_path(node, key, base, c.signer_socket);
    if (key == "console_dir") return set_path(node, key, base, c.console_dir);
    if (key == "rpc_url" || key == "rpc_urls") return set_urls(node, key, c.rpc_urls);
    if (key == "rpc_quorum") return set_number(node, key, c.rpc_quorum, 1, kNodesMax);
    if (key == "rpc_head_age_s") return set_number(node, key, c.rpc_head_age_s, 0, kDayMs / 1000);
    if (key == "finality_depth") return set_number(node, key, c.finality_depth, 1, 1000);
    if (key == "worker_grace_ms") return set_number(node, key, c.worker_grace_ms, 100, kDayMs);
    if (key == "settle_poll_ms") return set_number(node, key, c.settle_poll_ms, 10, kDayMs);
    if (key == "claim_at_atoms") return set_number(node, key, c.claim_at_atoms, 1, kAny);
    if (key == "atoms_per_coin") return set_number(node, key, c.atoms_per_coin, 1, kAny);
    if (key == "witness") return set_address(node, key, c.witness);
    if (key == "witness_patience_ms") return set_number(node, key, c.witness_patience_ms, 1, kAny);
    if (key == "anchor_every_ms") return set_number(node, key, c.anchor_every_ms, 100, kDayMs);
    if (key == "voucher_period_atoms")
        return set_number(node, key, c.voucher_period_atoms, 1, kAny);
    if (key == "max_failovers") return set_number(node, key, c.max_failovers, 0, 100);
    if (key == "batch_period_ms") return set_number(node, key, c.batch_period_ms, 100, kDayMs);
    if (key == "requests_per_s") return set_number(node, key, c.requests_per_s, 1, kRateMax);
    if (key == "request_burst") return set_number(node, key, c.request_burst, 1, kRateMax);
    if (key == "orders_per_s") return set_number(node, key, c.orders_per_s, 1, kRateMax);
    if (key == "order_burst") return set_number(node, key, c.order_burst, 1, kRateMax);
    if (key == "blob_quota_bytes") return set_number(node, key, c.blob_quota_bytes, 1, kAny);
    if (key == "blob_account_bytes") return set_number(node, key, c.blob_account_bytes, 1, kAny);
    if (key == "blob_keep_ms") return set_number(node, key, c.blob_keep_ms, 1, 3650 * kDayMs);
    if (key == "x402_account") return set_address(node, key, c.x402_account);
    if (key == "x402_token_name") return set_text(node, key, c.x402_token_name);
    if (key == "x402_token_version") return set_text(node, key, c.x402_token_version);
    if (key == "x402_least_atoms") return set_number(node, key, c.x402_least_atoms, 1, kAny);
    if (key == "x402_permit2") return set_address(node, key, c.x402_permit2);
    if (key == "x402_proxy") return set_address(node, key, c.x402_proxy);
    if (key == "x402_unpaid_calls") return set_number(node, key, c.x402_unpaid_calls, 0, 1000);
    if (key == "webhooks_to_private") return set_flag(node, key, c.webhooks_to_private);
    if (key == "public_names") return set_names(node, key, c.public_names);
    if (key == "cors_origins") return set_origins(node, key, c.cors_origins);
    if (key == "log_json") return set_flag(node, key, c.log_json);
    if (key == "log_requests") return set_flag(node, key, c.log_requests);
    return fail(ErrorCode::config_invalid, "unknown setting " + std::string(key));
}

}  // namespace

Result<Config> parse_config(std::string_view text, const std::filesystem::path& base) {
    toml::table table;
    try {
        table = toml::parse(text);
    } catch (const toml::parse_error& error) {
        return fail(ErrorCode::config_invalid,
                    "line " + std::to_string(error.source().begin.line) +
                        " is not TOML: " + std::string(error.description()));
    }
    if (table.contains("rpc_url") && table.contains("rpc_urls"))
        return fail(ErrorCode::config_invalid, "rpc_url and rpc_urls: give one of them");
    Config config;
    for (const auto& [key, node] : table)
        TRY(set_key(key.str(), node, base, config));
    if (config.rpc_quorum > config.rpc_urls.size())
        return fail(ErrorCode::config_invalid, "rpc_quorum is above the number of rpc_urls");
    if (!config.x402_account.is_zero() && config.x402_token_name.empty())
        return fail(ErrorCode::config_invalid, "x402_account needs x402_token_name");
    if (config.data_dir.empty()) return fail(ErrorCode::config_invalid, "data_dir is missing");
    if (config.deployment.empty()) return fail(ErrorCode::config_invalid, "deployment is missing");
    if (config.signer_socket.empty())
        return fail(ErrorCode::config_invalid, "signer_socket is missing");
    return config;
}

Result<Config> read_config(const std::filesystem::path& file) {
    std::ifstream in(file, std::ios::binary);
    if (!in)
        return fail(ErrorCode::config_invalid, "cannot read the settings file " + file.string());
    std::string text(kMaxBytes + 1, '\0');
    in.read(text.data(), static_cast<std::streamsize>(text.size()));
    text.resize(static_cast<std::size_t>(in.gcount()));
    if (text.size() > kMaxBytes)
        return fail(ErrorCode::config_invalid, "the settings file passes 64 KiB");
    return parse_config(text, std::filesystem::absolute(file).parent_path());
}

}  // namespace marketplace::app
