// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "marketplace/webhooks/webhook.hpp"

#include <string>

/// Standard Webhooks 1.0: HMAC-SHA256 over "id.timestamp.body".
namespace marketplace::webhooks {

inline constexpr std::size_t kSecretBytes = 32;

/// "whsec_…", as receivers' libraries take it.
[[nodiscard]] std::string secret_text(ByteView secret);

/// The header webhook-signature for a message sent at `now_ms`: "v1,…", and a second one by the
/// secret before, separated by a space, while that is still valid.
[[nodiscard]] std::string signatures(const Endpoint& endpoint, const std::string& id,
                                     const std::string& body, TimeMs now_ms);

/// The new secret signs from now on, the old one besides for kOldSecretMs.
void rotate(Endpoint& endpoint, Bytes fresh, TimeMs now_ms);

}  // namespace marketplace::webhooks
