// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "marketplace/cli/context.hpp"

namespace marketplace::cli {

/// `millrace webhooks`: add, remove, rotate, test, deliveries, redeliver.
void add_webhook_commands(CLI::App& app, const Choose& choose);

}  // namespace marketplace::cli
