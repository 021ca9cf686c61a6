// SPDX-License-Identifier: Apache-2.0
#include "marketplace/domain/lease.hpp"

#include "ledger/crypto/keccak.hpp"

#include <algorithm>
#include <array>

namespace marketplace::domain {

Hash32 lease_id(const Hash32& ask_hash, const Hash32& bid_hash, std::uint64_t index) {
    // abi.encode of three static words.
    std::array<std::uint8_t, 96> words{};
    std::copy(ask_hash.begin(), ask_hash.end(), words.begin());
    std::copy(bid_hash.begin(), bid_hash.end(), words.begin() + 32);
    for (std::size_t i = 0; i < 8; ++i)
        words[95 - i] = static_cast<std::uint8_t>(index >> (8 * i));
    return ledger::crypto::keccak256(words);
}

}  // namespace marketplace::domain
