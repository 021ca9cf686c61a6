// SPDX-License-Identifier: Apache-2.0
#include "marketplace/app/settlement_rows.hpp"

#include <memory>
#include <string>

namespace marketplace::app {

namespace settlement = ledger::settlement;
using ledger::base::Result;
using storage::Database;
using storage::SettlementStore;

Result<std::vector<settlement::TransactionRecord>> SettlementRows::load_alive() {
    auto out = std::make_shared<std::vector<settlement::TransactionRecord>>();
    TRY(engine_.transact({}, [out](Database& db) -> Result<void> {
        TRY_ASSIGN(*out, SettlementStore(db).load_alive());
        return {};
    }));
    return std::move(*out);
}

Result<std::optional<settlement::TransactionRecord>> SettlementRows::find(
    std::string_view instruction_id) {
    auto out = std::make_shared<std::optional<settlement::TransactionRecord>>();
    TRY(engine_.transact({}, [out, id = std::string(instruction_id)](Database& db) -> Result<void> {
        TRY_ASSIGN(*out, SettlementStore(db).find(id));
        return {};
    }));
    return std::move(*out);
}

Result<std::optional<std::uint64_t>> SettlementRows::next_nonce() {
    auto out = std::make_shared<std::optional<std::uint64_t>>();
    TRY(engine_.transact({}, [out](Database& db) -> Result<void> {
        TRY_ASSIGN(*out, SettlementStore(db).next_nonce());
        return {};
    }));
    return *out;
}

Result<void> SettlementRows::insert(const settlement::TransactionRecord& record) {
    return engine_.transact({}, [record, items = items_, now = clock_.now_ms()](Database& db) {
        return SettlementStore(db).insert(record, items, now);
    });
}

Result<void> SettlementRows::update(const settlement::TransactionRecord& record) {
    return engine_.transact({},
                            [record](Database& db) { return SettlementStore(db).update(record); });
}

}  // namespace marketplace::app
