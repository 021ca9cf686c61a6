// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/bytes.hpp"
#include "ledger/base/result.hpp"

#include <memory>

namespace ledger::crypto {

/// A private key. Its bytes are wiped when it goes; it is never copied or printed.
class PrivateKey {
 public:
    /// Fails with invalid_encoding when the scalar is 0 or not below the group order.
    [[nodiscard]] static base::Result<PrivateKey> from_bytes(base::ByteView bytes);
    /// A new key from the operating system's randomness.
    [[nodiscard]] static PrivateKey generate();

    PrivateKey(PrivateKey&&) noexcept;
    PrivateKey& operator=(PrivateKey&&) noexcept;
    PrivateKey(const PrivateKey&) = delete;
    PrivateKey& operator=(const PrivateKey&) = delete;
    ~PrivateKey();

    /// The account this key signs for.
    [[nodiscard]] const base::Address& address() const noexcept { return address_; }
    /// Uncompressed public key without the 0x04 prefix: x ‖ y.
    [[nodiscard]] std::array<std::uint8_t, 64> public_key() const;
    /// The scalar, for the key store only.
    [[nodiscard]] base::ByteView secret() const noexcept { return secret_; }

    /// Deterministic (RFC 6979), low-s, v in {27, 28}.
    [[nodiscard]] base::Signature sign(const base::Hash32& digest) const;

 private:
    PrivateKey() = default;
    std::array<std::uint8_t, 32> secret_{};
    base::Address address_;
};

/// The signer of a digest. invalid_signature for high s, v outside {27, 28}, r or s out of range.
/// Thread-safe.
[[nodiscard]] base::Result<base::Address> recover(const base::Hash32& digest,
                                                  const base::Signature& signature);

/// Parses 65 signature bytes; refuses the 64-byte form, v of 0/1, and high s.
[[nodiscard]] base::Result<base::Signature> parse_signature(base::ByteView bytes);

/// Succeeds when `signer` signed `digest`; invalid_signature otherwise.
[[nodiscard]] base::Result<void> verify(const base::Hash32& digest,
                                        const base::Signature& signature,
                                        const base::Address& signer);

/// The account of an uncompressed public key (x ‖ y).
[[nodiscard]] base::Address address_of(std::span<const std::uint8_t, 64> public_key);

/// EIP-191 "personal" digest: keccak("\x19Ethereum Signed Message:\n" ‖ length ‖ text).
[[nodiscard]] base::Hash32 personal_digest(std::string_view text);

/// `count` bytes from the operating system.
[[nodiscard]] base::Bytes random_bytes(std::size_t count);

}  // namespace ledger::crypto
