// SPDX-License-Identifier: Apache-2.0
// API keys: what an OpenAI client is given instead of the wallet.
#include "ledger/base/clock.hpp"
#include "ledger/rpc/json.hpp"
#include "marketplace/cli/job_order.hpp"

#include <CLI/CLI.hpp>
#include <fmt/chrono.h>
#include <fmt/format.h>

#include <ctime>
#include <memory>

namespace marketplace::cli {
namespace {

using ledger::base::ErrorCode;
using ledger::base::fail;
using nlohmann::json;

struct KeyOptions {
    std::string label;
    std::string cap;
    std::vector<std::string> scopes;
    std::string expires;
    std::uint64_t requests_per_minute = 0;  ///< 0: not given
    std::string id;
};

/// What the market is asked for; only what was given, so that its own defaults hold.
Result<json> key_body(const KeyOptions& options) {
    json body = json::object();
    if (!options.label.empty()) body["label"] = options.label;
    if (!options.scopes.empty()) body["scopes"] = options.scopes;
    if (!options.cap.empty()) {
        TRY_ASSIGN(const std::uint64_t atoms, parse_amount(options.cap, "--cap"));
        body["spend_cap"] = std::to_string(atoms);
    }
    if (!options.expires.empty()) {
        const std::uint64_t now_s = ledger::base::SystemClock().now_ms() / 1000;
        TRY_ASSIGN(const std::uint64_t end_s, parse_moment(options.expires, now_s));
        if (end_s <= now_s)
            return fail(ErrorCode::invalid_window, "--expires must lie in the future");
        body["expires_ms"] = end_s * 1000;
    }
    if (options.requests_per_minute > 0) body["requests_per_minute"] = options.requests_per_minute;
    return body;
}

Result<void> create(Context& context, const KeyOptions& options) {
    TRY_ASSIGN(const json body, key_body(options));
    TRY_ASSIGN(const json key, context.market().post("/v1/api-keys", body, Auth::kSession));
    if (context.json()) {
        context.print_json(key);
        return {};
    }
    context.say(fmt::format(
        "{}\n(shown this once; id {})\nUse it with any OpenAI client: "
        "OPENAI_BASE_URL={}/v1 OPENAI_API_KEY=…",
        printable(key.value("key", "")), printable(key.value("id", "")), context.settings.market));
    return {};
}

std::string text_or(const json& key, const char* name, std::string_view other) {
    const auto atoms = ledger::rpc::u64_text_at(key, name);
    return atoms ? tokens(*atoms) : std::string(other);
}

std::string state_of(const json& key) {
    if (key.value("revoked", false)) return "revoked";
    const auto expires_ms = ledger::rpc::integer_at(key, "expires_ms");
    if (!expires_ms) return "live";
    if (*expires_ms <= ledger::base::SystemClock().now_ms()) return "expired";
    return fmt::format("until {:%Y-%m-%d %H:%M}",
                       fmt::gmtime(static_cast<std::time_t>(*expires_ms / 1000)));
}

Result<void> list(Context& context) {
    TRY_ASSIGN(const json page, context.market().get("/v1/api-keys", Auth::kSession));
    if (context.json()) {
        context.print_json(page);
        return {};
    }
    Table table({{"id"},
                 {"label"},
                 {"for"},
                 {"spent", Table::Align::kRight},
                 {"cap", Table::Align::kRight},
                 {"a minute", Table::Align::kRight},
                 {"state"}});
    for (const json& key : page.value("data", json::array())) {
        std::string scopes;
        for (const json& scope : key.value("scopes", json::array()))
            if (scope.is_string()) scopes += (scopes.empty() ? "" : ",") + scope.get<std::string>();
        const auto rate = ledger::rpc::integer_at(key, "requests_per_minute");
        table.row({key.value("id", ""), key.value("label", ""), scopes.empty() ? "all" : scopes,
                   text_or(key, "spent", ""), text_or(key, "spend_cap", "none"),
                   rate ? std::to_string(*rate) : "any", state_of(key)});
    }
    if (table.empty())
        context.say("No keys yet. Next: millrace keys create");
    else
        table.print(context.out);
    return {};
}

Result<void> revoke(Context& context, const KeyOptions& options) {
    TRY_ASSIGN(const json answer,
               context.market().del("/v1/api-keys/" + options.id, Auth::kSession));
    if (context.json())
        context.print_json(answer);
    else
        context.say("Revoked " + options.id);
    return {};
}

}  // namespace

void add_key_commands(CLI::App& app, const Choose& choose) {
    auto options = std::make_shared<KeyOptions>();
    CLI::App* keys = app.add_subcommand("keys", "API keys for OpenAI clients");
    keys->require_subcommand(1);
    CLI::App* make = keys->add_subcommand("create", "A new key, shown once");
    make->add_option("--label", options->label, "To tell it from others");
    make->add_option("--cap", options->cap, "Most that it may spend in all, in tokens");
    make->add_option("--scope", options->scopes, "What it is for (default: everything)")
        ->check(CLI::IsMember({"inference", "files", "jobs", "orders", "models", "account"}));
    make->add_option("--expires", options->expires, "When it ends: 2027-01-31T08:00Z, +12h, +30d");
    make->add_option("--rate", options->requests_per_minute, "Most requests a minute with it")
        ->check(CLI::Range(1, 1'000'000));
    choose(make, [options](Context& c) { return create(c, *options); });
    choose(keys->add_subcommand("list", "Your keys"), list);
    CLI::App* drop = keys->add_subcommand("revoke", "Make a key invalid at once");
    drop->add_option("ID", options->id, "key_…")->required();
    choose(drop, [options](Context& c) { return revoke(c, *options); });
}

}  // namespace marketplace::cli
