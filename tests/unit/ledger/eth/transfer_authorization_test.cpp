// SPDX-License-Identifier: Apache-2.0
#include "ledger/eth/transfer_authorization.hpp"

#include "ledger/base/hex.hpp"
#include "ledger/crypto/address.hpp"
#include "ledger/crypto/secp256k1.hpp"

#include <doctest/doctest.h>

namespace ledger::eth {
namespace {

using base::to_hex;

// Made with viem 2.57.20.
constexpr const char* kSeparator =
    "0x1722ac3592d5dba1e174cb472239efd6abb316fe78d9478b2c11957572513435";
constexpr const char* kDigest =
    "0xe41167dc213bf087c08127d17abbc19af46edcc9bdadcec3e98233dc9a500b9a";
constexpr const char* kSignature =
    "0xa16389a705c36292bccf0b88ba4d3962c64adaab663b7cafa58e79729776ad633a03588bbda98ea37f67a66edf97"
    "5e76e1217aa62fdc37675d85e8c201bd83621c";
constexpr const char* kCall =
    "0xe3ee160e00000000000000000000000019e7e376e7c213b7e7e7e46cc70a5dd086daff2a0000000000000000000"
    "0000000000000000000000000000000000000000000bb0000000000000000000000000000000000000000000000000"
    "0000000000004d20000000000000000000000000000000000000000000000000000000000000005000000000000000"
    "0"
    "00000000000000000000000000000000000000006b49d32c2222222222222222222222222222222222222222222222"
    "222222222222222222000000000000000000000000000000000000000000000000000000000000001ca16389a705c3"
    "6292bccf0b88ba4d3962c64adaab663b7cafa58e79729776ad633a03588bbda98ea37f67a66edf975e76e1217aa62f"
    "dc37675d85e8c201bd8362";

base::Address small_address(std::uint8_t last) {
    base::Address out;
    out.data()[19] = last;
    return out;
}

TransferAuthorization sample() {
    TransferAuthorization out;
    out.from = *crypto::parse_address("0x19E7E376E7C213B7E7e7e46cc70A5dD086DAff2A");
    out.to = small_address(0xbb);
    out.value = 1234U;
    out.valid_after_s = 5;
    out.valid_before_s = 1'800'000'300;
    std::fill(out.nonce.data(), out.nonce.data() + out.nonce.size(), std::uint8_t{0x22});
    return out;
}

base::Hash32 separator() {
    return token_separator("Millrace Test Dollar", "1", 31337, small_address(0xaa));
}

}  // namespace

TEST_CASE("transfer_authorization: separator, digest, signature and call as viem makes them") {
    CHECK(to_hex(separator()) == kSeparator);
    const base::Hash32 signed_hash = digest(separator(), sample());
    CHECK(to_hex(signed_hash) == kDigest);
    const auto key = crypto::PrivateKey::from_bytes(base::Bytes(32, 0x11));
    REQUIRE(key);
    const base::Signature signature = key->sign(signed_hash);
    CHECK(to_hex(signature) == kSignature);
    CHECK(*crypto::recover(signed_hash, signature) == sample().from);
    CHECK(to_hex(encode_transfer_with_authorization(sample(), signature)) == kCall);
}

TEST_CASE("transfer_authorization: every field changes what is signed") {
    std::vector<TransferAuthorization> changed(6, sample());
    changed[0].from = small_address(1);
    changed[1].to = small_address(1);
    changed[2].value = 1235U;
    changed[3].valid_after_s = 6;
    changed[4].valid_before_s = 1;
    changed[5].nonce = base::Hash32();
    for (const TransferAuthorization& one : changed)
        CHECK(digest(separator(), one) != digest(separator(), sample()));
    CHECK(token_separator("Millrace Test Dollar", "2", 31337, small_address(0xaa)) != separator());
    CHECK(token_separator("Millrace Test Dollar", "1", 1, small_address(0xaa)) != separator());
}

}  // namespace ledger::eth
