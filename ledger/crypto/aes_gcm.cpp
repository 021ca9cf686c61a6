// SPDX-License-Identifier: Apache-2.0
#include "ledger/crypto/aes_gcm.hpp"

#include "ledger/base/check.hpp"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <limits>
#include <memory>

namespace ledger::crypto {
namespace {

using Context = std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)>;

Context make_context() {
    Context context(EVP_CIPHER_CTX_new(), &EVP_CIPHER_CTX_free);
    MR_CHECK(context != nullptr);
    return context;
}

/// OpenSSL counts in int.
int length(base::ByteView bytes) {
    MR_CHECK(bytes.size() <= static_cast<std::size_t>(std::numeric_limits<int>::max()));
    return static_cast<int>(bytes.size());
}

}  // namespace

base::Bytes gcm_seal(std::span<const std::uint8_t, 32> key, const GcmNonce& nonce,
                     base::ByteView plain, base::ByteView associated) {
    const Context context = make_context();
    base::Bytes out(plain.size() + kGcmTagBytes);
    int size = 0;
    MR_CHECK(EVP_EncryptInit_ex(context.get(), EVP_aes_256_gcm(), nullptr, key.data(),
                                nonce.data()) == 1);
    // Nothing is not handed on: OpenSSL gives null pointers meanings of their own.
    if (!associated.empty())
        MR_CHECK(EVP_EncryptUpdate(context.get(), nullptr, &size, associated.data(),
                                   length(associated)) == 1);
    if (!plain.empty())
        MR_CHECK(EVP_EncryptUpdate(context.get(), out.data(), &size, plain.data(), length(plain)) ==
                 1);
    MR_CHECK(EVP_EncryptFinal_ex(context.get(), out.data() + plain.size(), &size) == 1);
    MR_CHECK(EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_GCM_GET_TAG,
                                 static_cast<int>(kGcmTagBytes), out.data() + plain.size()) == 1);
    return out;
}

base::Result<base::Bytes> gcm_open(std::span<const std::uint8_t, 32> key, const GcmNonce& nonce,
                                   base::ByteView sealed, base::ByteView associated) {
    if (sealed.size() < kGcmTagBytes)
        return base::fail(base::ErrorCode::data_invalid, "sealed bytes are cut");
    const base::ByteView text = sealed.first(sealed.size() - kGcmTagBytes);
    base::Bytes tag(sealed.end() - kGcmTagBytes, sealed.end());
    const Context context = make_context();
    base::Bytes out(text.size());
    int size = 0;
    MR_CHECK(EVP_DecryptInit_ex(context.get(), EVP_aes_256_gcm(), nullptr, key.data(),
                                nonce.data()) == 1);
    if (!associated.empty())
        MR_CHECK(EVP_DecryptUpdate(context.get(), nullptr, &size, associated.data(),
                                   length(associated)) == 1);
    if (!text.empty())
        MR_CHECK(EVP_DecryptUpdate(context.get(), out.data(), &size, text.data(), length(text)) ==
                 1);
    MR_CHECK(EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_GCM_SET_TAG,
                                 static_cast<int>(kGcmTagBytes), tag.data()) == 1);
    std::uint8_t rest = 0;
    if (EVP_DecryptFinal_ex(context.get(), &rest, &size) != 1) {
        OPENSSL_cleanse(out.data(), out.size());
        return base::fail(base::ErrorCode::data_invalid,
                          "sealed for another key or purpose, or changed since");
    }
    return out;
}

}  // namespace ledger::crypto
