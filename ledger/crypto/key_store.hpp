// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"
#include "ledger/crypto/secp256k1.hpp"

#include <filesystem>
#include <string>
#include <string_view>

namespace ledger::crypto {

/// scrypt cost of a key file (RFC 7914). Standard takes about 1.8 s and 272 MiB.
enum class KeyStoreCost : std::uint8_t { kStandard = 0, kLight = 1 };

/// Web3 Secret Storage version 3 document of a key (scrypt, aes-128-ctr, keccak MAC).
[[nodiscard]] std::string encrypt_key(const PrivateKey& key, std::string_view password,
                                      KeyStoreCost cost);

/// Opens a document. forbidden: wrong password; invalid_encoding: not such a document or its
/// address does not match its key; out_of_range: a cost above N = 2^18, r = 8, p = 8 or dklen
/// != 32.
[[nodiscard]] base::Result<PrivateKey> decrypt_key(std::string_view document,
                                                   std::string_view password);

/// Writes to a temporary file (mode 0600), fsyncs, reads it back, decrypts, then renames.
[[nodiscard]] base::Result<void> write_key_file(const std::filesystem::path& path,
                                                const PrivateKey& key, std::string_view password,
                                                KeyStoreCost cost);

/// The same key under another password, at the file's own cost and mode: written beside it, read
/// back, then renamed over it. After a crash the file is the old or the new one, never neither.
/// Nothing is changed on any error; `read_key_file` says which there are.
[[nodiscard]] base::Result<void> change_password(const std::filesystem::path& path,
                                                 std::string_view old_password,
                                                 std::string_view new_password);

/// Reads at most 16 KiB and decrypts.
[[nodiscard]] base::Result<PrivateKey> read_key_file(const std::filesystem::path& path,
                                                     std::string_view password);

}  // namespace ledger::crypto
