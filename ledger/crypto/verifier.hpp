// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/bytes.hpp"

#include <array>
#include <cstdint>
#include <unordered_map>

namespace ledger::crypto {

/// Checks many signatures of few signers: a signer's public key is recovered once and then only
/// verified against, which costs a sixth less. Of v it checks that it is 27 or 28, not which: the
/// key's hand shows in r and s. Grows with the signers. One per thread.
class Verifier {
 public:
    [[nodiscard]] bool verify(const base::Hash32& digest, const base::Signature& signature,
                              const base::Address& signer);

 private:
    std::unordered_map<base::Address, std::array<std::uint8_t, 64>> keys_;  // as the library's
};

}  // namespace ledger::crypto
