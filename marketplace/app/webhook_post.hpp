// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/rpc/guarded_post.hpp"
#include "marketplace/app/webhook_sender.hpp"

namespace marketplace::app {

/// Sends webhooks over the network, to where `reach` lets them go.
[[nodiscard]] WebhookPost make_webhook_post(ledger::rpc::Reach reach);

/// invalid_field: the URL is none that may be called.
[[nodiscard]] ledger::base::Result<void> check_webhook_url(const std::string& url,
                                                           ledger::rpc::Reach reach);

}  // namespace marketplace::app
