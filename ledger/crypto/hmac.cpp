// SPDX-License-Identifier: Apache-2.0
#include "ledger/crypto/hmac.hpp"

#include "ledger/base/check.hpp"

#include <openssl/evp.h>
#include <openssl/hmac.h>

namespace ledger::crypto {

std::array<std::uint8_t, 32> hmac_sha256(base::ByteView key, base::ByteView text) {
    std::array<std::uint8_t, 32> out{};
    unsigned size = 0;
    MR_CHECK(HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), text.data(), text.size(),
                  out.data(), &size) != nullptr);
    MR_CHECK(size == out.size());
    return out;
}

}  // namespace ledger::crypto
