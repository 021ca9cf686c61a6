// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/bytes.hpp"
#include "ledger/base/result.hpp"
#include "ledger/eth/messages.hpp"

#include <string>
#include <string_view>

namespace marketplace::wire {

/// A head of the public log with one signature: {"size", "root", "timeMs", "signature"}.
struct SignedHead {
    ledger::eth::TreeHead head;
    ledger::base::Signature signature;
    friend bool operator==(const SignedHead&, const SignedHead&) = default;
};
[[nodiscard]] ledger::base::Result<SignedHead> parse_signed_head(std::string_view body);
[[nodiscard]] std::string to_json(const SignedHead& value);

}  // namespace marketplace::wire
