// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/bytes.hpp"
#include "ledger/base/clock.hpp"

#include <cstdint>
#include <string>
#include <string_view>

namespace worker::agent {

/// The sign-in text (ERC-4361) for `market` (http://host:port), valid for five minutes.
[[nodiscard]] std::string siwe_message(std::string_view market,
                                       const ledger::base::Address& account, std::uint64_t chain_id,
                                       std::string_view nonce, ledger::base::TimeMs now_ms);

}  // namespace worker::agent
