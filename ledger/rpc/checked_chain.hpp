// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/clock.hpp"
#include "ledger/rpc/chain.hpp"
#include "ledger/rpc/http_client.hpp"

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace ledger::rpc {

struct ChainNode {
    std::string name;  ///< for logs: without credentials
    std::unique_ptr<Chain> chain;
};
/// One client per URL, named by host and port: a URL's path may hold a secret.
[[nodiscard]] std::vector<ChainNode> dial(const std::vector<std::string>& urls,
                                          HttpLimits limits = {});

struct CheckedChainOptions {
    std::uint64_t chain_id = 0;             ///< a node of another chain never counts
    std::size_t quorum = 0;                 ///< nodes that must agree; 0: more than half
    base::TimeMs head_age_max_ms = 60'000;  ///< an older head is stale; 0: chain mines on demand
    unsigned tries = 5;                     ///< of a question that fails at once
    base::TimeMs retry_after_ms = 1'000;    ///< a node that failed is left alone; doubled
    base::TimeMs retry_after_max_ms = 60'000;
    std::function<void(const std::string&)> on_news;  ///< of one of several nodes
};

struct NodeHealth {
    std::string name;
    std::uint64_t head_number = 0;
    std::string trouble;  ///< empty: none
};

/// Several nodes asked as one: what one node says is not believed before `quorum` say the same.
///
/// The head is the highest block that a quorum has; questions about the latest state are asked at
/// that block, and nodes that do not have it yet are passed over. Gas estimates are the highest
/// of a quorum, fees the median of who answers. What is sent goes to every node.
///
/// Errors: those of `Chain`. Too few answers are chain_unreachable (chain_mismatch when a node
/// serves another chain), answers that differ chain_bad_answer: each names the nodes. One thread
/// at a time, but for `nodes`.
class CheckedChain final : public Chain {
 public:
    /// Keeps a reference to the clock.
    CheckedChain(std::vector<ChainNode> nodes, const base::Clock& clock,
                 CheckedChainOptions options);
    ~CheckedChain() override;

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

    /// How each node is. Any thread.
    [[nodiscard]] std::vector<NodeHealth> nodes() const;

 private:
    struct Node;
    template <typename T>
    struct Answer;
    template <typename T>
    using Ask = std::function<base::Result<T>(Node&)>;
    enum class Until : std::uint8_t { kAgreed = 0, kAllAsked = 1 };

    [[nodiscard]] bool is_alone() const noexcept;
    void set_trouble(Node& node, const std::string& trouble);
    void set_head(Node& node, std::uint64_t number);
    void on_failure(Node& node, base::Error error);
    [[nodiscard]] bool is_usable(Node& node);
    [[nodiscard]] tl::unexpected<base::Error> undecided(std::string_view what, bool differ) const;
    template <typename T>
    [[nodiscard]] std::vector<Answer<T>> collect(const Ask<T>& ask, Until until);
    template <typename T>
    [[nodiscard]] const Answer<T>* agreed(const std::vector<Answer<T>>& answers) const;
    template <typename T>
    [[nodiscard]] base::Result<T> decide(std::string_view what,
                                         const std::vector<Answer<T>>& answers);
    template <typename T>
    [[nodiscard]] base::Result<T> agree(std::string_view what, const Ask<T>& ask);
    /// At a block: nodes that do not have it yet are passed over.
    template <typename T, typename AskAt>
    [[nodiscard]] base::Result<T> agree_at(std::string_view what, BlockTag at, const AskAt& ask);
    [[nodiscard]] base::Result<BlockHead> common_head(BlockTag tag);

    const base::Clock& clock_;
    CheckedChainOptions options_;
    std::vector<Node> nodes_;
    mutable std::mutex mutex_;  // of what `nodes` shows
};

}  // namespace ledger::rpc
