// SPDX-License-Identifier: Apache-2.0
#include "marketplace/webhooks/signing.hpp"

#include "ledger/base/base64.hpp"
#include "ledger/crypto/hmac.hpp"

#include <fmt/format.h>

#include <utility>

namespace marketplace::webhooks {

using ledger::base::as_bytes;
using ledger::base::to_base64;

std::string secret_text(ByteView secret) {
    return "whsec_" + to_base64(secret);
}

std::string signatures(const Endpoint& endpoint, const std::string& id, const std::string& body,
                       TimeMs now_ms) {
    const std::string text = fmt::format("{}.{}.{}", id, now_ms / 1000, body);
    const auto sign = [&text](ByteView secret) {
        return "v1," + to_base64(ledger::crypto::hmac_sha256(secret, as_bytes(text)));
    };
    std::string out = sign(endpoint.secret);
    if (now_ms < endpoint.old_secret_until_ms) out += " " + sign(endpoint.old_secret);
    return out;
}

void rotate(Endpoint& endpoint, Bytes fresh, TimeMs now_ms) {
    endpoint.old_secret = std::exchange(endpoint.secret, std::move(fresh));
    endpoint.old_secret_until_ms = now_ms + kOldSecretMs;
}

}  // namespace marketplace::webhooks
