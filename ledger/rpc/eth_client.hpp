// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/rpc/chain.hpp"
#include "ledger/rpc/json_rpc.hpp"

#include <memory>
#include <string>

namespace ledger::rpc {

struct EthClientOptions {
    std::uint64_t log_chunk_blocks = 2000;  ///< blocks per eth_getLogs; halved when refused
    std::size_t log_entries_max = 2'000'000;
};

/// A node asked over JSON-RPC. Every answer is bounded and checked strictly. One thread at a time.
class EthClient final : public Chain {
 public:
    /// Dials lazily: no error before the first question.
    explicit EthClient(std::string url, HttpLimits limits = {}, EthClientOptions options = {});
    explicit EthClient(std::unique_ptr<RpcTransport> transport, EthClientOptions options = {});

    [[nodiscard]] base::Result<std::uint64_t> chain_id() override;
    [[nodiscard]] base::Result<std::uint64_t> block_number() override;
    [[nodiscard]] base::Result<BlockHead> block(BlockTag tag) override;
    [[nodiscard]] base::Result<eth::U256> balance(const base::Address& account,
                                                  BlockTag at) override;
    [[nodiscard]] base::Result<std::uint64_t> nonce(const base::Address& account,
                                                    BlockTag at) override;
    [[nodiscard]] base::Result<base::Bytes> code(const base::Address& account,
                                                 BlockTag at) override;
    [[nodiscard]] base::Result<base::Bytes> call(const CallRequest& request, BlockTag at) override;
    [[nodiscard]] base::Result<std::uint64_t> estimate_gas(const CallRequest& request) override;
    [[nodiscard]] base::Result<FeeSuggestion> suggest_fees() override;
    [[nodiscard]] base::Result<base::Hash32> send_raw(base::ByteView raw) override;
    [[nodiscard]] base::Result<std::optional<TransactionReceipt>> receipt(
        const base::Hash32& transaction_hash) override;
    [[nodiscard]] base::Result<std::vector<LogEntry>> logs(const LogFilter& filter) override;

    /// Any other method, for development nodes (anvil_*, evm_*).
    [[nodiscard]] base::Result<nlohmann::json> raw_call(std::string_view method,
                                                        nlohmann::json params);

 private:
    JsonRpcClient client_;
    EthClientOptions options_;
};

}  // namespace ledger::rpc
