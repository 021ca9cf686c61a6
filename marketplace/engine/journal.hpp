// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "marketplace/domain/command.hpp"
#include "marketplace/domain/event.hpp"

#include <cstdint>
#include <vector>

/// The public log's records. A record's bytes are a leaf of the Merkle log (ledger/log), and each
/// record names the hash of the one before, so that the file can be checked front to back.
namespace marketplace::engine {

struct Record {
    std::uint64_t sequence = 0;  ///< 0, 1, 2 …: the leaf's index
    domain::TimeMs time_ms = 0;
    domain::Hash32 previous;  ///< record_hash of the record before; zero for the first
    domain::Command command;
    std::vector<domain::Event> events;
    domain::Hash32 state_hash;  ///< of the engine after this command
    friend bool operator==(const Record&, const Record&) = default;
};

/// version u8 = 2 | sequence u64 | time u64 | previous 32 | command len u32, bytes |
/// count u32, { len u32, bytes }… | state hash 32. Integers little-endian.
[[nodiscard]] ledger::base::Bytes encode_record(const Record& record);
[[nodiscard]] ledger::base::Result<Record> decode_record(ledger::base::ByteView bytes);
/// A bid posted at this time for a batch is not shown before its first batch.
[[nodiscard]] constexpr domain::TimeMs unsealed_ms(domain::TimeMs posted_ms,
                                                   std::uint64_t batch_period_ms) noexcept {
    return (posted_ms / batch_period_ms + 1) * batch_period_ms;
}
[[nodiscard]] bool holds_sealed_bid(const Record& record);
/// SHA-256 of the record's bytes.
[[nodiscard]] domain::Hash32 record_hash(ledger::base::ByteView bytes);

}  // namespace marketplace::engine
