// SPDX-License-Identifier: Apache-2.0
#include "ledger/base/clock.hpp"
#include "ledger/base/hex.hpp"
#include "ledger/crypto/address.hpp"
#include "ledger/rpc/json.hpp"
#include "marketplace/cli/context.hpp"

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

struct MarketOptions {
    std::string unit_kind;
    std::string label;
    std::string id;
    std::string provider;
};

std::uint64_t u64(const json& object, const char* name) {
    return ledger::rpc::u64_text_at(object, name).value_or(0);
}

Result<void> book(Context& context, const MarketOptions& options) {
    std::string target = "/v1/market/book";
    if (!options.unit_kind.empty()) target += "?unit_kind=" + options.unit_kind;
    TRY_ASSIGN(const json document, context.market().get(target, Auth::kNone));
    if (context.json()) {
        context.print_json(document);
        return {};
    }
    Table asks({{"unit"},
                {"price", Table::Align::kRight},
                {"machine"},
                {"region"},
                {"online"},
                {"reliable", Table::Align::kRight},
                {"ask"}});
    for (const json& ask : document.value("asks", json::array()))
        asks.row({ask.value("unit_kind", ""), tokens(u64(ask, "price")),
                  fmt::format("{} x {}", ask.value("gpu_count", 0), ask.value("gpu_model", "")),
                  ask.value("region", ""), ask.value("online", false) ? "yes" : "no",
                  fmt::format("{} %", ask.value("reliability_bp", 0) / 100),
                  ask.value("id", "").substr(0, 12)});
    if (asks.empty())
        context.say("Nobody offers this now.");
    else
        asks.print(context.out);
    Table bids(
        {{"unit"}, {"ceiling", Table::Align::kRight}, {"volume", Table::Align::kRight}, {"job"}});
    for (const json& bid : document.value("bids", json::array()))
        bids.row({bid.value("unit_kind", ""), tokens(u64(bid, "price_ceiling")),
                  bid.value("volume", ""), bid.value("job", "")});
    if (!bids.empty()) {
        context.say("");
        bids.print(context.out);
    }
    return {};
}

Result<void> orders(Context& context, const MarketOptions& options) {
    std::string provider = options.provider;
    if (provider.empty()) {
        TRY_ASSIGN(const Address account, context.account());
        provider = ledger::crypto::to_checksum(account);
    }
    TRY_ASSIGN(
        const json page,
        context.market().get("/v1/market/orders?limit=100&provider=" + provider, Auth::kNone));
    if (context.json()) {
        context.print_json(page);
        return {};
    }
    Table table({{"ask"},
                 {"unit"},
                 {"price", Table::Align::kRight},
                 {"state"},
                 {"sold", Table::Align::kRight}});
    for (const json& order : page.value("data", json::array())) {
        const json ask = order.value("ask", json::object());
        table.row({order.value("id", "").substr(0, 12), ask.value("unitKind", json()).dump(),
                   tokens(u64(ask, "price")), order.value("state", ""),
                   order.value("units_out", "")});
    }
    if (table.empty())
        context.say("No asks of " + provider);
    else
        table.print(context.out);
    return {};
}

Result<void> create_key(Context& context, const MarketOptions& options) {
    json body = json::object();
    if (!options.label.empty()) body["label"] = options.label;
    TRY_ASSIGN(const json key, context.market().post("/v1/api-keys", body, Auth::kSession));
    if (context.json()) {
        context.print_json(key);
        return {};
    }
    context.say(fmt::format(
        "{}\n(shown this once; id {})\nUse it: OPENAI_BASE_URL={}/v1 "
        "OPENAI_API_KEY=… with any OpenAI client",
        printable(key.value("key", "")), printable(key.value("id", "")), context.settings.market));
    return {};
}

Result<void> list_keys(Context& context) {
    TRY_ASSIGN(const json page, context.market().get("/v1/api-keys", Auth::kSession));
    if (context.json()) {
        context.print_json(page);
        return {};
    }
    Table table({{"id"}, {"label"}, {"state"}});
    for (const json& key : page.value("data", json::array()))
        table.row({key.value("id", ""), key.value("label", ""),
                   key.value("revoked", false) ? "revoked" : "live"});
    if (table.empty())
        context.say("No keys yet. Next: millrace keys create");
    else
        table.print(context.out);
    return {};
}

Result<void> revoke_key(Context& context, const MarketOptions& options) {
    TRY_ASSIGN(const json answer,
               context.market().del("/v1/api-keys/" + options.id, Auth::kSession));
    if (context.json())
        context.print_json(answer);
    else
        context.say("Revoked " + options.id);
    return {};
}

/// Every lease of the account with what it cost: for the books of a company.
Result<void> statement(Context& context) {
    TRY_ASSIGN(const Address account, context.account());
    const std::string who = ledger::crypto::to_checksum(account);
    json all = json::array();
    for (std::string after;;) {
        std::string target = "/v1/leases?limit=100&buyer=" + who;
        if (!after.empty()) target += "&after=" + after;
        TRY_ASSIGN(const json page, context.market().get(target, Auth::kNone));
        for (const json& lease : page.value("data", json::array()))
            all.push_back(lease);
        if (!page.value("has_more", false) || !page["last_id"].is_string()) break;
        after = page["last_id"].get<std::string>();
    }
    std::uint64_t amount = 0;
    std::uint64_t claimed = 0;
    for (const json& lease : all) {
        amount += u64(lease, "amount");
        claimed += u64(lease, "claimed");
    }
    if (context.json()) {
        context.print_json({{"account", who},
                            {"amount", std::to_string(amount)},
                            {"claimed", std::to_string(claimed)},
                            {"leases", std::move(all)}});
        return {};
    }
    Table table({{"day"},
                 {"job"},
                 {"unit"},
                 {"units", Table::Align::kRight},
                 {"price", Table::Align::kRight},
                 {"amount", Table::Align::kRight},
                 {"state"}});
    for (const json& lease : all) {
        const auto time_s = static_cast<std::time_t>(
            ledger::rpc::integer_at(lease, "matched_ms").value_or(0) / 1000);
        table.row({fmt::format("{:%Y-%m-%d}", fmt::gmtime(time_s)), lease.value("job", ""),
                   lease.value("unit_kind", ""), lease.value("units", ""),
                   tokens(u64(lease, "price")), tokens(u64(lease, "amount")),
                   lease.value("state", "")});
    }
    table.print(context.out);
    context.say(fmt::format("Total {}, settled on chain {}", tokens(amount), tokens(claimed)));
    return {};
}

}  // namespace

void add_market_commands(CLI::App& app, const Choose& choose) {
    auto options = std::make_shared<MarketOptions>();
    CLI::App* prices = app.add_subcommand("market", "Open asks and bids by price");
    prices->add_option("--unit", options->unit_kind,
                       "training_step, input_token, output_token or gpu_ms");
    choose(prices, [options](Context& c) { return book(c, *options); });
    CLI::App* asks = app.add_subcommand("orders", "Asks of an account");
    asks->add_option("--provider", options->provider, "Address (default: the wallet's)");
    choose(asks, [options](Context& c) { return orders(c, *options); });
    choose(app.add_subcommand("statement", "Every lease of the wallet and what it cost"),
           statement);
    CLI::App* keys = app.add_subcommand("keys", "API keys for OpenAI clients");
    keys->require_subcommand(1);
    CLI::App* make = keys->add_subcommand("create", "A new key, shown once");
    make->add_option("--label", options->label);
    choose(make, [options](Context& c) { return create_key(c, *options); });
    choose(keys->add_subcommand("list", "Your keys"), list_keys);
    CLI::App* drop = keys->add_subcommand("revoke", "Make a key invalid at once");
    drop->add_option("ID", options->id, "key_…")->required();
    choose(drop, [options](Context& c) { return revoke_key(c, *options); });
}

}  // namespace marketplace::cli
