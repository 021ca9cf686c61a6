// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "marketplace/storage/database.hpp"
#include "marketplace/webhooks/webhook.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace marketplace::storage {

/// Webhook endpoints and their deliveries. Writing needs the caller's transaction; same thread rule
/// as its database.
class WebhookStore {
 public:
    explicit WebhookStore(Database& database) : database_(database) {}

    /// Adds the endpoint or writes over it.
    [[nodiscard]] ledger::base::Result<void> put_endpoint(const webhooks::Endpoint& endpoint);
    /// With all its deliveries; nothing to do when it is not there.
    [[nodiscard]] ledger::base::Result<void> delete_endpoint(const std::string& id);
    [[nodiscard]] ledger::base::Result<std::optional<webhooks::Endpoint>> endpoint(
        const std::string& id);
    /// Oldest first.
    [[nodiscard]] ledger::base::Result<std::vector<webhooks::Endpoint>> endpoints();
    [[nodiscard]] ledger::base::Result<std::vector<webhooks::Endpoint>> endpoints(
        const domain::Address& owner);
    [[nodiscard]] ledger::base::Result<std::uint64_t> endpoint_count();

    /// False: a delivery of this endpoint and id is there already, and stays as it is.
    [[nodiscard]] ledger::base::Result<bool> add_delivery(const webhooks::Delivery& delivery);
    /// Writes what attempts change.
    [[nodiscard]] ledger::base::Result<void> update_delivery(const webhooks::Delivery& delivery);
    [[nodiscard]] ledger::base::Result<std::optional<webhooks::Delivery>> delivery(
        const std::string& endpoint, const std::string& id);
    /// The pending one that is due first.
    [[nodiscard]] ledger::base::Result<std::optional<webhooks::Delivery>> next_pending(
        const std::string& endpoint);
    /// How many are pending; with `type`, of that type only.
    [[nodiscard]] ledger::base::Result<std::uint64_t> pending_count(const std::string& endpoint,
                                                                    const std::string& type = {});
    /// Newest first, those older than the delivery `after` (empty: from the newest on).
    [[nodiscard]] ledger::base::Result<std::vector<webhooks::Delivery>> deliveries(
        const std::string& endpoint, const std::string& after, std::size_t limit);
    /// Nothing of the endpoint is pending any more: endpoint_disabled.
    [[nodiscard]] ledger::base::Result<void> give_up_pending(const std::string& endpoint);
    /// Drops finished deliveries made before `oldest_ms`, and all but the newest `keep`.
    [[nodiscard]] ledger::base::Result<void> prune(const std::string& endpoint,
                                                   domain::TimeMs oldest_ms, std::size_t keep);

 private:
    Database& database_;
};

}  // namespace marketplace::storage
