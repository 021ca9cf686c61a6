// SPDX-License-Identifier: Apache-2.0
#include "marketplace/storage/settlement_store.hpp"

#include "marketplace/storage/columns.hpp"

namespace marketplace::storage {
namespace {

using domain::Address;
using domain::Hash32;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;
using ledger::settlement::MinedAt;
using ledger::settlement::TransactionRecord;
using ledger::settlement::TransactionState;
using ledger::settlement::TransactionVersion;

constexpr const char* kSelect =
    "SELECT nonce, id, kind, destination, data, gas_limit, state, mined_hash, mined_block, "
    "mined_block_hash, mined_succeeded, mined_gas, last_sent_ms FROM transactions ";

ledger::eth::U256 fee(const SQLite::Column& column) {
    const auto value = ledger::eth::parse_decimal(column.getString());
    if (!value) throw SQLite::Exception("not a fee", 11);
    return *value;
}

std::vector<TransactionVersion> read_versions(SQLite::Database& db, std::uint64_t nonce) {
    std::vector<TransactionVersion> out;
    SQLite::Statement select(db,
                             "SELECT hash, raw, max_fee, priority_fee, signed_at_ms FROM "
                             "transaction_versions WHERE nonce = ? ORDER BY position");
    select.bind(1, to_column(nonce));
    while (select.executeStep())
        out.push_back({fixed<Hash32>(select.getColumn(0)), blob(select.getColumn(1)),
                       fee(select.getColumn(2)), fee(select.getColumn(3)),
                       number(select.getColumn(4))});
    return out;
}

TransactionRecord read_record(SQLite::Database& db, SQLite::Statement& row) {
    TransactionRecord out;
    out.nonce = number(row.getColumn(0));
    out.instruction.id = row.getColumn(1).getString();
    out.instruction.kind = row.getColumn(2).getString();
    out.instruction.to = fixed<Address>(row.getColumn(3));
    out.instruction.data = blob(row.getColumn(4));
    out.gas_limit = number(row.getColumn(5));
    out.state = static_cast<TransactionState>(row.getColumn(6).getInt());
    if (!row.getColumn(7).isNull()) {
        MinedAt mined;
        mined.transaction_hash = fixed<Hash32>(row.getColumn(7));
        mined.block_number = number(row.getColumn(8));
        mined.block_hash = fixed<Hash32>(row.getColumn(9));
        mined.succeeded = row.getColumn(10).getInt() != 0;
        mined.gas_used = number(row.getColumn(11));
        out.mined = mined;
    }
    out.last_sent_ms = number(row.getColumn(12));
    out.versions = read_versions(db, out.nonce);
    return out;
}

void write_versions(SQLite::Database& db, const TransactionRecord& record) {
    SQLite::Statement insert(
        db,
        "INSERT OR REPLACE INTO transaction_versions(nonce, position, hash, "
        "raw, max_fee, priority_fee, signed_at_ms) VALUES(?, ?, ?, ?, ?, ?, ?)");
    int position = 0;
    for (const TransactionVersion& version : record.versions) {
        insert.bind(1, to_column(record.nonce));
        insert.bind(2, position++);
        bind_blob(insert, 3, version.hash.span());
        bind_blob(insert, 4, version.raw);
        insert.bind(5, ledger::eth::to_decimal(version.max_fee_per_gas));
        insert.bind(6, ledger::eth::to_decimal(version.max_priority_fee_per_gas));
        insert.bind(7, to_column(version.signed_at_ms));
        insert.exec();
        insert.reset();
    }
}

void bind_mined(SQLite::Statement& statement, int first, const std::optional<MinedAt>& mined) {
    if (!mined) {
        for (int i = 0; i < 5; ++i)
            statement.bind(first + i);
        return;
    }
    bind_blob(statement, first, mined->transaction_hash.span());
    statement.bind(first + 1, to_column(mined->block_number));
    bind_blob(statement, first + 2, mined->block_hash.span());
    statement.bind(first + 3, mined->succeeded ? 1 : 0);
    statement.bind(first + 4, to_column(mined->gas_used));
}

}  // namespace

Result<std::vector<TransactionRecord>> SettlementStore::load_alive() {
    std::vector<TransactionRecord> out;
    TRY(database_.run([&](SQLite::Database& db) {
        SQLite::Statement select(db, std::string(kSelect) + "WHERE state < 3 ORDER BY nonce");
        while (select.executeStep())
            out.push_back(read_record(db, select));
    }));
    return out;
}

Result<std::optional<TransactionRecord>> SettlementStore::find(std::string_view instruction_id) {
    std::optional<TransactionRecord> out;
    TRY(database_.run([&](SQLite::Database& db) {
        SQLite::Statement select(db, std::string(kSelect) + "WHERE id = ?");
        select.bind(1, std::string(instruction_id));
        if (select.executeStep()) out = read_record(db, select);
    }));
    return out;
}

Result<std::optional<std::uint64_t>> SettlementStore::next_nonce() {
    std::optional<std::uint64_t> out;
    TRY(database_.run([&](SQLite::Database& db) {
        const SQLite::Column highest = db.execAndGet("SELECT max(nonce) FROM transactions");
        if (!highest.isNull()) out = number(highest) + 1;
    }));
    return out;
}

Result<void> SettlementStore::insert(const TransactionRecord& record,
                                     const std::vector<SettlementItem>& items,
                                     domain::TimeMs now_ms) {
    return database_.run([&](SQLite::Database& db) {
        SQLite::Statement insert(
            db,
            "INSERT INTO transactions(nonce, id, kind, destination, data, gas_limit, state, "
            "mined_hash, mined_block, mined_block_hash, mined_succeeded, mined_gas, last_sent_ms, "
            "created_ms) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
        insert.bind(1, to_column(record.nonce));
        insert.bind(2, record.instruction.id);
        insert.bind(3, record.instruction.kind);
        bind_blob(insert, 4, record.instruction.to.span());
        bind_blob(insert, 5, record.instruction.data);
        insert.bind(6, to_column(record.gas_limit));
        insert.bind(7, static_cast<int>(record.state));
        bind_mined(insert, 8, record.mined);
        insert.bind(13, to_column(record.last_sent_ms));
        insert.bind(14, to_column(now_ms));
        insert.exec();
        write_versions(db, record);
        SQLite::Statement bind(
            db, "INSERT INTO settlement_items(kind, lease, sequence, nonce) VALUES(?, ?, ?, ?)");
        for (const SettlementItem& item : items) {
            bind.bind(1, item.kind);
            bind_blob(bind, 2, item.lease.span());
            bind.bind(3, to_column(item.sequence));
            bind.bind(4, to_column(record.nonce));
            bind.exec();
            bind.reset();
        }
    });
}

Result<void> SettlementStore::update(const TransactionRecord& record) {
    int changed = 0;
    TRY(database_.run([&](SQLite::Database& db) {
        SQLite::Statement update(
            db,
            "UPDATE transactions SET state = ?, mined_hash = ?, mined_block = ?, "
            "mined_block_hash = ?, mined_succeeded = ?, mined_gas = ?, last_sent_ms = ? "
            "WHERE nonce = ?");
        update.bind(1, static_cast<int>(record.state));
        bind_mined(update, 2, record.mined);
        update.bind(7, to_column(record.last_sent_ms));
        update.bind(8, to_column(record.nonce));
        changed = update.exec();
        write_versions(db, record);
    }));
    if (changed == 0) return fail(ErrorCode::not_found, "no transaction with this nonce");
    return {};
}

Result<void> SettlementStore::release(std::uint64_t nonce) {
    return database_.run([&](SQLite::Database& db) {
        SQLite::Statement remove(db, "DELETE FROM settlement_items WHERE nonce = ?");
        remove.bind(1, to_column(nonce));
        remove.exec();
    });
}

Result<void> SettlementStore::release_failed() {
    return database_.run([](SQLite::Database& db) {
        db.exec(
            "DELETE FROM settlement_items WHERE nonce IN "
            "(SELECT nonce FROM transactions WHERE state = 3 AND mined_succeeded IS NOT 1)");
    });
}

Result<std::set<Hash32>> SettlementStore::own_opens_among(const std::set<Hash32>& transactions) {
    std::set<Hash32> out;
    if (transactions.empty()) return out;
    TRY(database_.run([&](SQLite::Database& db) {
        SQLite::Statement select(
            db,
            "SELECT 1 FROM transaction_versions JOIN transactions USING(nonce) "
            "WHERE hash = ? AND kind = 'open' LIMIT 1");
        for (const Hash32& transaction : transactions) {
            bind_blob(select, 1, transaction.span());
            if (select.executeStep()) out.insert(transaction);
            select.reset();
        }
    }));
    return out;
}

Result<std::set<SettlementItem>> SettlementStore::bound_items() {
    std::set<SettlementItem> out;
    TRY(database_.run([&](SQLite::Database& db) {
        SQLite::Statement select(db, "SELECT kind, lease, sequence FROM settlement_items");
        while (select.executeStep())
            out.insert({select.getColumn(0).getString(), fixed<Hash32>(select.getColumn(1)),
                        number(select.getColumn(2))});
    }));
    return out;
}

Result<std::vector<SettlementItem>> SettlementStore::items_of(std::uint64_t nonce) {
    std::vector<SettlementItem> out;
    TRY(database_.run([&](SQLite::Database& db) {
        SQLite::Statement select(
            db, "SELECT kind, lease, sequence FROM settlement_items WHERE nonce = ?");
        select.bind(1, to_column(nonce));
        while (select.executeStep())
            out.push_back({select.getColumn(0).getString(), fixed<Hash32>(select.getColumn(1)),
                           number(select.getColumn(2))});
    }));
    return out;
}

Result<std::vector<TransactionRecord>> SettlementStore::list(std::uint64_t first,
                                                             std::size_t limit) {
    std::vector<TransactionRecord> out;
    TRY(database_.run([&](SQLite::Database& db) {
        SQLite::Statement select(db,
                                 std::string(kSelect) + "WHERE nonce >= ? ORDER BY nonce LIMIT ?");
        select.bind(1, to_column(first));
        select.bind(2, to_column(limit));
        while (select.executeStep())
            out.push_back(read_record(db, select));
    }));
    return out;
}

Result<std::vector<ledger::settlement::ClaimedAlone>> SettlementStore::lone_claims() {
    std::vector<ledger::settlement::ClaimedAlone> out;
    TRY(database_.run([&](SQLite::Database& db) {
        SQLite::Statement select(
            db, "SELECT lease, receipt, units, amount_atoms, payable_at_s FROM lone_claims");
        while (select.executeStep())
            out.push_back({fixed<Hash32>(select.getColumn(0)), fixed<Hash32>(select.getColumn(1)),
                           number(select.getColumn(2)), number(select.getColumn(3)),
                           number(select.getColumn(4))});
    }));
    return out;
}

Result<void> SettlementStore::apply(const std::vector<LoneClaimChange>& changes) {
    return database_.run([&](SQLite::Database& db) {
        SQLite::Statement remove(db, "DELETE FROM lone_claims WHERE lease = ?");
        SQLite::Statement insert(db, "INSERT INTO lone_claims VALUES(?, ?, ?, ?, ?)");
        for (const LoneClaimChange& change : changes) {
            bind_blob(remove, 1, change.lease.span());
            remove.exec();
            remove.reset();
            if (!change.waits) continue;
            bind_blob(insert, 1, change.lease.span());
            bind_blob(insert, 2, change.waits->receipt.span());
            insert.bind(3, to_column(change.waits->units));
            insert.bind(4, to_column(change.waits->amount_atoms));
            insert.bind(5, to_column(change.waits->payable_at_s));
            insert.exec();
            insert.reset();
        }
    });
}

}  // namespace marketplace::storage
