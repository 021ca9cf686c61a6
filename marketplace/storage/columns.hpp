// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/bytes.hpp"
#include "ledger/base/check.hpp"

#include <SQLiteCpp/SQLiteCpp.h>

#include <cstdint>

/// Values in and out of SQLite columns. For this room's .cpp files.
namespace marketplace::storage {

/// SQLite integers are signed; none of ours passes 63 bits.
[[nodiscard]] inline std::int64_t to_column(std::uint64_t value) {
    MR_CHECK(value <= static_cast<std::uint64_t>(INT64_MAX));
    return static_cast<std::int64_t>(value);
}
[[nodiscard]] inline std::uint64_t number(const SQLite::Column& column) {
    return static_cast<std::uint64_t>(column.getInt64());
}
inline void bind_blob(SQLite::Statement& statement, int index, ledger::base::ByteView bytes) {
    // A null pointer would bind NULL instead of an empty blob.
    statement.bind(index, bytes.empty() ? "" : static_cast<const void*>(bytes.data()),
                   static_cast<int>(bytes.size()));
}
/// Without a copy: the bytes stay where they are until the statement is reset.
inline void bind_blob_in_place(SQLite::Statement& statement, int index,
                               ledger::base::ByteView bytes) {
    statement.bindNoCopy(index, bytes.empty() ? "" : static_cast<const void*>(bytes.data()),
                         static_cast<int>(bytes.size()));
}
[[nodiscard]] inline ledger::base::Bytes blob(const SQLite::Column& column) {
    const auto* data = static_cast<const std::uint8_t*>(column.getBlob());
    if (data == nullptr) return {};
    return {data, data + column.getBytes()};
}
/// A blob of exactly N bytes; anything else is a damaged file.
template <typename Fixed>
[[nodiscard]] Fixed fixed(const SQLite::Column& column) {
    const ledger::base::Bytes bytes = blob(column);
    if (bytes.size() != Fixed::kSize) throw SQLite::Exception("blob of wrong size", 11);
    return Fixed(ledger::base::ByteView(bytes).first<Fixed::kSize>());
}

}  // namespace marketplace::storage
