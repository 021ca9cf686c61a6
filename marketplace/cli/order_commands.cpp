// SPDX-License-Identifier: Apache-2.0
#include "ledger/base/hex.hpp"
#include "ledger/crypto/address.hpp"
#include "ledger/eth/messages.hpp"
#include "ledger/rpc/json.hpp"
#include "ledger/rpc/poll.hpp"
#include "ledger/settlement/leases_abi.hpp"
#include "marketplace/cli/context.hpp"
#include "marketplace/wire/order_json.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <memory>
#include <vector>

namespace marketplace::cli {
namespace {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::to_hex;
using nlohmann::json;
namespace settlement = ledger::settlement;

struct OrderOptions {
    std::string provider;
    std::string id;  ///< of the order to cancel; empty: list
    bool on_chain = false;
    bool no_wait = false;
};

Result<void> list(Context& context, const OrderOptions& options) {
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
                   tokens(ledger::rpc::u64_text_at(ask, "price").value_or(0)),
                   order.value("state", ""), order.value("units_out", "")});
    }
    if (table.empty())
        context.say("No asks of " + provider);
    else
        table.print(context.out);
    return {};
}

/// Of all pages of a list, the orders whose id begins with `prefix`.
Result<void> find_in(Context& context, const std::string& list, Auth auth,
                     const std::string& prefix, std::vector<json>& found) {
    for (std::string after;;) {
        const std::string target = after.empty() ? list : list + "&after=" + after;
        TRY_ASSIGN(const json page, context.market().get(target, auth));
        for (const json& order : page.value("data", json::array()))
            if (order.value("id", "").starts_with(prefix)) found.push_back(order);
        if (!page.value("has_more", false) || !page["last_id"].is_string()) return {};
        after = page["last_id"].get<std::string>();
    }
}

/// The wallet's ask or bid of this name, or of the only one that begins so.
Result<json> find_order(Context& context, const std::string& prefix) {
    TRY_ASSIGN(const Address account, context.account());
    const std::string who = ledger::crypto::to_checksum(account);
    std::vector<json> found;
    TRY(find_in(context, "/v1/market/orders?limit=100&provider=" + who, Auth::kNone, prefix,
                found));
    // Signed in: a sealed bid is shown to its buyer only.
    TRY(find_in(context, "/v1/market/bids?limit=100&buyer=" + who, Auth::kSession, prefix, found));
    if (found.empty()) return fail(ErrorCode::not_found, "you have no ask or bid " + prefix);
    if (found.size() > 1)
        return fail(ErrorCode::invalid_field,
                    fmt::format("{} of your orders begin with {}: give more of the name",
                                found.size(), prefix));
    return found.front();
}

bool is_ask(const json& order) {
    return order.value("side", "") == "ask";
}

/// The call that cancels the order. What the market sent must be what its name says.
Result<ledger::base::Bytes> make_call(const json& order) {
    const std::string id = order.value("id", "");
    const char* side = is_ask(order) ? "ask" : "bid";
    const std::string text = ledger::rpc::to_text(order.value(side, json::object()));
    Hash32 hash;
    ledger::base::Bytes call;
    if (is_ask(order)) {
        TRY_ASSIGN(const auto ask, wire::parse_ask(text));
        hash = ledger::eth::struct_hash(ask);
        call = settlement::encode_cancel_ask(ask);
    } else {
        TRY_ASSIGN(const auto bid, wire::parse_bid(text));
        hash = ledger::eth::struct_hash(bid);
        call = settlement::encode_cancel_bid(bid);
    }
    if (to_hex(hash) != id)
        return fail(ErrorCode::audit_failed,
                    fmt::format("the market gave another order under the name {}", id));
    return call;
}

/// What of the order tells that the market took it off.
std::string place_of(const json& order) {
    return is_ask(order) ? "/v1/market/orders/" + order.value("id", "")
                         : "/v1/jobs/" + order.value("job", "");
}

Result<void> wait_until_off(Context& context, const json& order) {
    const auto look = [&]() -> Result<bool> {
        TRY_ASSIGN(const json now, context.market().get(place_of(order), Auth::kNone));
        return now.value("state", "") != "open";
    };
    TRY_ASSIGN(const bool seen, ledger::rpc::poll_until({}, look));
    if (seen) return {};
    return fail(ErrorCode::timeout, "cancelled on chain, but the market has not seen it yet");
}

Result<void> cancel_on_chain(Context& context, const OrderOptions& options, const json& order) {
    TRY_ASSIGN(const ledger::base::Bytes call, make_call(order));
    TRY(context.check_chain());
    TRY_ASSIGN(const MarketFacts* facts, context.facts());
    TRY_ASSIGN(const Hash32 transaction, send_transaction(context, facts->deployment.leases, call));
    const bool waits = order.value("state", "") == "open";
    if (waits && !options.no_wait) TRY(wait_until_off(context, order));
    if (context.json()) {
        context.print_json({{"order", order.value("id", "")},
                            {"transaction", to_hex(transaction)},
                            {"seen", waits && !options.no_wait}});
        return {};
    }
    context.say(
        fmt::format("Cancelled in transaction {}\nNo lease can be opened under it any more; "
                    "those it has go on.",
                    to_hex(transaction)));
    return {};
}

Result<void> cancel_at_market(Context& context, const json& order) {
    const auto answer = is_ask(order) ? context.market().del(place_of(order), Auth::kSession)
                                      : context.market().post(place_of(order) + "/cancel",
                                                              json::object(), Auth::kSession);
    if (!answer) return tl::make_unexpected(answer.error());
    if (context.json())
        context.print_json(*answer);
    else
        context.say("Cancelled at the market. To make it hold against everybody: --on-chain");
    return {};
}

Result<void> cancel(Context& context, const OrderOptions& options) {
    TRY_ASSIGN(const json order, find_order(context, options.id));
    const std::string name = (is_ask(order) ? "ask " : "bid ") + order.value("id", "");
    TRY(context.confirm(
        fmt::format("Cancel {}{}?", printable(name), options.on_chain ? " on chain, for good" : ""),
        options.on_chain ? Context::Then::kTransaction : Context::Then::kRequest));
    if (options.on_chain) return cancel_on_chain(context, options, order);
    return cancel_at_market(context, order);
}

}  // namespace

void add_order_commands(CLI::App& app, const Choose& choose) {
    auto options = std::make_shared<OrderOptions>();
    CLI::App* orders = app.add_subcommand("orders", "Asks of an account; cancel asks and bids");
    orders->require_subcommand(0, 1);
    orders->add_option("--provider", options->provider, "Address (default: the wallet's)");
    choose(orders, [options](Context& c) {
        return options->id.empty() ? list(c, *options) : cancel(c, *options);
    });
    CLI::App* drop = orders->add_subcommand("cancel", "Take back an ask or a bid of yours");
    drop->fallthrough();
    drop->add_option("ORDER", options->id, "0x…, or its beginning")->required();
    drop->add_flag("--on-chain", options->on_chain,
                   "By a transaction of your own: no market can use the order any more");
    drop->add_flag("--no-wait", options->no_wait, "Return when it is on chain");
}

}  // namespace marketplace::cli
