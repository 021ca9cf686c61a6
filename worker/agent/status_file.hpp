// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/agent/agent.hpp"

#include <filesystem>
#include <string_view>
#include <vector>

namespace worker::agent {

/// Writes `status.json` for `millrace-worker status`: a hint for people, not synced.
void write_status_file(const std::filesystem::path& data, std::string_view state,
                       std::string_view market, const Identity& identity,
                       const std::vector<SessionStatus>& sessions, const ModelMemory& models);

}  // namespace worker::agent
