// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/bytes.hpp"
#include "ledger/base/result.hpp"
#include "ledger/eth/u256.hpp"

#include <vector>

namespace ledger::eth::rlp {

/// Encoders append one item (Yellow Paper, appendix B).
void encode_bytes(base::Bytes& out, base::ByteView value);
void encode_uint(base::Bytes& out, const U256& value);
/// Wraps an already encoded payload as a list.
[[nodiscard]] base::Bytes encode_list(base::ByteView payload);

/// A decoded item: a string, or a list whose payload is decoded on demand.
struct Item {
    enum class Kind : std::uint8_t { kString = 0, kList = 1 };
    Kind kind;
    base::ByteView payload;  ///< points into the input
};

/// Decodes one item from the front of `input` and shortens it. Refuses non-canonical forms.
[[nodiscard]] base::Result<Item> decode_item(base::ByteView& input);
/// Decodes a list payload into its items.
[[nodiscard]] base::Result<std::vector<Item>> decode_items(base::ByteView payload);
/// A string item as an integer without leading zeros.
[[nodiscard]] base::Result<U256> to_uint(const Item& item);

}  // namespace ledger::eth::rlp
