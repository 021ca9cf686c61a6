// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"
#include "marketplace/webhooks/webhook.hpp"

#include <optional>
#include <string>
#include <vector>

namespace marketplace::api {

/// Webhook endpoints of accounts. All calls block until what they changed is on disk, and see an
/// account's own endpoints only: not_found for every other.
class WebhookPort {
 public:
    virtual ~WebhookPort() = default;
    using Endpoint = webhooks::Endpoint;
    using Delivery = webhooks::Delivery;

    /// invalid_field (URL, events), out_of_range (too many endpoints).
    [[nodiscard]] virtual ledger::base::Result<Endpoint> create(
        const domain::Address& owner, const std::string& url,
        const std::vector<std::string>& events) = 0;
    [[nodiscard]] virtual ledger::base::Result<Endpoint> find(const domain::Address& owner,
                                                              const std::string& id) = 0;
    /// Oldest first.
    [[nodiscard]] virtual ledger::base::Result<std::vector<Endpoint>> list(
        const domain::Address& owner) = 0;

    struct Change {
        std::optional<std::string> url;
        std::optional<std::vector<std::string>> events;
        std::optional<bool> enabled;  ///< true also ends what failures brought about
    };
    [[nodiscard]] virtual ledger::base::Result<Endpoint> change(const domain::Address& owner,
                                                                const std::string& id,
                                                                const Change& change) = 0;
    /// Its deliveries go with it.
    [[nodiscard]] virtual ledger::base::Result<void> remove(const domain::Address& owner,
                                                            const std::string& id) = 0;
    /// A new secret; the one before signs besides for a day.
    [[nodiscard]] virtual ledger::base::Result<Endpoint> rotate(const domain::Address& owner,
                                                                const std::string& id) = 0;
    /// Sends a test event. wrong_state when disabled, rate_limited when others still wait.
    [[nodiscard]] virtual ledger::base::Result<Delivery> test(const domain::Address& owner,
                                                              const std::string& id) = 0;
    /// Newest first, older than the delivery `after` (empty: all).
    [[nodiscard]] virtual ledger::base::Result<std::vector<Delivery>> deliveries(
        const domain::Address& owner, const std::string& id, const std::string& after,
        std::size_t limit) = 0;
    /// Sends a finished delivery again. wrong_state while it is pending or its endpoint disabled.
    [[nodiscard]] virtual ledger::base::Result<Delivery> redeliver(const domain::Address& owner,
                                                                   const std::string& id,
                                                                   const std::string& delivery) = 0;
};

}  // namespace marketplace::api
