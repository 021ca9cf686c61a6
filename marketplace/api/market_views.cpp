// SPDX-License-Identifier: Apache-2.0
#include "marketplace/api/market_views.hpp"

#include "ledger/base/hex.hpp"

#include <fmt/format.h>

#include <array>

namespace marketplace::api {

using engine::Side;
using ledger::base::to_hex;
using nlohmann::json;

namespace {

[[nodiscard]] std::string decimal(ledger::base::Uint128 value) {
    return fmt::format("{}", value);
}

[[nodiscard]] const char* name_of(Side side) {
    return side == Side::kAsk ? "ask" : "bid";
}

/// Which order: {"ask"} or {"job","leg"}.
void put_order(json& out, Side side, const domain::Hash32& ask, const engine::BidRef& bid) {
    out["side"] = name_of(side);
    if (side == Side::kAsk) {
        out["ask"] = to_hex(ask);
    } else {
        out["job"] = bid.job.to_string();
        out["leg"] = bid.leg;
    }
}

[[nodiscard]] json view_of(const engine::OrderAccepted& order) {
    json out;
    put_order(out, order.side, order.ask, order.bid);
    out["unit_kind"] = std::string(to_string(order.unit_kind));
    out["gpu_models"] = order.gpu_models;
    if (order.side == Side::kAsk) out["region"] = order.region;
    out["order_class"] = std::string(to_string(order.order_class));
    out["price"] = std::to_string(order.price_atoms);
    out["units"] = std::to_string(order.units);
    return out;
}

[[nodiscard]] json view_of(const engine::OrderClosed& order) {
    json out;
    put_order(out, order.side, order.ask, order.bid);
    out["reason"] = order.reason;
    return out;
}

[[nodiscard]] json view_of(const engine::Trade& trade) {
    return trade_view(trade);
}

[[nodiscard]] json view_of(const engine::ClosedCandle& closed) {
    json out = candle_view(closed.candle);
    out["unit_kind"] = std::string(to_string(closed.good.unit_kind));
    out["gpu_model"] = closed.good.gpu_model;
    out["interval"] = std::string(to_string(closed.interval));
    return out;
}

[[nodiscard]] json view_of(const domain::BatchCleared& batch) {
    return {{"unit_kind", std::string(to_string(batch.unit_kind))},
            {"gpu_models", batch.gpu_models},
            {"price", std::to_string(batch.price_atoms)},
            {"bids", batch.bids},
            {"matched", batch.matched}};
}

[[nodiscard]] json view_of(const engine::PriceLevel& level) {
    json out = level_view(level);
    out["side"] = name_of(level.side);
    out["unit_kind"] = std::string(to_string(level.unit_kind));
    return out;
}

}  // namespace

json trade_view(const engine::Trade& trade) {
    json out;
    out["id"] = fmt::format("{}-{}", trade.sequence, trade.index);
    out["object"] = "trade";
    out["sequence"] = trade.sequence;
    out["index"] = trade.index;
    out["time_ms"] = trade.time_ms;
    out["lease"] = to_hex(trade.lease);
    out["unit_kind"] = std::string(to_string(trade.good.unit_kind));
    out["gpu_model"] = trade.good.gpu_model;
    out["region"] = trade.region;
    out["order_class"] = std::string(to_string(trade.order_class));
    out["price"] = std::to_string(trade.price_atoms);
    out["units"] = std::to_string(trade.units);
    return out;
}

json candle_view(const engine::Candle& candle) {
    return {{"start_ms", candle.start_ms},
            {"open", std::to_string(candle.open_atoms)},
            {"high", std::to_string(candle.high_atoms)},
            {"low", std::to_string(candle.low_atoms)},
            {"close", std::to_string(candle.close_atoms)},
            {"mean", decimal(candle.turnover / candle.volume_units)},
            {"volume", decimal(candle.volume_units)},
            {"trades", candle.trades}};
}

json level_view(const engine::PriceLevel& level) {
    return {{"price", std::to_string(level.price_atoms)},
            {"gpu_models", level.gpu_models},
            {"units", std::to_string(level.units)},
            {"orders", level.orders}};
}

json index_view(const engine::IndexPrice& price) {
    static constexpr std::array<const char*, 3> kSources = {"none", "trades", "best_ask"};
    json out;
    out["unit_kind"] = std::string(to_string(price.good.unit_kind));
    out["gpu_model"] = price.good.gpu_model;
    out["price"] = price.price_atoms ? json(std::to_string(*price.price_atoms)) : json(nullptr);
    out["source"] = kSources.at(static_cast<std::size_t>(price.source));
    return out;
}

std::string_view change_name(const engine::Change& change) noexcept {
    static constexpr std::array<std::string_view, std::variant_size_v<engine::Change>> kNames = {
        "order_accepted", "order_closed", "match", "candle", "batch_cleared", "level"};
    return kNames[change.index()];
}

json change_view(const engine::NumberedChange& change) {
    json out =
        std::visit([](const auto& alternative) { return view_of(alternative); }, change.change);
    out["sequence"] = change.sequence;
    out["time_ms"] = change.time_ms;
    return out;
}

}  // namespace marketplace::api
