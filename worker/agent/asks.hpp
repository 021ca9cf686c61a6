// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"
#include "ledger/crypto/secp256k1.hpp"
#include "ledger/eth/messages.hpp"
#include "marketplace/domain/command.hpp"
#include "worker/agent/config.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace worker::agent {

/// An ask with its signature and resource, as it is posted.
using SignedAsk = marketplace::domain::PostAsk;

/// What this machine offers, as the ask's resource document says it.
[[nodiscard]] marketplace::domain::Resource make_resource(const WorkerConfig& config,
                                                          const ledger::base::Address& worker,
                                                          const std::string& runtime);

/// One ask per price above zero, signed by the provider, matched by the market's operator only.
[[nodiscard]] std::vector<SignedAsk> make_asks(const WorkerConfig& config,
                                               const marketplace::domain::Resource& resource,
                                               const ledger::crypto::PrivateKey& provider,
                                               const ledger::base::Address& operator_address,
                                               const ledger::eth::Domain& domain,
                                               std::uint64_t now_s);

/// True when stored asks still say what the settings say, for this provider, and live another
/// quarter of their time.
[[nodiscard]] bool asks_current(const std::vector<SignedAsk>& asks, const WorkerConfig& config,
                                const marketplace::domain::Resource& resource,
                                const ledger::base::Address& provider,
                                const ledger::base::Address& operator_address, std::uint64_t now_s);

/// One line per ask: the body it is posted with.
[[nodiscard]] std::string to_text(const std::vector<SignedAsk>& asks);
[[nodiscard]] ledger::base::Result<std::vector<SignedAsk>> parse_asks(std::string_view text);

}  // namespace worker::agent
