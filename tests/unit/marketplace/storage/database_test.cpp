// SPDX-License-Identifier: Apache-2.0
#include "marketplace/storage/database.hpp"

#include "marketplace/storage/journal_store.hpp"
#include "tests/support/temp_database.hpp"

#include <SQLiteCpp/SQLiteCpp.h>
#include <doctest/doctest.h>

#include <fstream>
#include <string>

namespace marketplace::storage {

using ledger::base::Bytes;
using ledger::base::ErrorCode;

TEST_CASE("database: a file that is not a database is refused and left alone") {
    const tests::TempFolder folder;
    const auto path = folder.file("market.db");
    std::ofstream(path) << std::string(5000, 'x');
    CHECK(Database::open(path).error().code() == ErrorCode::config_invalid);
    std::ifstream in(path);
    const std::string text((std::istreambuf_iterator<char>(in)), {});
    CHECK(text == std::string(5000, 'x'));
}

TEST_CASE("database: a folder that is not there is an io_error") {
    const tests::TempFolder folder;
    CHECK(Database::open(folder.file("none") / "market.db").error().code() == ErrorCode::io_error);
}

TEST_CASE("database: a newer program's file is refused") {
    const tests::TempFolder folder;
    const auto path = folder.file("market.db");
    REQUIRE(Database::open(path));
    SQLite::Database(path.string(), SQLite::OPEN_READWRITE)
        .exec("PRAGMA user_version=" + std::to_string(schema_version() + 1));
    CHECK(Database::open(path).error().code() == ErrorCode::config_invalid);
}

TEST_CASE("database: what durability needs is switched on") {
    const tests::TempFolder folder;
    auto database = Database::open(folder.file("market.db"));
    REQUIRE(database);
    auto& raw = (*database)->raw();
    CHECK(raw.execAndGet("PRAGMA journal_mode").getString() == "wal");
    CHECK(raw.execAndGet("PRAGMA synchronous").getInt() == 2);
    CHECK(raw.execAndGet("PRAGMA foreign_keys").getInt() == 1);
    CHECK(raw.execAndGet("PRAGMA user_version").getInt() == schema_version());
    // Every table is strict: a text in a number's place is refused.
    CHECK_THROWS(raw.exec("INSERT INTO journal VALUES('one', x'00')"));
    CHECK_THROWS(raw.exec("INSERT INTO settings VALUES('a', 'text')"));
}

TEST_CASE("database: what was rolled back is not there, what was committed is") {
    const tests::TempFolder folder;
    const auto path = folder.file("market.db");
    {
        auto database = Database::open(path);
        REQUIRE(database);
        JournalStore journal(**database);
        REQUIRE((*database)->begin());
        REQUIRE(journal.append(0, Bytes{1}));
        (*database)->rollback();
        (*database)->rollback();  // nothing to do
        CHECK(journal.read(0, 9)->empty());
        REQUIRE((*database)->begin());
        REQUIRE(journal.append(0, Bytes{2}));
        REQUIRE((*database)->commit());
        REQUIRE((*database)->begin());
        REQUIRE(journal.append(1, Bytes{3}));  // closed without commit
    }
    auto database = Database::open(path);
    REQUIRE(database);
    JournalStore journal(**database);
    CHECK(*journal.read(0, 9) == std::vector<Bytes>{{2}});
}

TEST_CASE("database: full is said, changes nothing, and ends when there is space") {
    const tests::TempFolder folder;
    auto database = Database::open(folder.file("market.db"));
    REQUIRE(database);
    JournalStore journal(**database);
    const auto pages = (*database)->raw().execAndGet("PRAGMA page_count").getInt();
    (*database)->raw().exec("PRAGMA max_page_count=" + std::to_string(pages));
    REQUIRE((*database)->begin());
    const auto full = journal.append(0, Bytes(100'000, 7));
    REQUIRE_FALSE(full);
    CHECK(full.error().code() == ErrorCode::disk_full);
    (*database)->rollback();
    CHECK(journal.read(0, 9)->empty());  // reading goes on
    (*database)->raw().exec("PRAGMA max_page_count=100000");
    REQUIRE((*database)->begin());
    CHECK(journal.append(0, Bytes(100'000, 7)));
    CHECK((*database)->commit());
}

TEST_CASE("database: a reader sees what is committed and cannot write") {
    const tests::TempFolder folder;
    const auto path = folder.file("market.db");
    auto writer = Database::open(path);
    REQUIRE(writer);
    auto reader = Database::open(path, Database::Mode::kReadOnly);
    REQUIRE(reader);
    JournalStore journal(**writer);
    JournalStore seen(**reader);
    REQUIRE((*writer)->begin());
    REQUIRE(journal.append(0, Bytes{1}));
    CHECK(seen.read(0, 9)->empty());
    REQUIRE((*writer)->commit());
    CHECK(seen.read(0, 9)->size() == 1);
    CHECK_FALSE(seen.append(1, Bytes{1}));
}

}  // namespace marketplace::storage
