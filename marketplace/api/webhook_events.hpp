// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "marketplace/engine/engine.hpp"
#include "marketplace/engine/journal.hpp"

#include <functional>
#include <string>
#include <vector>

namespace marketplace::api {

/// What a record of the journal means to the accounts it concerns.
struct WebhookEvent {
    std::size_t index = 0;  ///< of the event in its record
    std::vector<domain::Address> to;
    std::string type;  ///< one of webhooks::kEventTypes
    std::string body;  ///< {"type","timestamp","data"}, as Standard Webhooks has it
};

using WantsEvents = std::function<bool(const domain::Address&)>;
/// The events that concern somebody who `wants` any. Who is concerned, the engine knows: buyer and
/// provider of a lease, the buyer of a job, the provider of an ask. On the engine's thread.
[[nodiscard]] std::vector<WebhookEvent> webhook_events(const engine::Record& record,
                                                       const engine::Engine& engine,
                                                       const WantsEvents& wants);

/// The body of a test event.
[[nodiscard]] std::string webhook_test_body(const std::string& endpoint, domain::TimeMs now_ms);

}  // namespace marketplace::api
