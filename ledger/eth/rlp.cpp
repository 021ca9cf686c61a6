// SPDX-License-Identifier: Apache-2.0
#include "ledger/eth/rlp.hpp"

namespace ledger::eth::rlp {
namespace {

using base::ErrorCode;
using base::fail;

void encode_header(base::Bytes& out, std::size_t size, std::uint8_t offset) {
    if (size < 56) {
        out.push_back(static_cast<std::uint8_t>(offset + size));
        return;
    }
    base::Bytes length;
    for (std::size_t rest = size; rest > 0; rest >>= 8U)
        length.insert(length.begin(), static_cast<std::uint8_t>(rest & 0xff));
    out.push_back(static_cast<std::uint8_t>(offset + 55 + length.size()));
    base::append(out, length);
}

// Reads a big-endian length of `count` bytes (1..8) without leading zeros, at least 56.
base::Result<std::size_t> long_length(base::ByteView& input, std::size_t count) {
    if (count > input.size() || count > 8)
        return fail(ErrorCode::invalid_encoding, "rlp: too short");
    std::uint64_t length = 0;
    for (std::size_t i = 0; i < count; ++i)
        length = length << 8U | input[i];
    if (input[0] == 0 || length < 56)
        return fail(ErrorCode::invalid_encoding, "rlp: length is not in its shortest form");
    input = input.subspan(count);
    return static_cast<std::size_t>(length);
}

}  // namespace

void encode_bytes(base::Bytes& out, base::ByteView value) {
    if (value.size() == 1 && value[0] < 0x80) {
        out.push_back(value[0]);
        return;
    }
    encode_header(out, value.size(), 0x80);
    base::append(out, value);
}

void encode_uint(base::Bytes& out, const U256& value) {
    const auto bytes = to_be32(value);
    const auto first = std::find_if(bytes.begin(), bytes.end(), [](auto b) { return b != 0; });
    encode_bytes(out, base::ByteView(first, bytes.end()));
}

base::Bytes encode_list(base::ByteView payload) {
    base::Bytes out;
    encode_header(out, payload.size(), 0xc0);
    base::append(out, payload);
    return out;
}

base::Result<Item> decode_item(base::ByteView& input) {
    if (input.empty()) return fail(ErrorCode::invalid_encoding, "rlp: empty");
    const std::uint8_t head = input[0];
    if (head < 0x80) {
        const Item item{Item::Kind::kString, input.first(1)};
        input = input.subspan(1);
        return item;
    }
    input = input.subspan(1);
    const auto kind = head < 0xc0 ? Item::Kind::kString : Item::Kind::kList;
    const std::size_t code = head - (kind == Item::Kind::kString ? 0x80U : 0xc0U);
    std::size_t size = code;
    if (code > 55) {
        TRY_ASSIGN(size, long_length(input, code - 55));
    }
    if (size > input.size()) return fail(ErrorCode::invalid_encoding, "rlp: too short");
    if (kind == Item::Kind::kString && code == 1 && input[0] < 0x80)
        return fail(ErrorCode::invalid_encoding, "rlp: a small byte stands for itself");
    const Item item{kind, input.first(size)};
    input = input.subspan(size);
    return item;
}

base::Result<std::vector<Item>> decode_items(base::ByteView payload) {
    std::vector<Item> items;
    while (!payload.empty()) {
        TRY_ASSIGN(const Item item, decode_item(payload));
        items.push_back(item);
    }
    return items;
}

base::Result<U256> to_uint(const Item& item) {
    if (item.kind != Item::Kind::kString || item.payload.size() > 32)
        return fail(ErrorCode::invalid_encoding, "rlp: not an integer of at most 256 bits");
    if (!item.payload.empty() && item.payload[0] == 0)
        return fail(ErrorCode::invalid_encoding, "rlp: an integer has no leading zeros");
    return from_be(item.payload);
}

}  // namespace ledger::eth::rlp
