// SPDX-License-Identifier: Apache-2.0
#include "ledger/eth/upto_permit.hpp"

#include "ledger/base/hex.hpp"
#include "ledger/crypto/address.hpp"
#include "ledger/crypto/secp256k1.hpp"

#include <doctest/doctest.h>

namespace ledger::eth {
namespace {

using base::to_hex;

// Made with viem 2.57.20 and the types and ABI of @x402/evm 2.27.0.
constexpr const char* kSeparator =
    "0x4d553c58ae79a6c4ba64f0e690a5d1cd2deff8c6b91cf38300e0f2b76f9ee346";
constexpr const char* kDigest =
    "0x077e7e294989545ad80eb6fee27a0b4a02eb91d7db7ed4e94a5d8326f59dfcb9";
constexpr const char* kSignature =
    "0x8b8ff6a8fc63f5385988ce33cf351c2882700da48609009abd01674ba2bc604c702198a930a2208865bd4da994"
    "499411dd7e51692d94c4f1bbfab610a353284d1b";
constexpr const char* kCall =
    "0xff11e7b400000000000000000000000000000000000000000000000000000000000000aa000000000000000000"
    "00000000000000000000000000000000000000000004d22222222222222222222222222222222222222222222222"
    "222222222222222222000000000000000000000000000000000000000000000000000000006b49d32c0000000000"
    "0000000000000000000000000000000000000000000000000003e800000000000000000000000019e7e376e7c213"
    "b7e7e7e46cc70a5dd086daff2a00000000000000000000000000000000000000000000000000000000000000bb00"
    "000000000000000000000000000000000000000000000000000000000000cc000000000000000000000000000000"
    "00000000000000000000000000000000050000000000000000000000000000000000000000000000000000000000"
    "00014000000000000000000000000000000000000000000000000000000000000000418b8ff6a8fc63f5385988ce"
    "33cf351c2882700da48609009abd01674ba2bc604c702198a930a2208865bd4da994499411dd7e51692d94c4f1bb"
    "fab610a353284d1b00000000000000000000000000000000000000000000000000000000000000";

base::Address small_address(std::uint8_t last) {
    base::Address out;
    out.data()[19] = last;
    return out;
}

UptoPermit sample() {
    UptoPermit out;
    out.payer = *crypto::parse_address("0x19E7E376E7C213B7E7e7e46cc70A5dD086DAff2A");
    out.token = small_address(0xaa);
    out.amount_max = 1234U;
    out.spender = kUptoProxy;
    for (int i = 0; i < 32; ++i)
        out.nonce = out.nonce * 256U + 0x22U;
    out.deadline_s = 1'800'000'300;
    out.receiver = small_address(0xbb);
    out.facilitator = small_address(0xcc);
    out.valid_after_s = 5;
    return out;
}

base::Hash32 separator() {
    return permit2_separator(31337, kPermit2);
}

}  // namespace

TEST_CASE("upto_permit: separator, digest, signature and call as the public client makes them") {
    CHECK(crypto::to_checksum(kPermit2) == "0x000000000022D473030F116dDEE9F6B43aC78BA3");
    CHECK(crypto::to_checksum(kUptoProxy) == "0x4020A4f3b7b90ccA423B9fabCc0CE57C6C240002");
    CHECK(to_hex(separator()) == kSeparator);
    const base::Hash32 signed_hash = digest(separator(), sample());
    CHECK(to_hex(signed_hash) == kDigest);
    const auto key = crypto::PrivateKey::from_bytes(base::Bytes(32, 0x11));
    REQUIRE(key);
    const base::Signature signature = key->sign(signed_hash);
    CHECK(to_hex(signature) == kSignature);
    CHECK(*crypto::recover(signed_hash, signature) == sample().payer);
    CHECK(to_hex(encode_upto_settle(sample(), 1000U, signature)) == kCall);
}

TEST_CASE("upto_permit: every field but the payer changes what is signed") {
    std::vector<UptoPermit> changed(8, sample());
    changed[0].token = small_address(1);
    changed[1].amount_max = 1235U;
    changed[2].spender = small_address(1);
    changed[3].nonce = 1U;
    changed[4].deadline_s = 1;
    changed[5].receiver = small_address(1);
    changed[6].facilitator = small_address(1);
    changed[7].valid_after_s = 6;
    for (const UptoPermit& one : changed)
        CHECK(digest(separator(), one) != digest(separator(), sample()));
    // Who signed it is who pays.
    UptoPermit other = sample();
    other.payer = small_address(1);
    CHECK(digest(separator(), other) == digest(separator(), sample()));
    CHECK(permit2_separator(1, kPermit2) != separator());
    CHECK(permit2_separator(31337, small_address(1)) != separator());
}

}  // namespace ledger::eth
