// SPDX-License-Identifier: Apache-2.0
#include "ledger/base/hex.hpp"
#include "ledger/crypto/address.hpp"
#include "ledger/crypto/keccak.hpp"
#include "ledger/crypto/secp256k1.hpp"
#include "ledger/crypto/verifier.hpp"

#include <doctest/doctest.h>

using namespace ledger::base;
using namespace ledger::crypto;

namespace {
PrivateKey key_of(std::uint8_t last) {
    Bytes bytes(32);
    bytes[31] = last;
    return std::move(*PrivateKey::from_bytes(bytes));
}
}  // namespace

TEST_CASE("keccak: not SHA3") {
    CHECK(to_hex(keccak256({})) ==
          "0xc5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470");
}

TEST_CASE("address: EIP-55 vectors, wrong checksum and wrong length refused") {
    for (const char* text : {"0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
                             "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
                             "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB"}) {
        const auto address = parse_address(text);
        REQUIRE(address);
        CHECK(to_checksum(*address) == text);
    }
    CHECK(!parse_address("0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeD"));
    CHECK(!parse_address("5aaeb6053f3e94c9b9a09f33669435e7ef1beaed00"));
    CHECK(parse_address("0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed"));
    for (std::size_t digits = 0; digits <= 128; ++digits)  // short-address incidents
        CHECK(parse_address("0x" + std::string(digits, '1')).has_value() == (digits == 40));
}

TEST_CASE("secp256k1: keys out of range are refused") {
    CHECK(!PrivateKey::from_bytes(Bytes(32)));
    CHECK(!PrivateKey::from_bytes(Bytes(31, 1)));
    CHECK(!PrivateKey::from_bytes(Bytes(32, 0xff)));
}

TEST_CASE("secp256k1: the account of key 1") {
    CHECK(to_checksum(key_of(1).address()) == "0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf");
}

TEST_CASE("secp256k1: signs deterministically and recovers") {
    const auto key = key_of(7);
    const Hash32 digest = keccak256(as_bytes("millrace"));
    const Signature signature = key.sign(digest);
    CHECK(signature == key.sign(digest));
    CHECK(*recover(digest, signature) == key.address());
    CHECK(verify(digest, signature, key.address()));
    CHECK(verify(digest, signature, key_of(8).address()).error().code() ==
          ErrorCode::invalid_signature);
}

TEST_CASE("secp256k1: every mutated byte is refused") {
    const auto key = key_of(7);
    const Hash32 digest = keccak256(as_bytes("millrace"));
    const Signature good = key.sign(digest);
    for (std::size_t i = 0; i < Signature::kSize; ++i) {
        Signature bad = good;
        bad.data()[i] ^= 1;
        CHECK_MESSAGE(!verify(digest, bad, key.address()), i);
    }
    CHECK(!parse_signature(ByteView(good.data(), 64)));
}

TEST_CASE("secp256k1: the high-s twin is refused") {
    // n - s is a valid signature of the same digest with the other parity.
    static constexpr std::uint8_t kOrder[32] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                                0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe,
                                                0xba, 0xae, 0xdc, 0xe6, 0xaf, 0x48, 0xa0, 0x3b,
                                                0xbf, 0xd2, 0x5e, 0x8c, 0xd0, 0x36, 0x41, 0x41};
    const auto key = key_of(9);
    const Hash32 digest = keccak256(as_bytes("twin"));
    Signature twin = key.sign(digest);
    int borrow = 0;
    for (int i = 31; i >= 0; --i) {
        int difference = kOrder[i] - twin.data()[32 + i] - borrow;
        borrow = difference < 0 ? 1 : 0;
        twin.data()[32 + i] = static_cast<std::uint8_t>(difference + borrow * 256);
    }
    twin.data()[64] = twin.data()[64] == 27 ? 28 : 27;
    CHECK(recover(digest, twin).error().code() == ErrorCode::invalid_signature);
    CHECK(!parse_signature(ByteView(twin.data(), 65)));
}

TEST_CASE("secp256k1: personal message as wallets sign it") {
    // keccak("\x19Ethereum Signed Message:\n5hello")
    CHECK(to_hex(personal_digest("hello")) ==
          "0x50b2c43fd39106bafbba0da34fc430e1f91e3c96ea2acee2bc34119f92b37750");
}

TEST_CASE("verifier: agrees with recovery, whether the signer is known or not") {
    const auto key = PrivateKey::generate();
    const auto other = PrivateKey::generate();
    const auto digest_of = [](std::uint8_t i) { return keccak256(Bytes{i}); };
    Verifier verifier;
    CHECK(!verifier.verify(digest_of(0), other.sign(digest_of(0)), key.address()));
    for (std::uint8_t i = 0; i < 20; ++i) {
        const auto signature = key.sign(digest_of(i));
        CHECK(verifier.verify(digest_of(i), signature, key.address()));
        CHECK(!verifier.verify(digest_of(i), other.sign(digest_of(i)), key.address()));
        CHECK(!verifier.verify(digest_of(static_cast<std::uint8_t>(i + 1)), signature,
                               key.address()));
        for (std::size_t bit = 0; bit < 65 * 8; ++bit) {
            auto changed = signature;
            changed.data()[bit / 8] ^= static_cast<std::uint8_t>(1U << bit % 8);
            CHECK(!verifier.verify(digest_of(i), changed, key.address()));
        }
        CHECK(!verifier.verify(digest_of(i), Signature(), key.address()));
    }
}
