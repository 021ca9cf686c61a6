// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/bytes.hpp"
#include "ledger/base/result.hpp"
#include "marketplace/storage/database.hpp"

#include <cstdint>
#include <memory>
#include <vector>

namespace SQLite {
class Statement;
}

namespace marketplace::storage {

/// The journal's rows. Same thread rule as its database, which outlives it.
class JournalStore {
 public:
    explicit JournalStore(Database& database);
    ~JournalStore();
    JournalStore(const JournalStore&) = delete;
    JournalStore& operator=(const JournalStore&) = delete;

    /// Inside the caller's transaction. `sequence` must be the next one.
    [[nodiscard]] ledger::base::Result<void> append(std::uint64_t sequence,
                                                    ledger::base::ByteView record);
    /// Records [first, first + limit) that exist, in order.
    [[nodiscard]] ledger::base::Result<std::vector<ledger::base::Bytes>> read(std::uint64_t first,
                                                                              std::size_t limit);

 private:
    Database& database_;
    std::unique_ptr<SQLite::Statement> insert_;  ///< kept: preparing costs more than the row
};

}  // namespace marketplace::storage
