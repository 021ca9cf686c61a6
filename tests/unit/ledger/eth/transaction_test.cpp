// SPDX-License-Identifier: Apache-2.0
#include "ledger/eth/transaction.hpp"

#include "ledger/base/hex.hpp"

#include <doctest/doctest.h>

using namespace ledger::base;
using namespace ledger::eth;

namespace {
ledger::crypto::PrivateKey test_key() {
    // Well-known development key 0 of anvil and hardhat.
    const auto bytes =
        parse_hex("0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80", 32);
    return std::move(*ledger::crypto::PrivateKey::from_bytes(*bytes));
}
Transaction example() {
    Transaction t;
    t.chain_id = 31337;
    t.nonce = 7;
    t.max_priority_fee_per_gas = 1'000'000'000;
    t.max_fee_per_gas = 3'000'000'000;
    t.gas_limit = 21'000;
    t.to = *parse_fixed<Address>("0x70997970C51812dc3A010C7d01b50e0d17dc79C8");
    t.value = 5;
    t.data = {0xde, 0xad};
    return t;
}
}  // namespace

TEST_CASE("transaction: signs, encodes, decodes and recovers the sender") {
    const auto key = test_key();
    const Transaction t = example();
    const Bytes raw = encode_signed(t, key.sign(signing_digest(t)));
    const auto decoded = decode_signed(raw);
    REQUIRE(decoded);
    CHECK(decoded->transaction == t);
    CHECK(decoded->sender == key.address());
}

TEST_CASE("transaction: equals what viem signs") {
    const auto key = test_key();
    const Transaction t = example();
    CHECK(to_hex(encode_signed(t, key.sign(signing_digest(t)))) ==
          "0x02f86e827a6907843b9aca0084b2d05e008252089470997970c51812dc3a010c7d01b50e0d17dc79c80582"
          "deadc080a07b04f67a6328a85eb32578fd87bcb1f06083d8c71ea464ba2a8ab84e07d2b144a007a380a1e3c8"
          "d5845f4056c9bee243fe45d6fbe8accb7f136aa6b895ffa8cdc8");
}

TEST_CASE("transaction: broken bytes are refused") {
    const auto key = test_key();
    const Transaction t = example();
    const Bytes raw = encode_signed(t, key.sign(signing_digest(t)));
    CHECK(!decode_signed({}));
    Bytes legacy = raw;
    legacy[0] = 0xf8;
    CHECK(!decode_signed(legacy));
    for (std::size_t cut = 1; cut < raw.size(); ++cut)
        CHECK(!decode_signed(ByteView(raw).first(cut)));
    Bytes longer = raw;
    longer.push_back(0);
    CHECK(!decode_signed(longer));
    for (std::size_t i = 0; i < raw.size(); ++i) {  // any flipped bit: refused or another sender
        Bytes bad = raw;
        bad[i] ^= 0x10;
        const auto decoded = decode_signed(bad);
        CHECK_MESSAGE((!decoded || decoded->sender != key.address()), i);
    }
}
