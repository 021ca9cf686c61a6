// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/clock.hpp"
#include "ledger/settlement/transaction_store.hpp"
#include "marketplace/app/engine_thread.hpp"
#include "marketplace/storage/settlement_store.hpp"

#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace marketplace::app {

/// ledger/settlement's rows on the market's database. Each call is one durable transaction on the
/// engine thread; `insert` also binds the items named before it.
class SettlementRows final : public ledger::settlement::TransactionStore {
 public:
    SettlementRows(EngineThread& engine, const ledger::base::Clock& clock)
        : engine_(engine), clock_(clock) {}

    void set_items(std::vector<storage::SettlementItem> items) { items_ = std::move(items); }

    [[nodiscard]] ledger::base::Result<std::vector<ledger::settlement::TransactionRecord>>
    load_alive() override;
    [[nodiscard]] ledger::base::Result<std::optional<ledger::settlement::TransactionRecord>> find(
        std::string_view instruction_id) override;
    [[nodiscard]] ledger::base::Result<std::optional<std::uint64_t>> next_nonce() override;
    [[nodiscard]] ledger::base::Result<void> insert(
        const ledger::settlement::TransactionRecord& record) override;
    [[nodiscard]] ledger::base::Result<void> update(
        const ledger::settlement::TransactionRecord& record) override;

 private:
    EngineThread& engine_;
    const ledger::base::Clock& clock_;
    std::vector<storage::SettlementItem> items_;
};

}  // namespace marketplace::app
