// SPDX-License-Identifier: Apache-2.0
#include "marketplace/storage/upto_store.hpp"

#include "marketplace/storage/columns.hpp"

namespace marketplace::storage {
namespace {

using domain::Address;
using domain::Hash32;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

constexpr const char* kSelect =
    "SELECT name, payer, deadline_s, state, atoms, proxy, call FROM upto_payments ";

UptoRow read_row(SQLite::Statement& row) {
    UptoRow out;
    out.name = fixed<Hash32>(row.getColumn(0));
    out.payer = fixed<Address>(row.getColumn(1));
    out.deadline_s = number(row.getColumn(2));
    out.state = static_cast<UptoState>(row.getColumn(3).getInt());
    out.atoms = number(row.getColumn(4));
    out.proxy = fixed<Address>(row.getColumn(5));
    out.call = blob(row.getColumn(6));
    return out;
}

}  // namespace

Result<void> UptoStore::insert(const UptoRow& row) {
    int added = 0;
    TRY(database_.run([&](SQLite::Database& db) {
        SQLite::Statement insert(db,
                                 "INSERT INTO upto_payments(name, payer, deadline_s, state, atoms, "
                                 "proxy, call) VALUES(?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING");
        bind_blob(insert, 1, row.name.span());
        bind_blob(insert, 2, row.payer.span());
        insert.bind(3, to_column(row.deadline_s));
        insert.bind(4, static_cast<int>(row.state));
        insert.bind(5, to_column(row.atoms));
        bind_blob(insert, 6, row.proxy.span());
        bind_blob(insert, 7, row.call);
        added = insert.exec();
    }));
    if (added == 0) return fail(ErrorCode::exists_with_different_body, "this payment is known");
    return {};
}

Result<void> UptoStore::update(const UptoRow& row) {
    int changed = 0;
    TRY(database_.run([&](SQLite::Database& db) {
        SQLite::Statement update(
            db, "UPDATE upto_payments SET state = ?, atoms = ?, call = ? WHERE name = ?");
        update.bind(1, static_cast<int>(row.state));
        update.bind(2, to_column(row.atoms));
        bind_blob(update, 3, row.call);
        bind_blob(update, 4, row.name.span());
        changed = update.exec();
    }));
    if (changed == 0) return fail(ErrorCode::not_found, "no payment of this name");
    return {};
}

Result<void> UptoStore::mark_paid() {
    return database_.run([](SQLite::Database& db) {
        db.exec(
            "UPDATE upto_payments SET state = 3 WHERE state IN (1, 2) AND EXISTS("
            "SELECT 1 FROM settlement_items JOIN transactions USING(nonce) "
            "WHERE settlement_items.kind = 'upto' AND lease = upto_payments.name "
            "AND sequence = 0 AND transactions.state = 3 AND mined_succeeded = 1)");
    });
}

Result<void> UptoStore::free_unanswered() {
    return database_.run([](SQLite::Database& db) {
        db.exec(
            "UPDATE upto_payments SET state = 4 WHERE state = 0 OR (state = 1 AND NOT EXISTS("
            "SELECT 1 FROM settlement_items WHERE kind = 'upto' AND lease = upto_payments.name))");
    });
}

Result<void> UptoStore::forget_before(std::uint64_t deadline_s) {
    return database_.run([&](SQLite::Database& db) {
        SQLite::Statement remove(db,
                                 "DELETE FROM upto_payments WHERE state >= 3 AND deadline_s < ?");
        remove.bind(1, to_column(deadline_s));
        remove.exec();
    });
}

Result<std::optional<UptoRow>> UptoStore::find(const Hash32& name) {
    std::optional<UptoRow> out;
    TRY(database_.run([&](SQLite::Database& db) {
        SQLite::Statement select(db, std::string(kSelect) + "WHERE name = ?");
        bind_blob(select, 1, name.span());
        if (select.executeStep()) out = read_row(select);
        SQLite::Statement taken(
            db,
            "SELECT mined_hash FROM settlement_items JOIN transactions USING(nonce) "
            "WHERE settlement_items.kind = 'upto' AND lease = ? AND sequence = 0 "
            "AND mined_succeeded = 1");
        bind_blob(taken, 1, name.span());
        if (out && taken.executeStep()) out->transaction = fixed<Hash32>(taken.getColumn(0));
    }));
    return out;
}

Result<std::vector<UptoRow>> UptoStore::unsettled() {
    std::vector<UptoRow> out;
    TRY(database_.run([&](SQLite::Database& db) {
        SQLite::Statement select(
            db, std::string(kSelect) + "WHERE state IN (1, 2) ORDER BY deadline_s");
        while (select.executeStep())
            out.push_back(read_row(select));
    }));
    return out;
}

Result<std::uint64_t> UptoStore::count_lost(const Address& payer) {
    std::uint64_t out = 0;
    TRY(database_.run([&](SQLite::Database& db) {
        SQLite::Statement select(
            db, "SELECT count(*) FROM upto_payments WHERE payer = ? AND state = 5");
        bind_blob(select, 1, payer.span());
        if (select.executeStep()) out = number(select.getColumn(0));
    }));
    return out;
}

}  // namespace marketplace::storage
