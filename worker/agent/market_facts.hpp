// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/rpc/chain.hpp"
#include "ledger/settlement/transaction_signer.hpp"
#include "worker/agent/config.hpp"
#include "worker/agent/market_http.hpp"

#include <memory>

namespace worker::agent {

/// A connection to the configured node.
[[nodiscard]] std::unique_ptr<ledger::rpc::Chain> dial_chain(const WorkerConfig& config);

/// Sends one call and waits for its receipt; chain_refused explains a revert.
[[nodiscard]] Result<void> send_call(ledger::rpc::Chain& chain,
                                     ledger::settlement::TransactionSigner& signer,
                                     const Address& to, ledger::base::Bytes data);

/// The market's facts, held against `deployment.json` in the data folder: the first market seen is
/// the one this worker belongs to. chain_mismatch when the market or the node is another one.
[[nodiscard]] Result<MarketFacts> pinned_facts(const WorkerConfig& config,
                                               const MarketHttp& market);
/// The deployment kept from an earlier start; data_missing when there was none.
[[nodiscard]] Result<ledger::settlement::Deployment> pinned_deployment(const WorkerConfig& config);

}  // namespace worker::agent
