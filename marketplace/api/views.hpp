// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "marketplace/api/ports.hpp"
#include "marketplace/engine/engine.hpp"

#include <nlohmann/json.hpp>

/// The engine's objects as clients see them. Amounts and units are decimal strings.
namespace marketplace::api {

[[nodiscard]] nlohmann::json job_view(const engine::Job& job);
[[nodiscard]] nlohmann::json ask_view(const engine::AskEntry& ask);
/// The text of `ask_view`, without a tree on the way.
[[nodiscard]] std::string ask_text(const engine::AskEntry& ask);
[[nodiscard]] nlohmann::json lease_view(const domain::Lease& lease);
[[nodiscard]] nlohmann::json mismatches_view(const domain::Mismatches& reasons);
[[nodiscard]] nlohmann::json quote_view(const engine::Engine::Quote& quote);
[[nodiscard]] nlohmann::json log_head_view(const LogPort& log);
[[nodiscard]] nlohmann::json settlement_view(const SettlementRow& row);
[[nodiscard]] nlohmann::json record_view(const JobRecord& record);
/// {"id","object":"model","created","owned_by","context_length"}.
[[nodiscard]] nlohmann::json model_view(const PublishedModel& model);

}  // namespace marketplace::api
