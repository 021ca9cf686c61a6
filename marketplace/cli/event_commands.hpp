// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "marketplace/cli/context.hpp"

namespace marketplace::cli {

/// What an event of the account says to a person, without its time and kind: "deposit: 12.5 to
/// spend, 0 held, 0 earned". `event` is a body as webhooks get it; a member that is missing is
/// shown as "?".
[[nodiscard]] std::string describe_event(const nlohmann::json& event);

/// `millrace events`.
void add_event_commands(CLI::App& app, const Choose& choose);

}  // namespace marketplace::cli
