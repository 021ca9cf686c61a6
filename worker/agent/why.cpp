// SPDX-License-Identifier: Apache-2.0
#include "ledger/base/hex.hpp"
#include "ledger/base/money.hpp"
#include "ledger/rpc/json.hpp"
#include "worker/agent/asks.hpp"
#include "worker/agent/commands.hpp"
#include "worker/agent/durable_file.hpp"
#include "worker/agent/keys.hpp"
#include "worker/agent/market_facts.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <optional>

namespace worker::agent {
namespace {

using ledger::base::Money;

std::string tokens(std::uint64_t atoms) {
    return Money(static_cast<std::int64_t>(atoms)).to_tokens();
}

}  // namespace

Result<void> run_why(const WorkerConfig& config, Output output) {
    nlohmann::json reasons = nlohmann::json::array();
    const auto say = [&reasons](std::string_view code, std::string text) {
        reasons.push_back({{"code", std::string(code)}, {"text", std::move(text)}});
    };
    const auto status = read_file(config.data / "status.json", 256 * 1024);
    const auto live =
        status ? ledger::rpc::parse_json(*status) : tl::make_unexpected(status.error());
    const std::uint64_t now_ms = ledger::base::SystemClock().now_ms();
    const auto seen_ms =
        live ? ledger::rpc::integer_at(*live, "time_ms") : tl::make_unexpected(live.error());
    if (!seen_ms || now_ms > *seen_ms + 30'000)
        say("not_running", "the worker does not run: start it with `millrace-worker run`");
    else if (const auto state = ledger::rpc::string_at(*live, "state");
             state && *state != "running")
        say(*state, "the worker is " + *state + ": see its log, or run `millrace-worker doctor`");
    if (live && live->is_object())
        for (const auto& model : live->value("models", nlohmann::json::array())) {
            const std::string model_state = model.value("state", "");
            if (model_state != "unloaded" && model_state != "waiting") continue;
            say("model_" + model_state,
                fmt::format("the model {} is {}: {}; job_memory_mib is what models share",
                            model.value("name", ""), model_state, model.value("why", "")));
        }
    const auto text = read_file(config.data / "asks.jsonl", 256 * 1024);
    const auto asks = text ? parse_asks(*text) : tl::make_unexpected(text.error());
    if (!asks) say("no_asks", "nothing is listed: run `millrace-worker run` and see its log");
    TRY_ASSIGN(const auto worker, open_key(config.worker_key, config));
    MarketHttp market(config.market, worker);
    for (const SignedAsk& ask : asks.value_or(std::vector<SignedAsk>{})) {
        if (ask.ask.expiry_s * 1000 <= now_ms) say("expired", "an ask has expired");
        const std::string kind(ledger::eth::to_string(ask.ask.unit_kind));
        const auto book = market.get("/v1/market/book?unit_kind=" + kind);
        if (!book) {
            say("market", "the book cannot be read: " + book.error().message());
            break;
        }
        const auto document = ledger::rpc::parse_json(*book);
        std::optional<std::uint64_t> best;
        if (document && document->contains("asks"))
            for (const auto& level : (*document)["asks"])
                if (const auto price = ledger::rpc::u64_text_at(level, "price"))
                    best = std::min(best.value_or(*price), *price);
        if (best && *best < ask.ask.price_atoms)
            say("price",
                fmt::format("your {} costs {}, the best ask is {}: lower it in worker.toml", kind,
                            tokens(ask.ask.price_atoms), tokens(*best)));
        else
            say("no_demand", fmt::format("your {} at {} is the best price; no bid fits it now",
                                         kind, tokens(ask.ask.price_atoms)));
    }
    if (output == Output::kJson) {
        fmt::print("{}\n", ledger::rpc::to_text({{"reasons", reasons}}));
        return {};
    }
    for (const auto& reason : reasons)
        fmt::print("- {}\n", reason["text"].get<std::string>());
    return {};
}

}  // namespace worker::agent
