// SPDX-License-Identifier: Apache-2.0
#include "marketplace/storage/journal_store.hpp"

#include "marketplace/storage/columns.hpp"

namespace marketplace::storage {

JournalStore::JournalStore(Database& database) : database_(database) {}
JournalStore::~JournalStore() = default;

ledger::base::Result<void> JournalStore::append(std::uint64_t sequence,
                                                ledger::base::ByteView record) {
    return database_.run([&](SQLite::Database& db) {
        if (!insert_)
            insert_ = std::make_unique<SQLite::Statement>(
                db, "INSERT INTO journal(sequence, record) VALUES(?, ?)");
        insert_->tryReset();
        insert_->bind(1, to_column(sequence));
        bind_blob_in_place(*insert_, 2, record);
        insert_->exec();
        insert_->reset();  // the record's bytes are the caller's again
    });
}

ledger::base::Result<std::vector<ledger::base::Bytes>> JournalStore::read(std::uint64_t first,
                                                                          std::size_t limit) {
    std::vector<ledger::base::Bytes> out;
    TRY(database_.run([&](SQLite::Database& db) {
        SQLite::Statement select(
            db, "SELECT record FROM journal WHERE sequence >= ? ORDER BY sequence LIMIT ?");
        select.bind(1, to_column(first));
        select.bind(2, to_column(limit));
        while (select.executeStep())
            out.push_back(blob(select.getColumn(0)));
    }));
    return out;
}

}  // namespace marketplace::storage
