// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/settlement/leases_abi.hpp"
#include "ledger/settlement/transaction_store.hpp"
#include "marketplace/domain/resource.hpp"
#include "marketplace/storage/database.hpp"

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <vector>

namespace marketplace::storage {

/// What one transaction settles of one lease. `sequence` is the voucher's for claims, else 0.
struct SettlementItem {
    std::string kind;
    domain::Hash32 lease;
    std::uint64_t sequence = 0;
    friend auto operator<=>(const SettlementItem&, const SettlementItem&) = default;
};

/// What became of a lease's claim by the worker alone: it waits, or is gone.
struct LoneClaimChange {
    domain::Hash32 lease;
    std::optional<ledger::settlement::ClaimedAlone> waits;
};

/// The rows of ledger/settlement's transactions and of what they settle. Writing needs the
/// caller's transaction; same thread rule as its database.
class SettlementStore {
 public:
    explicit SettlementStore(Database& database) : database_(database) {}

    [[nodiscard]] ledger::base::Result<std::vector<ledger::settlement::TransactionRecord>>
    load_alive();
    [[nodiscard]] ledger::base::Result<std::optional<ledger::settlement::TransactionRecord>> find(
        std::string_view instruction_id);
    [[nodiscard]] ledger::base::Result<std::optional<std::uint64_t>> next_nonce();
    /// Binds every item to this nonce in the same transaction: exists_with_different_body when one
    /// of them is settled already.
    [[nodiscard]] ledger::base::Result<void> insert(
        const ledger::settlement::TransactionRecord& record,
        const std::vector<SettlementItem>& items, domain::TimeMs now_ms);
    [[nodiscard]] ledger::base::Result<void> update(
        const ledger::settlement::TransactionRecord& record);
    /// Frees the items of a transaction that is final and reverted, so that they are tried again.
    [[nodiscard]] ledger::base::Result<void> release(std::uint64_t nonce);
    /// The same for all of them, and for those that lost their nonce to another program.
    [[nodiscard]] ledger::base::Result<void> release_failed();

    /// Those of these transactions that were signed here to open leases.
    [[nodiscard]] ledger::base::Result<std::set<domain::Hash32>> own_opens_among(
        const std::set<domain::Hash32>& transactions);
    [[nodiscard]] ledger::base::Result<std::set<SettlementItem>> bound_items();
    [[nodiscard]] ledger::base::Result<std::vector<SettlementItem>> items_of(std::uint64_t nonce);
    /// Transactions with a nonce of at least `first`, in order.
    [[nodiscard]] ledger::base::Result<std::vector<ledger::settlement::TransactionRecord>> list(
        std::uint64_t first, std::size_t limit);

    [[nodiscard]] ledger::base::Result<std::vector<ledger::settlement::ClaimedAlone>> lone_claims();
    [[nodiscard]] ledger::base::Result<void> apply(const std::vector<LoneClaimChange>& changes);

 private:
    Database& database_;
};

}  // namespace marketplace::storage
