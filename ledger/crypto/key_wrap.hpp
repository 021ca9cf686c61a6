// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/crypto/secp256k1.hpp"

#include <array>
#include <cstdint>
#include <span>

namespace ledger::crypto {

/// A key for data: 32 bytes that are wiped when they go, never copied or printed.
class DataKey {
 public:
    [[nodiscard]] static DataKey generate();
    explicit DataKey(std::span<const std::uint8_t, 32> bytes);
    DataKey(DataKey&& other) noexcept;
    DataKey& operator=(DataKey&& other) noexcept;
    DataKey(const DataKey&) = delete;
    DataKey& operator=(const DataKey&) = delete;
    ~DataKey();

    [[nodiscard]] std::span<const std::uint8_t, 32> bytes() const noexcept { return bytes_; }

 private:
    std::array<std::uint8_t, 32> bytes_{};
};

/// x ‖ y of a point, as PrivateKey::public_key gives it. Whose it is, `address_of` says: a public
/// key from anywhere is good when its address is the one that was meant.
using PublicKey = std::array<std::uint8_t, 64>;

/// The key that made this signature; errors as `recover`.
[[nodiscard]] base::Result<PublicKey> recover_public_key(const base::Hash32& digest,
                                                         const base::Signature& signature);

/// x of the point that `key` and the other's `public_key` share. invalid_encoding: not on the
/// curve.
[[nodiscard]] base::Result<std::array<std::uint8_t, 32>> shared_x(const PrivateKey& key,
                                                                  const PublicKey& public_key);

inline constexpr std::size_t kWrappedKeyBytes = 1 + 64 + 32 + 16;

/// The data key for the holder of `recipient`'s private key alone, and for `context` alone (what
/// the key is for: names of the job and the lease): version 1 ‖ an ephemeral public key ‖
/// AES-256-GCM of the key. The wrapping key is HKDF-SHA256 of the shared x, with both public keys
/// and the context as info; as it is used once, the nonce is zero.
/// invalid_encoding: `recipient` is not on the curve.
[[nodiscard]] base::Result<base::Bytes> wrap_key(const DataKey& key, const PublicKey& recipient,
                                                 base::ByteView context);

/// unsupported: another version; invalid_encoding: wrong length or not a point; data_invalid:
/// wrapped for another key or context, or changed since.
[[nodiscard]] base::Result<DataKey> unwrap_key(base::ByteView wrapped, const PrivateKey& recipient,
                                               base::ByteView context);

}  // namespace ledger::crypto
