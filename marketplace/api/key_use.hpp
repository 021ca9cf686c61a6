// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "marketplace/api/services.hpp"

#include <memory>

/// What an API key means for a request under way.
namespace marketplace::api {

/// The budget of one request made with `key`; what is paid is kept in the catalog by the desk. Null
/// without a key.
[[nodiscard]] std::shared_ptr<Budget> make_budget(Services& services, std::shared_ptr<LiveKey> key);

/// Asks the chain in the background, at most twice a minute, whether the delegation of the key
/// still holds, and revokes the key when its owner revoked that. Any thread; does nothing for other
/// keys.
void watch_delegation(Services& services, const std::shared_ptr<LiveKey>& key);

}  // namespace marketplace::api
