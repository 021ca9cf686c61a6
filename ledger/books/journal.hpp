// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/bytes.hpp"
#include "ledger/base/clock.hpp"
#include "ledger/base/result.hpp"
#include "ledger/books/account.hpp"

#include <cstdint>
#include <string_view>
#include <vector>

namespace ledger::books {

/// What an entry did.
enum class EntryKind : std::uint8_t {
    kDeposit = 0,   ///< chain → available
    kWithdraw = 1,  ///< available → chain
    kReserve = 2,   ///< available → held, opens or raises a hold
    kCapture = 3,   ///< held → credit of the payee and fees
    kRelease = 4,   ///< held → available
    kSweep = 5,     ///< credit → chain
};
inline constexpr std::uint8_t kEntryKindCount = 6;
[[nodiscard]] std::string_view to_string(EntryKind kind) noexcept;

/// One balanced movement. Never edited: a mistake is set right by another entry.
struct Entry {
    std::uint64_t number = 0;  ///< 0, 1, 2 …
    base::TimeMs time_ms = 0;
    EntryKind kind = EntryKind::kDeposit;
    base::Hash32 hold;       ///< of reserve, capture and release; else zero
    base::Hash32 reference;  ///< what caused it: transaction, lease, record
    std::vector<Posting> postings;
    friend bool operator==(const Entry&, const Entry&) = default;
};

/// invalid_field unless there are 2 to 8 postings, none of them zero, no account twice, sum zero.
[[nodiscard]] base::Result<void> check_balanced(const Entry& entry);

/// Canonical bytes, integers little-endian: what the journal's rolling hash is over.
[[nodiscard]] base::Bytes encode_entry(const Entry& entry);
[[nodiscard]] base::Result<Entry> decode_entry(base::ByteView bytes);

}  // namespace ledger::books
