// SPDX-License-Identifier: Apache-2.0
#include "worker/agent/siwe.hpp"

#include "ledger/crypto/address.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <ctime>

namespace worker::agent {
namespace {

std::string iso_time(ledger::base::TimeMs time_ms) {
    return fmt::format("{:%Y-%m-%dT%H:%M:%S}Z",
                       fmt::gmtime(static_cast<std::time_t>(time_ms / 1000)));
}

}  // namespace

std::string siwe_message(std::string_view market, const ledger::base::Address& account,
                         std::uint64_t chain_id, std::string_view nonce,
                         ledger::base::TimeMs now_ms) {
    constexpr ledger::base::TimeMs kValidMs = 5 * 60 * 1000;
    const auto scheme = market.find("://");
    const std::string_view domain =
        scheme == std::string_view::npos ? market : market.substr(scheme + 3);
    return fmt::format(
        "{} wants you to sign in with your Ethereum account:\n{}\n\nSign in to Millrace.\n\n"
        "URI: {}\nVersion: 1\nChain ID: {}\nNonce: {}\nIssued At: {}\nExpiration Time: {}",
        domain, ledger::crypto::to_checksum(account), market, chain_id, nonce, iso_time(now_ms),
        iso_time(now_ms + kValidMs));
}

}  // namespace worker::agent
