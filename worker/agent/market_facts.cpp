// SPDX-License-Identifier: Apache-2.0
#include "worker/agent/market_facts.hpp"

#include "ledger/rpc/eth_client.hpp"
#include "ledger/settlement/leases_abi.hpp"
#include "ledger/settlement/submitter.hpp"
#include "worker/agent/durable_file.hpp"

namespace worker::agent {
namespace {

using ledger::base::ErrorCode;
using ledger::base::fail;

constexpr std::size_t kDeploymentBytesMax = 16 * 1024;
constexpr std::uint64_t kTransactionTimeoutMs = 120'000;

std::filesystem::path pin_path(const WorkerConfig& config) {
    return config.data / "deployment.json";
}

}  // namespace

std::unique_ptr<ledger::rpc::Chain> dial_chain(const WorkerConfig& config) {
    return std::make_unique<ledger::rpc::EthClient>(config.rpc);
}

Result<void> send_call(ledger::rpc::Chain& chain, ledger::settlement::TransactionSigner& signer,
                       const Address& to, ledger::base::Bytes data) {
    const auto receipt = ledger::settlement::send_and_wait(chain, signer, to, std::move(data),
                                                           kTransactionTimeoutMs);
    if (receipt) return {};
    if (receipt.error().code() == ErrorCode::chain_refused)
        return fail(ErrorCode::chain_refused, ledger::settlement::explain_revert(receipt.error()));
    return tl::make_unexpected(receipt.error());
}

Result<ledger::settlement::Deployment> pinned_deployment(const WorkerConfig& config) {
    TRY_ASSIGN(const std::string text, read_file(pin_path(config), kDeploymentBytesMax));
    return ledger::settlement::parse_deployment(text);
}

Result<MarketFacts> pinned_facts(const WorkerConfig& config, const MarketHttp& market) {
    TRY_ASSIGN(MarketFacts facts, market.facts());
    const auto pinned = pinned_deployment(config);
    if (pinned && *pinned != facts.deployment)
        return fail(ErrorCode::chain_mismatch,
                    "the market at " + market.market() +
                        " settles on other contracts than this worker was set up for; if that is "
                        "meant, remove " +
                        pin_path(config).string());
    if (!pinned && pinned.error().code() != ErrorCode::data_missing)
        return tl::make_unexpected(pinned.error());
    const auto chain = dial_chain(config);
    TRY_ASSIGN(const std::uint64_t chain_id, chain->chain_id());
    if (chain_id != facts.deployment.chain_id)
        return fail(ErrorCode::chain_mismatch, "the node at " + config.rpc + " serves chain " +
                                                   std::to_string(chain_id) +
                                                   ", the market settles on chain " +
                                                   std::to_string(facts.deployment.chain_id));
    if (!pinned) TRY(write_file(pin_path(config), facts.deployment_json));
    return facts;
}

}  // namespace worker::agent
