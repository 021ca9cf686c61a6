// SPDX-License-Identifier: Apache-2.0
#include "ledger/crypto/key_wrap.hpp"

#include "ledger/base/check.hpp"
#include "ledger/crypto/aes_gcm.hpp"
#include "ledger/crypto/hkdf.hpp"

#include <openssl/crypto.h>
#include <secp256k1.h>
#include <secp256k1_ecdh.h>
#include <secp256k1_recovery.h>

#include <algorithm>
#include <string_view>

namespace ledger::crypto {
namespace {

using base::ErrorCode;
using base::fail;

constexpr std::uint8_t kVersion = 1;
constexpr std::string_view kPurpose = "millrace key wrap 1";

/// For secp256k1_ecdh: the shared point's x as it is; HKDF follows.
int take_x(unsigned char* output, const unsigned char* x32, const unsigned char* /*y32*/,
           void* /*data*/) {
    std::copy_n(x32, 32, output);
    return 1;
}

base::Result<DataKey> wrapping_key(const PrivateKey& own, const PublicKey& other,
                                   const PublicKey& ephemeral, const PublicKey& recipient,
                                   base::ByteView context) {
    TRY_ASSIGN(auto shared, shared_x(own, other));
    base::Bytes info;
    base::append(info, base::as_bytes(kPurpose));
    base::append(info, ephemeral);
    base::append(info, recipient);
    base::append(info, context);
    base::Bytes bytes = hkdf_sha256(shared, {}, info, 32);
    DataKey out(std::span<const std::uint8_t, 32>(bytes.data(), 32));
    OPENSSL_cleanse(shared.data(), shared.size());
    OPENSSL_cleanse(bytes.data(), bytes.size());
    return out;
}

}  // namespace

DataKey::DataKey(std::span<const std::uint8_t, 32> bytes) {
    std::copy(bytes.begin(), bytes.end(), bytes_.begin());
}

DataKey DataKey::generate() {
    base::Bytes bytes = random_bytes(32);
    DataKey out(std::span<const std::uint8_t, 32>(bytes.data(), 32));
    OPENSSL_cleanse(bytes.data(), bytes.size());
    return out;
}

DataKey::DataKey(DataKey&& other) noexcept : bytes_(other.bytes_) {
    OPENSSL_cleanse(other.bytes_.data(), other.bytes_.size());
}

DataKey& DataKey::operator=(DataKey&& other) noexcept {
    if (this == &other) return *this;
    bytes_ = other.bytes_;
    OPENSSL_cleanse(other.bytes_.data(), other.bytes_.size());
    return *this;
}

DataKey::~DataKey() {
    OPENSSL_cleanse(bytes_.data(), bytes_.size());
}

base::Result<PublicKey> recover_public_key(const base::Hash32& digest,
                                           const base::Signature& signature) {
    TRY(parse_signature(signature.span()));
    secp256k1_ecdsa_recoverable_signature raw;
    secp256k1_pubkey point;
    if (secp256k1_ecdsa_recoverable_signature_parse_compact(
            secp256k1_context_static, &raw, signature.data(), signature.data()[64] - 27) != 1)
        return fail(ErrorCode::invalid_signature, "r or s is out of range");
    if (secp256k1_ecdsa_recover(secp256k1_context_static, &point, &raw, digest.data()) != 1)
        return fail(ErrorCode::invalid_signature, "no key gives this signature");
    std::array<std::uint8_t, 65> encoded{};
    std::size_t size = encoded.size();
    MR_CHECK(secp256k1_ec_pubkey_serialize(secp256k1_context_static, encoded.data(), &size, &point,
                                           SECP256K1_EC_UNCOMPRESSED) == 1);
    PublicKey out{};
    std::copy(encoded.begin() + 1, encoded.end(), out.begin());
    return out;
}

base::Result<std::array<std::uint8_t, 32>> shared_x(const PrivateKey& key,
                                                    const PublicKey& public_key) {
    std::array<std::uint8_t, 65> encoded{};
    encoded[0] = 0x04;
    std::copy(public_key.begin(), public_key.end(), encoded.begin() + 1);
    secp256k1_pubkey point{};
    if (secp256k1_ec_pubkey_parse(secp256k1_context_static, &point, encoded.data(),
                                  encoded.size()) != 1)
        return fail(ErrorCode::invalid_encoding, "the public key is not a point of the curve");
    std::array<std::uint8_t, 32> out{};
    MR_CHECK(secp256k1_ecdh(secp256k1_context_static, out.data(), &point, key.secret().data(),
                            &take_x, nullptr) == 1);
    return out;
}

base::Result<base::Bytes> wrap_key(const DataKey& key, const PublicKey& recipient,
                                   base::ByteView context) {
    const PrivateKey ephemeral = PrivateKey::generate();
    const PublicKey ephemeral_public = ephemeral.public_key();
    TRY_ASSIGN(const DataKey wrapping,
               wrapping_key(ephemeral, recipient, ephemeral_public, recipient, context));
    base::Bytes out{kVersion};
    base::append(out, ephemeral_public);
    base::append(out, gcm_seal(wrapping.bytes(), GcmNonce{}, key.bytes(), out));
    return out;
}

base::Result<DataKey> unwrap_key(base::ByteView wrapped, const PrivateKey& recipient,
                                 base::ByteView context) {
    if (wrapped.size() != kWrappedKeyBytes)
        return fail(ErrorCode::invalid_encoding,
                    "a wrapped key has " + std::to_string(kWrappedKeyBytes) + " bytes");
    if (wrapped[0] != kVersion)
        return fail(ErrorCode::unsupported, "this version of wrapped keys; 1 is known");
    PublicKey ephemeral{};
    std::copy_n(wrapped.begin() + 1, ephemeral.size(), ephemeral.begin());
    TRY_ASSIGN(const DataKey wrapping,
               wrapping_key(recipient, ephemeral, ephemeral, recipient.public_key(), context));
    TRY_ASSIGN(base::Bytes bytes, gcm_open(wrapping.bytes(), GcmNonce{}, wrapped.subspan(1 + 64),
                                           wrapped.first(1 + 64)));
    DataKey out(std::span<const std::uint8_t, 32>(bytes.data(), 32));
    OPENSSL_cleanse(bytes.data(), bytes.size());
    return out;
}

}  // namespace ledger::crypto
