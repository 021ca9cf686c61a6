// SPDX-License-Identifier: Apache-2.0
#include "ledger/crypto/secp256k1.hpp"

#include "ledger/base/check.hpp"
#include "ledger/crypto/keccak.hpp"
#include "ledger/crypto/verifier.hpp"

#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <secp256k1.h>
#include <secp256k1_recovery.h>

namespace ledger::crypto {
namespace {

using base::ErrorCode;
using base::fail;

// One context per process, blinded once; after that it is only read, so it is thread-safe.
const secp256k1_context* context() {
    static const secp256k1_context* const instance = [] {
        auto* ctx = secp256k1_context_create(SECP256K1_CONTEXT_SIGN | SECP256K1_CONTEXT_VERIFY);
        const base::Bytes seed = random_bytes(32);
        MR_CHECK(secp256k1_context_randomize(ctx, seed.data()) == 1);
        return ctx;
    }();
    return instance;
}

std::array<std::uint8_t, 64> serialize(const secp256k1_pubkey& key) {
    std::array<std::uint8_t, 65> bytes{};
    std::size_t size = bytes.size();
    MR_CHECK(secp256k1_ec_pubkey_serialize(context(), bytes.data(), &size, &key,
                                           SECP256K1_EC_UNCOMPRESSED) == 1);
    std::array<std::uint8_t, 64> out{};
    std::copy(bytes.begin() + 1, bytes.end(), out.begin());
    return out;
}

// Half the group order, big-endian: the highest s of a canonical signature (EIP-2).
constexpr std::array<std::uint8_t, 32> kHalfOrder = {
    0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0x5d, 0x57, 0x6e, 0x73, 0x57, 0xa4, 0x50, 0x1d, 0xdf, 0xe9, 0x2f, 0x46, 0x68, 0x1b, 0x20, 0xa0};

bool is_low_s(const base::Signature& signature) {
    return std::memcmp(signature.data() + 32, kHalfOrder.data(), kHalfOrder.size()) <= 0;
}

}  // namespace

base::Bytes random_bytes(std::size_t count) {
    base::Bytes out(count);
    MR_CHECK(RAND_bytes(out.data(), static_cast<int>(count)) == 1);
    return out;
}

base::Address address_of(std::span<const std::uint8_t, 64> public_key) {
    const base::Hash32 hash = keccak256(public_key);
    base::Address out;
    std::copy(hash.begin() + 12, hash.end(), out.data());
    return out;
}

PrivateKey::PrivateKey(PrivateKey&& other) noexcept
    : secret_(other.secret_), address_(other.address_) {
    OPENSSL_cleanse(other.secret_.data(), other.secret_.size());
}

PrivateKey& PrivateKey::operator=(PrivateKey&& other) noexcept {
    if (this != &other) {
        secret_ = other.secret_;
        address_ = other.address_;
        OPENSSL_cleanse(other.secret_.data(), other.secret_.size());
    }
    return *this;
}

PrivateKey::~PrivateKey() {
    OPENSSL_cleanse(secret_.data(), secret_.size());
}

base::Result<PrivateKey> PrivateKey::from_bytes(base::ByteView bytes) {
    if (bytes.size() != 32) return fail(ErrorCode::invalid_encoding, "a private key has 32 bytes");
    if (secp256k1_ec_seckey_verify(context(), bytes.data()) != 1)
        return fail(ErrorCode::invalid_encoding, "not a private key of secp256k1");
    PrivateKey key;
    std::copy(bytes.begin(), bytes.end(), key.secret_.begin());
    const auto public_key = key.public_key();
    key.address_ = address_of(public_key);
    return key;
}

PrivateKey PrivateKey::generate() {
    for (;;) {
        base::Bytes bytes = random_bytes(32);
        auto key = from_bytes(bytes);
        OPENSSL_cleanse(bytes.data(), bytes.size());
        if (key) return std::move(*key);
    }
}

std::array<std::uint8_t, 64> PrivateKey::public_key() const {
    secp256k1_pubkey key;
    MR_CHECK(secp256k1_ec_pubkey_create(context(), &key, secret_.data()) == 1);
    return serialize(key);
}

base::Signature PrivateKey::sign(const base::Hash32& digest) const {
    secp256k1_ecdsa_recoverable_signature raw;
    MR_CHECK(secp256k1_ecdsa_sign_recoverable(context(), &raw, digest.data(), secret_.data(),
                                              nullptr, nullptr) == 1);
    base::Signature out;
    int recovery_id = 0;
    MR_CHECK(secp256k1_ecdsa_recoverable_signature_serialize_compact(context(), out.data(),
                                                                     &recovery_id, &raw) == 1);
    out.data()[64] = static_cast<std::uint8_t>(27 + recovery_id);
    return out;
}

namespace {

base::Result<secp256k1_pubkey> recover_key(const base::Hash32& digest,
                                           const base::Signature& signature) {
    const std::uint8_t v = signature.data()[64];
    if (v != 27 && v != 28) return fail(ErrorCode::invalid_signature, "v must be 27 or 28");
    if (!is_low_s(signature)) return fail(ErrorCode::invalid_signature, "s is in the upper half");
    secp256k1_ecdsa_recoverable_signature raw;
    if (secp256k1_ecdsa_recoverable_signature_parse_compact(context(), &raw, signature.data(),
                                                            v - 27) != 1)
        return fail(ErrorCode::invalid_signature, "r or s is out of range");
    secp256k1_pubkey key;
    if (secp256k1_ecdsa_recover(context(), &key, &raw, digest.data()) != 1)
        return fail(ErrorCode::invalid_signature, "no key gives this signature");
    return key;
}

}  // namespace

base::Result<base::Address> recover(const base::Hash32& digest, const base::Signature& signature) {
    TRY_ASSIGN(const secp256k1_pubkey key, recover_key(digest, signature));
    return address_of(serialize(key));
}

bool Verifier::verify(const base::Hash32& digest, const base::Signature& signature,
                      const base::Address& signer) {
    secp256k1_pubkey key;
    const auto known = keys_.find(signer);
    if (known == keys_.end()) {
        const auto recovered = recover_key(digest, signature);
        if (!recovered || address_of(serialize(*recovered)) != signer) return false;
        std::copy(std::begin(recovered->data), std::end(recovered->data), keys_[signer].begin());
        return true;
    }
    const std::uint8_t v = signature.data()[64];
    secp256k1_ecdsa_signature raw;
    if ((v != 27 && v != 28) || !is_low_s(signature) ||
        secp256k1_ecdsa_signature_parse_compact(context(), &raw, signature.data()) != 1)
        return false;
    std::copy(known->second.begin(), known->second.end(), std::begin(key.data));
    return secp256k1_ecdsa_verify(context(), &raw, digest.data(), &key) == 1;
}

base::Result<base::Signature> parse_signature(base::ByteView bytes) {
    if (bytes.size() != base::Signature::kSize)
        return fail(ErrorCode::invalid_signature, "a signature has 65 bytes");
    const base::Signature out{bytes.first<65>()};
    if (out.data()[64] != 27 && out.data()[64] != 28)
        return fail(ErrorCode::invalid_signature, "v must be 27 or 28");
    if (!is_low_s(out)) return fail(ErrorCode::invalid_signature, "s is in the upper half");
    return out;
}

base::Result<void> verify(const base::Hash32& digest, const base::Signature& signature,
                          const base::Address& signer) {
    TRY_ASSIGN(const base::Address actual, recover(digest, signature));
    if (actual != signer)
        return fail(ErrorCode::invalid_signature, "signed by another key or for another market");
    return {};
}

base::Hash32 personal_digest(std::string_view text) {
    base::Bytes bytes;
    base::append(bytes, base::as_bytes("\x19"
                                       "Ethereum Signed Message:\n"));
    base::append(bytes, base::as_bytes(std::to_string(text.size())));
    base::append(bytes, base::as_bytes(text));
    return keccak256(bytes);
}

}  // namespace ledger::crypto
