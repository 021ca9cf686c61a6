// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/bytes.hpp"
#include "ledger/base/clock.hpp"
#include "ledger/base/result.hpp"
#include "ledger/eth/u256.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ledger::settlement {

/// What the market wants done on the chain, once. `id` names the batch: the same id is never bound
/// to two nonces.
struct Instruction {
    std::string id;    ///< 1 to 64 characters, unique for ever
    std::string kind;  ///< "open", "claim", "anchor", …: for people and for the store
    base::Address to;
    base::Bytes data;
};

/// Where a transaction stands. It moves along the arrows only:
/// signed → broadcast → mined → final, with mined → broadcast when its block went away.
enum class TransactionState : std::uint8_t {
    kSigned = 0,     ///< stored, perhaps not yet sent
    kBroadcast = 1,  ///< sent at least once: it may have landed
    kMined = 2,      ///< in a block that may still go away
    kFinal = 3,      ///< in a block at finality depth: never moves again
};
[[nodiscard]] std::string_view to_string(TransactionState state) noexcept;

/// One signed form; a fee bump adds another with the same nonce. All are watched.
struct TransactionVersion {
    base::Hash32 hash;
    base::Bytes raw;
    eth::U256 max_fee_per_gas;
    eth::U256 max_priority_fee_per_gas;
    base::TimeMs signed_at_ms = 0;
};

/// Where a version was mined.
struct MinedAt {
    base::Hash32 transaction_hash;
    std::uint64_t block_number = 0;
    base::Hash32 block_hash;
    bool succeeded = false;
    std::uint64_t gas_used = 0;
    friend bool operator==(const MinedAt&, const MinedAt&) = default;
};

/// One intent, bound to one nonce of the operator for ever.
struct TransactionRecord {
    Instruction instruction;
    std::uint64_t nonce = 0;
    std::uint64_t gas_limit = 0;
    TransactionState state = TransactionState::kSigned;
    std::vector<TransactionVersion> versions;  ///< oldest first, never empty
    std::optional<MinedAt> mined;
    base::TimeMs last_sent_ms = 0;
};

/// Where the submitter keeps its records. The market's storage implements it on its own database:
/// `insert` runs in one transaction with whatever binds the batch (vouchers, lease rows) to the
/// instruction's id, so that no crash can separate the two. Every call is durable on return.
class TransactionStore {
 public:
    virtual ~TransactionStore() = default;
    /// Records that are not final, by nonce.
    [[nodiscard]] virtual base::Result<std::vector<TransactionRecord>> load_alive() = 0;
    [[nodiscard]] virtual base::Result<std::optional<TransactionRecord>> find(
        std::string_view instruction_id) = 0;
    /// One above the highest nonce ever bound; empty when none was.
    [[nodiscard]] virtual base::Result<std::optional<std::uint64_t>> next_nonce() = 0;
    /// Refuses (exists_with_different_body) an id or a nonce that is there already.
    [[nodiscard]] virtual base::Result<void> insert(const TransactionRecord& record) = 0;
    /// Replaces state, versions, mined and last_sent_ms of the record with this nonce.
    [[nodiscard]] virtual base::Result<void> update(const TransactionRecord& record) = 0;
};

/// Kept in memory: tests, and programs that send one transaction and wait for it.
class MemoryTransactionStore final : public TransactionStore {
 public:
    [[nodiscard]] base::Result<std::vector<TransactionRecord>> load_alive() override;
    [[nodiscard]] base::Result<std::optional<TransactionRecord>> find(
        std::string_view instruction_id) override;
    [[nodiscard]] base::Result<std::optional<std::uint64_t>> next_nonce() override;
    [[nodiscard]] base::Result<void> insert(const TransactionRecord& record) override;
    [[nodiscard]] base::Result<void> update(const TransactionRecord& record) override;

 private:
    std::vector<TransactionRecord> records_;  // by nonce
};

}  // namespace ledger::settlement
