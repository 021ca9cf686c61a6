// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "marketplace/cli/public_log.hpp"
#include "marketplace/engine/engine.hpp"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

/// Takes every decision of a market anew.
namespace marketplace::cli {

/// The rules a market decides by, as its facts name them (/v1/market/info). missing_field and
/// invalid_field name what cannot be read; a rule that an older market does not name has its usual
/// value.
[[nodiscard]] Result<engine::EngineConfig> parse_rules(const nlohmann::json& facts);
/// The same members, for the head of a log's file.
[[nodiscard]] nlohmann::json rules_json(const engine::EngineConfig& rules);

/// What a replay found.
struct ReplayReport {
    std::uint64_t records = 0;  ///< that came out the same
    std::uint64_t events = 0;
    Hash32 state_hash;   ///< after the last of them
    std::string defect;  ///< what differs in record number `records`; empty: nothing does
};
/// Applies every command anew and compares events and state hash of each record. `progress` is
/// called now and then with what was found so far.
[[nodiscard]] Result<ReplayReport> replay(RecordReader& reader, const engine::EngineConfig& rules,
                                          const std::function<void(const ReplayReport&)>& progress);

}  // namespace marketplace::cli
