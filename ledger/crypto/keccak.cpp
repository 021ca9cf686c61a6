// SPDX-License-Identifier: Apache-2.0
#include "ledger/crypto/keccak.hpp"

#include <cryptopp/keccak.h>

namespace ledger::crypto {

base::Hash32 keccak256(base::ByteView bytes) {
    base::Hash32 out;
    CryptoPP::Keccak_256 hasher;
    hasher.Update(bytes.data(), bytes.size());
    hasher.Final(out.data());
    return out;
}

}  // namespace ledger::crypto
