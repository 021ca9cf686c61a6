// SPDX-License-Identifier: Apache-2.0
#include "ledger/eth/abi.hpp"

#include "ledger/crypto/keccak.hpp"

namespace ledger::eth::abi {
namespace {

using base::ErrorCode;
using base::fail;
constexpr std::size_t kWord = 32;

void append_uint(base::Bytes& out, std::uint64_t value) {
    const auto word = to_be32(U256(value));
    base::append(out, word);
}

base::Bytes padded(base::ByteView value) {
    base::Bytes out;
    append_uint(out, value.size());
    base::append(out, value);
    out.resize((out.size() + kWord - 1) / kWord * kWord);
    return out;
}

}  // namespace

std::array<std::uint8_t, 4> selector(std::string_view signature) {
    const base::Hash32 hash = crypto::keccak256(base::as_bytes(signature));
    return {hash.data()[0], hash.data()[1], hash.data()[2], hash.data()[3]};
}

base::Hash32 event_topic(std::string_view signature) {
    return crypto::keccak256(base::as_bytes(signature));
}

Encoder& Encoder::word(const base::Hash32& value) {
    slots_.push_back({base::Bytes(value.begin(), value.end()), {}});
    return *this;
}

Encoder& Encoder::uint(const U256& value) {
    return word(base::Hash32(to_be32(value)));
}

Encoder& Encoder::uint(std::uint64_t value) {
    return uint(U256(value));
}

Encoder& Encoder::address(const base::Address& value) {
    base::Hash32 out;
    std::copy(value.begin(), value.end(), out.data() + 12);
    return word(out);
}

Encoder& Encoder::boolean(bool value) {
    return uint(std::uint64_t{value ? 1U : 0U});
}

Encoder& Encoder::bytes(base::ByteView value) {
    slots_.push_back({{}, padded(value)});
    return *this;
}

Encoder& Encoder::dynamic(base::ByteView encoded) {
    slots_.push_back({{}, base::Bytes(encoded.begin(), encoded.end())});
    return *this;
}

Encoder& Encoder::inline_static(base::ByteView encoded) {
    slots_.push_back({base::Bytes(encoded.begin(), encoded.end()), {}});
    return *this;
}

base::Bytes Encoder::finish() const {
    std::size_t head_size = 0;
    for (const Slot& slot : slots_)
        head_size += slot.head.empty() ? kWord : slot.head.size();
    base::Bytes head;
    base::Bytes tail;
    for (const Slot& slot : slots_) {
        if (!slot.head.empty()) {
            base::append(head, slot.head);
            continue;
        }
        append_uint(head, head_size + tail.size());
        base::append(tail, slot.tail);
    }
    base::append(head, tail);
    return head;
}

base::Bytes encode_dynamic_array(const std::vector<base::Bytes>& items) {
    base::Bytes out;
    append_uint(out, items.size());
    std::size_t offset = items.size() * kWord;
    for (const base::Bytes& item : items) {
        append_uint(out, offset);
        offset += item.size();
    }
    for (const base::Bytes& item : items)
        base::append(out, item);
    return out;
}

base::Bytes encode_static_array(const std::vector<base::Bytes>& items) {
    base::Bytes out;
    append_uint(out, items.size());
    for (const base::Bytes& item : items)
        base::append(out, item);
    return out;
}

base::Bytes encode_call(std::string_view signature, const Encoder& arguments) {
    base::Bytes out;
    const auto head = selector(signature);
    base::append(out, head);
    base::append(out, arguments.finish());
    return out;
}

base::Result<base::Hash32> Decoder::word(std::size_t slot) const {
    if (slot >= data_.size() / kWord) return fail(ErrorCode::invalid_encoding, "abi: too short");
    return base::Hash32(data_.subspan(slot * kWord).first<kWord>());
}

base::Result<U256> Decoder::uint(std::size_t slot) const {
    TRY_ASSIGN(const base::Hash32 value, word(slot));
    return from_be(value.span());
}

base::Result<std::uint64_t> Decoder::u64(std::size_t slot) const {
    TRY_ASSIGN(const U256 value, uint(slot));
    return to_u64(value);
}

base::Result<base::Address> Decoder::address(std::size_t slot) const {
    TRY_ASSIGN(const base::Hash32 value, word(slot));
    if (std::any_of(value.begin(), value.begin() + 12, [](auto b) { return b != 0; }))
        return fail(ErrorCode::invalid_encoding, "abi: not an address");
    return base::Address(value.span().last<20>());
}

base::Result<bool> Decoder::boolean(std::size_t slot) const {
    TRY_ASSIGN(const U256 value, uint(slot));
    if (value > 1) return fail(ErrorCode::invalid_encoding, "abi: not a bool");
    return value == 1;
}

base::Result<base::ByteView> Decoder::tail(std::size_t slot) const {
    TRY_ASSIGN(const std::uint64_t offset, u64(slot));
    if (offset > data_.size()) return fail(ErrorCode::invalid_encoding, "abi: offset out of range");
    return data_.subspan(static_cast<std::size_t>(offset));
}

base::Result<base::ByteView> Decoder::bytes(std::size_t slot) const {
    TRY_ASSIGN(const base::ByteView body, tail(slot));
    TRY_ASSIGN(const std::uint64_t size, Decoder(body).u64(0));
    if (size > body.size() - kWord)
        return fail(ErrorCode::invalid_encoding, "abi: bytes too short");
    return body.subspan(kWord, static_cast<std::size_t>(size));
}

}  // namespace ledger::eth::abi
