// SPDX-License-Identifier: Apache-2.0
#include "marketplace/storage/database.hpp"

#include "marketplace/storage/migrations.hpp"

#include <SQLiteCpp/SQLiteCpp.h>
#include <sqlite3.h>
#include <sys/statvfs.h>

namespace marketplace::storage {
namespace {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;
constexpr int kBusyMs = 5000;
constexpr std::uint64_t kReserveBytes = 8ULL << 20U;  // more than a group of usual records needs
constexpr int kTrialBytes = 1 << 20;

tl::unexpected<ledger::base::Error> to_error(const SQLite::Exception& exception) {
    // Extended codes carry the primary one in their low byte.
    const int code = exception.getErrorCode() & 0xff;
    if (code == SQLITE_FULL) return fail(ErrorCode::disk_full, "the database cannot grow");
    if (code == SQLITE_CORRUPT || code == SQLITE_NOTADB)
        return fail(ErrorCode::config_invalid, "the database file is damaged; restore a copy");
    if (code == SQLITE_CONSTRAINT)
        return fail(ErrorCode::exists_with_different_body, "a row of this key is there already");
    return fail(ErrorCode::io_error, "the database cannot be used");
}

int pragma_int(SQLite::Database& db, const char* name) {
    return db.execAndGet(std::string("PRAGMA ") + name).getInt();
}

}  // namespace

int schema_version() noexcept {
    return static_cast<int>(kMigrations.size());
}

Database::Database(std::unique_ptr<SQLite::Database> raw, std::filesystem::path path)
    : raw_(std::move(raw)), path_(std::move(path)) {}
Database::~Database() = default;

Result<std::unique_ptr<Database>> Database::open(const std::filesystem::path& path, Mode mode) {
    std::unique_ptr<SQLite::Database> raw;
    try {
        const int flags = mode == Mode::kReadOnly ? SQLite::OPEN_READONLY
                                                  : SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE;
        raw = std::make_unique<SQLite::Database>(path.string(), flags, kBusyMs);
    } catch (const SQLite::Exception& exception) {
        return to_error(exception);
    }
    std::unique_ptr<Database> out(new Database(std::move(raw), path));
    TRY(out->prepare(mode));
    return out;
}

Result<void> Database::prepare(Mode mode) {
    int version = 0;
    std::string problem;
    TRY(run([&](SQLite::Database& db) {
        if (mode == Mode::kReadWrite) {
            db.exec("PRAGMA journal_mode=WAL");
            db.exec("PRAGMA synchronous=FULL");
        }
        db.exec("PRAGMA foreign_keys=ON");
        version = pragma_int(db, "user_version");
    }));
    if (version > schema_version())
        return fail(ErrorCode::config_invalid, "the database was written by a newer Millrace");
    if (mode == Mode::kReadOnly) return {};
    for (; version < schema_version(); ++version) {
        const auto migrated = run([&](SQLite::Database& db) {
            SQLite::Transaction transaction(db);
            db.exec(kMigrations.at(static_cast<std::size_t>(version)));
            db.exec("PRAGMA user_version=" + std::to_string(version + 1));
            transaction.commit();
        });
        TRY(migrated);
    }
    // What must hold is asserted, not assumed: a build of SQLite may ignore a pragma.
    TRY(run([&](SQLite::Database& db) {
        if (db.execAndGet("PRAGMA journal_mode").getString() != "wal") problem = "journal_mode";
        if (pragma_int(db, "synchronous") != 2) problem = "synchronous";
        if (pragma_int(db, "foreign_keys") != 1) problem = "foreign_keys";
        if (db.execAndGet("PRAGMA quick_check").getString() != "ok") problem = "integrity";
    }));
    if (!problem.empty()) return fail(ErrorCode::config_invalid, "the database refuses " + problem);
    return {};
}

Result<void> Database::run(const std::function<void(SQLite::Database&)>& work) {
    try {
        work(*raw_);
    } catch (const SQLite::Exception& exception) {
        auto error = to_error(exception);
        if (error.value().code() == ErrorCode::disk_full) health_ = Health::kFull;
        if ((exception.getErrorCode() & 0xff) == SQLITE_IOERR) health_ = Health::kBroken;
        return error;
    }
    return {};
}

Result<void> Database::check_room() {
    if (health_ == Health::kBroken)
        return fail(ErrorCode::io_error, "the disk failed; restart when it is well again");
    struct statvfs disk {};
    if (::statvfs(path_.c_str(), &disk) == 0 && disk.f_bavail * disk.f_frsize < kReserveBytes)
        return fail(ErrorCode::disk_full, "the market writes again when there is space");
    if (health_ == Health::kGood) return {};
    if (const auto written = try_write(); !written) {
        rollback();
        return written;
    }
    health_ = Health::kGood;
    return {};
}

/// Writes what a large group would, for good, and takes it back.
Result<void> Database::try_write() {
    TRY(begin());
    TRY(run([](SQLite::Database& db) {
        SQLite::Statement insert(
            db, "INSERT OR REPLACE INTO settings(name, value) VALUES('trial', zeroblob(?))");
        insert.bind(1, kTrialBytes);
        insert.exec();
    }));
    TRY(commit());
    return run([](SQLite::Database& db) { db.exec("DELETE FROM settings WHERE name = 'trial'"); });
}

Result<void> Database::begin() {
    return run([](SQLite::Database& db) { db.exec("BEGIN IMMEDIATE"); });
}

Result<void> Database::commit() {
    return run([](SQLite::Database& db) { db.exec("COMMIT"); });
}

void Database::rollback() noexcept {
    if (sqlite3_get_autocommit(raw_->getHandle()) != 0) return;
    sqlite3_exec(raw_->getHandle(), "ROLLBACK", nullptr, nullptr, nullptr);
}

}  // namespace marketplace::storage
