// SPDX-License-Identifier: Apache-2.0
#include "ledger/eth/abi.hpp"

#include "ledger/base/hex.hpp"

#include <doctest/doctest.h>

using namespace ledger::base;
using namespace ledger::eth;

TEST_CASE("abi: accesses outside the data are refused") {
    const Bytes empty;
    CHECK(!abi::Decoder(empty).uint(0));
    const Bytes short_word(31);
    CHECK(!abi::Decoder(short_word).word(0));
    Bytes huge_offset(32, 0xff);
    CHECK(!abi::Decoder(huge_offset).bytes(0));
    CHECK(!abi::Decoder(huge_offset).address(0));
    CHECK(!abi::Decoder(huge_offset).u64(0));
    CHECK(!abi::Decoder(huge_offset).boolean(0));
    CHECK(!abi::Decoder(huge_offset).word(std::size_t{1} << 62));
    // offset 32, length far beyond the end
    Bytes long_bytes = abi::Encoder().bytes(as_bytes("abc")).finish();
    long_bytes[63] = 200;
    CHECK(!abi::Decoder(long_bytes).bytes(0));
    // offset exactly at the end
    Bytes at_end(32);
    at_end[31] = 32;
    CHECK(!abi::Decoder(at_end).bytes(0));
}

TEST_CASE("abi: the specification's example f(uint256,uint32[],bytes10,bytes)") {
    std::vector<Bytes> array;
    for (const std::uint64_t v : {0x456ULL, 0x789ULL})
        array.push_back(abi::Encoder().uint(v).finish());
    Hash32 ten;
    std::copy_n("1234567890", 10, ten.data());
    const Bytes call = abi::encode_call("f(uint256,uint32[],bytes10,bytes)",
                                        abi::Encoder()
                                            .uint(std::uint64_t{0x123})
                                            .dynamic(abi::encode_static_array(array))
                                            .word(ten)
                                            .bytes(as_bytes("Hello, world!")));
    CHECK(to_hex(call) ==
          "0x8be65246"
          "0000000000000000000000000000000000000000000000000000000000000123"
          "0000000000000000000000000000000000000000000000000000000000000080"
          "3132333435363738393000000000000000000000000000000000000000000000"
          "00000000000000000000000000000000000000000000000000000000000000e0"
          "0000000000000000000000000000000000000000000000000000000000000002"
          "0000000000000000000000000000000000000000000000000000000000000456"
          "0000000000000000000000000000000000000000000000000000000000000789"
          "000000000000000000000000000000000000000000000000000000000000000d"
          "48656c6c6f2c20776f726c642100000000000000000000000000000000000000");
    const abi::Decoder decoder(ByteView(call).subspan(4));
    CHECK(*decoder.u64(0) == 0x123);
    CHECK(as_text(*decoder.bytes(3)) == "Hello, world!");
    CHECK(*abi::Decoder(*decoder.tail(1)).u64(2) == 0x789);
}

TEST_CASE("abi: known selectors and topics") {
    CHECK(to_hex(abi::selector("transfer(address,uint256)")) == "0xa9059cbb");
    CHECK(to_hex(abi::event_topic("Transfer(address,address,uint256)")) ==
          "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef");
}
