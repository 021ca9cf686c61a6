// SPDX-License-Identifier: Apache-2.0
#include "ledger/crypto/hkdf.hpp"

#include "ledger/base/check.hpp"
#include "ledger/crypto/hmac.hpp"

#include <openssl/crypto.h>

#include <array>

namespace ledger::crypto {
namespace {

using Block = std::array<std::uint8_t, 32>;

}  // namespace

base::Bytes hkdf_sha256(base::ByteView secret, base::ByteView salt, base::ByteView info,
                        std::size_t count) {
    MR_CHECK(count >= 1 && count <= 255 * sizeof(Block));
    const Block zeros{};
    Block key = hmac_sha256(salt.empty() ? base::ByteView(zeros) : salt, secret);
    base::Bytes out;
    Block last{};
    for (std::uint8_t i = 1; out.size() < count; ++i) {
        base::Bytes text;
        if (i > 1) base::append(text, last);
        base::append(text, info);
        text.push_back(i);
        last = hmac_sha256(key, text);
        OPENSSL_cleanse(text.data(), text.size());
        const std::size_t want = std::min(last.size(), count - out.size());
        base::append(out, base::ByteView(last.data(), want));
    }
    OPENSSL_cleanse(key.data(), key.size());
    OPENSSL_cleanse(last.data(), last.size());
    return out;
}

}  // namespace ledger::crypto
