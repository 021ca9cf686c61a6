// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>

namespace SQLite {
class Database;
class Exception;
}  // namespace SQLite

namespace marketplace::storage {

/// The market's SQLite file: WAL, synchronous=FULL, foreign keys, strict tables, one writing
/// connection. A commit that returns has been fsynced. Not thread-safe: one thread owns it.
///
/// Errors: disk_full (nothing was changed; try again when there is space), io_error (stop
/// writing), config_invalid (schema of a newer program, or a damaged file).
class Database {
 public:
    enum class Mode : std::uint8_t { kReadWrite = 0, kReadOnly = 1 };
    /// Opens or creates the file, migrates the schema and checks its integrity.
    [[nodiscard]] static ledger::base::Result<std::unique_ptr<Database>> open(
        const std::filesystem::path& path, Mode mode = Mode::kReadWrite);
    ~Database();
    Database(const Database&) = delete;
    Database& operator=(const Database&) = delete;

    [[nodiscard]] ledger::base::Result<void> begin();
    [[nodiscard]] ledger::base::Result<void> commit();
    void rollback() noexcept;  ///< nothing to do outside a transaction

    /// Whether a group may be written now; asked before anything is changed for it. disk_full
    /// while the file system has less than 8 MiB left, or after a write that found no room until
    /// a trial write goes through. io_error for good after an I/O error: what the disk then says
    /// about later writes proves nothing. Outside transactions only.
    [[nodiscard]] ledger::base::Result<void> check_room();

    /// For the stores of this room only.
    [[nodiscard]] SQLite::Database& raw() noexcept { return *raw_; }
    /// Runs `work`; what SQLite throws becomes an error.
    [[nodiscard]] ledger::base::Result<void> run(
        const std::function<void(SQLite::Database&)>& work);

 private:
    Database(std::unique_ptr<SQLite::Database> raw, std::filesystem::path path);
    [[nodiscard]] ledger::base::Result<void> try_write();
    [[nodiscard]] ledger::base::Result<void> prepare(Mode mode);

    enum class Health : std::uint8_t { kGood = 0, kFull = 1, kBroken = 2 };

    std::unique_ptr<SQLite::Database> raw_;
    std::filesystem::path path_;
    Health health_ = Health::kGood;
};

/// Schema version this program writes.
[[nodiscard]] int schema_version() noexcept;

}  // namespace marketplace::storage
