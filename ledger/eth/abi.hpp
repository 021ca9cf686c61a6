// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/bytes.hpp"
#include "ledger/base/result.hpp"
#include "ledger/eth/u256.hpp"

#include <string_view>
#include <vector>

namespace ledger::eth::abi {

/// First 4 bytes of keccak of a signature such as "transfer(address,uint256)".
[[nodiscard]] std::array<std::uint8_t, 4> selector(std::string_view signature);
/// keccak of an event signature: topic 0.
[[nodiscard]] base::Hash32 event_topic(std::string_view signature);

/// Builds one ABI tuple: static words in the head, dynamic values in the tail.
/// Nest by encoding the inner tuple and adding it with `dynamic` (or `inline_static`).
class Encoder {
 public:
    Encoder& word(const base::Hash32& value);
    Encoder& uint(const U256& value);
    Encoder& uint(std::uint64_t value);
    Encoder& address(const base::Address& value);
    Encoder& boolean(bool value);
    /// `bytes` or `string`: offset in the head, length and padded data in the tail.
    Encoder& bytes(base::ByteView value);
    /// An encoded dynamic tuple or array body placed in the tail.
    Encoder& dynamic(base::ByteView encoded);
    /// An encoded static tuple placed in the head.
    Encoder& inline_static(base::ByteView encoded);

    [[nodiscard]] base::Bytes finish() const;

 private:
    struct Slot {
        base::Bytes head;  // empty when `tail` is used
        base::Bytes tail;
    };
    std::vector<Slot> slots_;
};

/// T[] of dynamic tuples: length, offsets, bodies.
[[nodiscard]] base::Bytes encode_dynamic_array(const std::vector<base::Bytes>& items);
/// T[] of static tuples: length, bodies.
[[nodiscard]] base::Bytes encode_static_array(const std::vector<base::Bytes>& items);
/// selector ‖ arguments.
[[nodiscard]] base::Bytes encode_call(std::string_view signature, const Encoder& arguments);

/// Reads one ABI tuple; every access is bounds-checked.
class Decoder {
 public:
    explicit Decoder(base::ByteView data) noexcept : data_(data) {}

    [[nodiscard]] base::Result<base::Hash32> word(std::size_t slot) const;
    [[nodiscard]] base::Result<U256> uint(std::size_t slot) const;
    [[nodiscard]] base::Result<std::uint64_t> u64(std::size_t slot) const;
    /// Refuses dirty upper bytes.
    [[nodiscard]] base::Result<base::Address> address(std::size_t slot) const;
    [[nodiscard]] base::Result<bool> boolean(std::size_t slot) const;
    [[nodiscard]] base::Result<base::ByteView> bytes(std::size_t slot) const;
    /// The tail a slot points at (a dynamic tuple or array), as a new view.
    [[nodiscard]] base::Result<base::ByteView> tail(std::size_t slot) const;

 private:
    base::ByteView data_;
};

}  // namespace ledger::eth::abi
