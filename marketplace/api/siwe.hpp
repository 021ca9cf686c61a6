// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/bytes.hpp"
#include "ledger/base/clock.hpp"
#include "ledger/base/result.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace marketplace::api {

/// A Sign-In with Ethereum message (ERC-4361), taken apart.
struct SiweMessage {
    std::string scheme;  ///< empty when the message names none
    std::string domain;  ///< "market.example:8460"
    ledger::base::Address address;
    std::string statement;
    std::string uri;
    std::uint64_t chain_id = 0;
    std::string nonce;
    ledger::base::TimeMs issued_at_ms = 0;
    std::optional<ledger::base::TimeMs> expires_at_ms;
    std::optional<ledger::base::TimeMs> not_before_ms;
    std::string request_id;
    std::vector<std::string> resources;
};

/// Strict: lines in the standard's order, nothing else. The address needs its checksum.
[[nodiscard]] ledger::base::Result<SiweMessage> parse_siwe(std::string_view text);

/// RFC 3339: "2026-11-22T06:18:17Z", fractions and offsets allowed.
[[nodiscard]] ledger::base::Result<ledger::base::TimeMs> parse_rfc3339(std::string_view text);
[[nodiscard]] std::string to_rfc3339(ledger::base::TimeMs time_ms);

}  // namespace marketplace::api
