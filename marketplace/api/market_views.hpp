// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "marketplace/engine/market_data.hpp"

#include <nlohmann/json.hpp>

#include <string>
#include <string_view>

/// Market data as clients see it. Prices, units and amounts are decimal strings.
namespace marketplace::api {

/// {"id":"<sequence>-<index>","object":"trade",…}
[[nodiscard]] nlohmann::json trade_view(const engine::Trade& trade);
/// "mean" is the volume-weighted price, rounded down.
[[nodiscard]] nlohmann::json candle_view(const engine::Candle& candle);
[[nodiscard]] nlohmann::json level_view(const engine::PriceLevel& level);
[[nodiscard]] nlohmann::json index_view(const engine::IndexPrice& price);

/// The event's name on the stream: "order_accepted", "order_closed", "match", "candle",
/// "batch_cleared", "level".
[[nodiscard]] std::string_view change_name(const engine::Change& change) noexcept;
[[nodiscard]] nlohmann::json change_view(const engine::NumberedChange& change);

}  // namespace marketplace::api
