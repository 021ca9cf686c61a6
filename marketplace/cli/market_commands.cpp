// SPDX-License-Identifier: Apache-2.0
#include "ledger/rpc/json.hpp"
#include "marketplace/cli/context.hpp"
#include "marketplace/cli/market_picture.hpp"

#include <CLI/CLI.hpp>
#include <fmt/chrono.h>
#include <fmt/format.h>

#include <ctime>
#include <memory>

namespace marketplace::cli {
namespace {

using nlohmann::json;

enum class View : std::uint8_t { kBook, kTrades, kCandles, kIndex, kDepth };

struct MarketOptions {
    View view = View::kBook;
    std::string unit_kind;
    std::string gpu_model;
    std::string region;
    std::string interval = "1h";
    std::uint64_t limit = 0;
};

std::uint64_t u64(const json& object, const char* name) {
    return ledger::rpc::u64_text_at(object, name).value_or(0);
}

constexpr std::size_t kPictureRows = 8;

std::string escape(const std::string& text) {
    std::string out;
    for (const char c : text) {
        const bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
                           (c >= 'A' && c <= 'Z') || c == '-' || c == '_' || c == '.';
        out += plain ? std::string(1, c)
                     : fmt::format("%{:02X}", static_cast<unsigned>(static_cast<unsigned char>(c)));
    }
    return out;
}

/// The route with the options that were given.
std::string target_of(const std::string& route, const MarketOptions& options) {
    std::string out = "/v1/market/" + route;
    char separator = '?';
    const auto add = [&](const char* name, const std::string& value) {
        if (value.empty()) return;
        out += fmt::format("{}{}={}", separator, name, escape(value));
        separator = '&';
    };
    add("unit_kind", options.unit_kind);
    add("gpu_model", options.gpu_model);
    add("region", options.region);
    add("limit", options.limit == 0 ? std::string() : std::to_string(options.limit));
    if (route == "candles") add("interval", options.interval);
    return out;
}

std::string time_text(const json& object, const char* name, const char* form) {
    const auto time_s =
        static_cast<std::time_t>(ledger::rpc::integer_at(object, name).value_or(0) / 1000);
    return fmt::format(fmt::runtime(form), fmt::gmtime(time_s));
}

std::string models_text(const json& level) {
    std::string out;
    for (const json& model : level.value("gpu_models", json::array()))
        out += (out.empty() ? "" : ",") + (model.is_string() ? model.get<std::string>() : "?");
    return out.empty() ? "any" : out;
}

void print_trades(Context& context, const json& document) {
    Table table({{"time"},
                 {"unit"},
                 {"machine"},
                 {"region"},
                 {"class"},
                 {"price", Table::Align::kRight},
                 {"units", Table::Align::kRight}});
    for (const json& trade : document.value("data", json::array()))
        table.row({time_text(trade, "time_ms", "{:%m-%d %H:%M:%S}"), trade.value("unit_kind", ""),
                   trade.value("gpu_model", ""), trade.value("region", ""),
                   trade.value("order_class", ""), tokens(u64(trade, "price")),
                   trade.value("units", "")});
    if (table.empty()) return context.say("Nothing was traded yet.");
    table.print(context.out);
}

void print_candles(Context& context, const json& document) {
    std::vector<CandleBar> bars;
    Table table({{"start"},
                 {"open", Table::Align::kRight},
                 {"high", Table::Align::kRight},
                 {"low", Table::Align::kRight},
                 {"close", Table::Align::kRight},
                 {"volume", Table::Align::kRight},
                 {"trades", Table::Align::kRight}});
    for (const json& candle : document.value("data", json::array())) {
        bars.push_back(
            {u64(candle, "open"), u64(candle, "high"), u64(candle, "low"), u64(candle, "close")});
        table.row({time_text(candle, "start_ms", "{:%Y-%m-%d %H:%M}"), tokens(bars.back().open),
                   tokens(bars.back().high), tokens(bars.back().low), tokens(bars.back().close),
                   candle.value("volume", ""),
                   std::to_string(ledger::rpc::integer_at(candle, "trades").value_or(0))});
    }
    if (table.empty()) return context.say("Nothing was traded in that time.");
    if (context.out.live())
        for (const std::string& line : candle_picture(bars, context.out.columns(), kPictureRows))
            context.out.line(line);
    table.print(context.out);
}

void print_index(Context& context, const json& document) {
    Table table({{"unit"}, {"machine"}, {"price", Table::Align::kRight}, {"from"}});
    for (const json& row : document.value("data", json::array())) {
        const bool priced = row.contains("price") && row["price"].is_string();
        const std::string source = row.value("source", "");
        table.row({row.value("unit_kind", ""), row.value("gpu_model", ""),
                   priced ? tokens(u64(row, "price")) : "-",
                   source == "trades"     ? "trades of 24 h"
                   : source == "best_ask" ? "best ask"
                                          : "nothing offered"});
    }
    if (table.empty()) return context.say("Nothing is offered or traded.");
    table.print(context.out);
}

void print_depth(Context& context, const json& document) {
    Table table({{"side"},
                 {"price", Table::Align::kRight},
                 {"units", Table::Align::kRight},
                 {"orders", Table::Align::kRight},
                 {"machine"}});
    const auto read = [&](const char* side) {
        std::vector<DepthBar> bars;
        for (const json& level : document.value(side, json::array())) {
            bars.push_back({tokens(u64(level, "price")), u64(level, "units")});
            table.row({std::string(side).substr(0, 3), bars.back().price, level.value("units", ""),
                       std::to_string(ledger::rpc::integer_at(level, "orders").value_or(0)),
                       models_text(level)});
        }
        return bars;
    };
    const auto asks = read("asks");
    const auto bids = read("bids");
    if (table.empty()) return context.say("Nothing is offered or wanted.");
    if (context.out.live())
        for (const std::string& line :
             depth_picture(asks, bids, context.out.columns(), kPictureRows))
            context.out.line(line);
    table.print(context.out);
}

/// What the provider measured of one GPU, or of the CPU.
std::string speed_text(const json& ask) {
    const std::uint32_t gflop = ask.value("gflop_per_s", 0U);
    const std::uint32_t mb = ask.value("memory_mb_per_s", 0U);
    if (gflop == 0 || mb == 0) return "not told";
    return fmt::format("{} GFLOP/s, {} GB/s", gflop, mb / 1000);
}

void print_book(Context& context, const json& document) {
    Table asks({{"unit"},
                {"price", Table::Align::kRight},
                {"machine"},
                {"speed", Table::Align::kRight},
                {"region"},
                {"online"},
                {"reliable", Table::Align::kRight},
                {"ask"}});
    for (const json& ask : document.value("asks", json::array()))
        asks.row({ask.value("unit_kind", ""), tokens(u64(ask, "price")),
                  fmt::format("{} x {}", ask.value("gpu_count", 0), ask.value("gpu_model", "")),
                  speed_text(ask), ask.value("region", ""),
                  ask.value("online", false) ? "yes" : "no",
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
    if (bids.empty()) return;
    context.say("");
    bids.print(context.out);
}

Result<void> show_market(Context& context, const MarketOptions& options) {
    struct Shown {
        const char* route;
        void (*print)(Context&, const json&);
    };
    static constexpr Shown kViews[] = {{"book", print_book},
                                       {"trades", print_trades},
                                       {"candles", print_candles},
                                       {"index", print_index},
                                       {"depth", print_depth}};
    const Shown& view = kViews[static_cast<std::size_t>(options.view)];
    TRY_ASSIGN(const json document,
               context.market().get(target_of(view.route, options), Auth::kNone));
    if (context.json())
        context.print_json(document);
    else
        view.print(context, document);
    return {};
}

/// `market` alone shows the book; its subcommands other views of it.
void add_market_views(CLI::App& app, const Choose& choose,
                      const std::shared_ptr<MarketOptions>& options) {
    CLI::App* market = app.add_subcommand("market", "Open asks and bids, best price first");
    market->require_subcommand(0, 1);
    const auto filters = [options](CLI::App* command) {
        command->add_option("--unit", options->unit_kind,
                            "training_step, input_token, output_token or gpu_ms");
        command->add_option("--gpu-model", options->gpu_model, "As asks name it");
    };
    filters(market);
    market->add_option("--region", options->region, "Of the asks");
    choose(market, [options](Context& c) { return show_market(c, *options); });
    const auto add = [&](const char* name, const char* text, View view) {
        CLI::App* command = market->add_subcommand(name, text);
        command->fallthrough();
        command->callback([options, view] { options->view = view; });
        return command;
    };
    add("book", "Open asks and bids, best price first", View::kBook);
    CLI::App* trades = add("trades", "What was matched last", View::kTrades);
    filters(trades);
    trades->add_option("--limit", options->limit, "How many")->check(CLI::Range(1, 500));
    CLI::App* candles = add("candles", "Open, high, low, close and volume", View::kCandles);
    candles->add_option("--unit", options->unit_kind, "Unit kind")->required();
    candles->add_option("--gpu-model", options->gpu_model, "As asks name it")->required();
    candles->add_option("--interval", options->interval)
        ->check(CLI::IsMember({"1m", "5m", "1h", "1d"}))
        ->capture_default_str();
    candles->add_option("--limit", options->limit, "How many")->check(CLI::Range(1, 1500));
    add("price", "Mean price of the last 24 hours per GPU model and unit", View::kIndex)
        ->alias("index");
    CLI::App* depth = add("depth", "Units free and wanted per price", View::kDepth);
    depth->add_option("--unit", options->unit_kind, "Unit kind")->required();
    depth->add_option("--gpu-model", options->gpu_model, "As asks name it");
    depth->add_option("--region", options->region, "Of the asks");
    depth->add_option("--limit", options->limit, "Levels per side")->check(CLI::Range(1, 500));
}

}  // namespace

void add_market_commands(CLI::App& app, const Choose& choose) {
    auto options = std::make_shared<MarketOptions>();
    add_market_views(app, choose, options);
}

}  // namespace marketplace::cli
