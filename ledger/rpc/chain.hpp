// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/bytes.hpp"
#include "ledger/base/result.hpp"
#include "ledger/eth/u256.hpp"

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace ledger::rpc {

/// A block by name or by number.
class BlockTag {
 public:
    enum class Name : std::uint8_t { kNumber, kLatest, kPending, kSafe, kFinalized, kEarliest };
    constexpr BlockTag(Name name) noexcept : name_(name) {}  // NOLINT: a name is a tag
    [[nodiscard]] static constexpr BlockTag number(std::uint64_t value) noexcept {
        BlockTag tag(Name::kNumber);
        tag.number_ = value;
        return tag;
    }
    [[nodiscard]] constexpr Name name() const noexcept { return name_; }
    [[nodiscard]] constexpr std::uint64_t value() const noexcept { return number_; }

 private:
    Name name_;
    std::uint64_t number_ = 0;
};

struct BlockHead {
    std::uint64_t number = 0;
    base::Hash32 hash;
    base::Hash32 parent;
    std::uint64_t time_s = 0;
    eth::U256 base_fee_per_gas;
    friend bool operator==(const BlockHead&, const BlockHead&) = default;
};

struct CallRequest {
    std::optional<base::Address> from;
    std::optional<base::Address> to;  ///< empty: contract creation
    eth::U256 value;
    base::Bytes data;
};

/// EIP-1559 fees that should be mined within a few blocks: max = 2 × base + priority.
struct FeeSuggestion {
    eth::U256 base_fee_per_gas;
    eth::U256 max_priority_fee_per_gas;
    eth::U256 max_fee_per_gas;
    friend bool operator==(const FeeSuggestion&, const FeeSuggestion&) = default;
};

struct LogEntry {
    base::Address address;
    std::vector<base::Hash32> topics;
    base::Bytes data;
    std::uint64_t block_number = 0;
    base::Hash32 block_hash;
    base::Hash32 transaction_hash;
    std::uint64_t log_index = 0;
    friend bool operator==(const LogEntry&, const LogEntry&) = default;
};

struct TransactionReceipt {
    base::Hash32 transaction_hash;
    std::uint64_t block_number = 0;
    base::Hash32 block_hash;
    bool succeeded = false;
    std::uint64_t gas_used = 0;
    eth::U256 effective_gas_price;
    std::optional<base::Address> contract_address;
    std::vector<LogEntry> logs;
    friend bool operator==(const TransactionReceipt&, const TransactionReceipt&) = default;
};

struct LogFilter {
    std::uint64_t from_block = 0;
    std::uint64_t to_block = 0;            ///< inclusive
    std::vector<base::Address> addresses;  ///< any of
    std::vector<base::Hash32> topic0;      ///< the event: any of; empty: all
    std::vector<base::Hash32> topic1;      ///< first indexed argument: any of; empty: all
    std::vector<base::Hash32> topic2;      ///< second indexed argument: any of; empty: all
};

/// What the market needs of an Ethereum-compatible node. `EthClient` asks a real one.
///
/// Errors: chain_refused: the chain says no (a revert: see `revert_data_in`; or the node's
/// refusal); chain_unreachable, timeout: it could not be asked, nothing follows from it;
/// chain_bad_answer: the answer makes no sense and is treated as not asked.
class Chain {
 public:
    virtual ~Chain() = default;
    [[nodiscard]] virtual base::Result<std::uint64_t> chain_id() = 0;
    [[nodiscard]] virtual base::Result<std::uint64_t> block_number() = 0;
    /// not_found when the node has no such block.
    [[nodiscard]] virtual base::Result<BlockHead> block(BlockTag tag) = 0;
    [[nodiscard]] virtual base::Result<eth::U256> balance(const base::Address& account,
                                                          BlockTag at) = 0;
    [[nodiscard]] virtual base::Result<std::uint64_t> nonce(const base::Address& account,
                                                            BlockTag at) = 0;
    [[nodiscard]] virtual base::Result<base::Bytes> code(const base::Address& account,
                                                         BlockTag at) = 0;
    [[nodiscard]] virtual base::Result<base::Bytes> call(const CallRequest& request,
                                                         BlockTag at) = 0;
    [[nodiscard]] virtual base::Result<std::uint64_t> estimate_gas(const CallRequest& request) = 0;
    [[nodiscard]] virtual base::Result<FeeSuggestion> suggest_fees() = 0;
    /// Returns the hash the node computed. A node that knows it already counts as success.
    [[nodiscard]] virtual base::Result<base::Hash32> send_raw(base::ByteView raw) = 0;
    /// Empty when not mined (or not known: the two cannot be told apart).
    [[nodiscard]] virtual base::Result<std::optional<TransactionReceipt>> receipt(
        const base::Hash32& transaction_hash) = 0;
    /// In chain order. Long ranges are asked for in chunks.
    [[nodiscard]] virtual base::Result<std::vector<LogEntry>> logs(const LogFilter& filter) = 0;
};

/// The revert data a chain_refused error of `call` or `estimate_gas` carries, when there is some.
[[nodiscard]] std::optional<base::Bytes> revert_data_in(const base::Error& error);

}  // namespace ledger::rpc
