// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"
#include "ledger/crypto/aes_gcm.hpp"
#include "ledger/crypto/key_wrap.hpp"

#include <cstdint>
#include <filesystem>
#include <optional>

/// Files encrypted in pieces, so that a large one is read and written with little memory and a
/// piece is trusted only after it was checked.
///
/// A sealed file is a header and chunks. Header: "MRSEALED", version 1, a random salt of 32 bytes.
/// Chunk: AES-256-GCM of 1 MiB of the file, of what is left in the last one (none only when the
/// file is empty), tag at the end. Key and nonce prefix (7 bytes): HKDF-SHA256 of the data key with
/// the salt. Nonce: prefix ‖ number of the chunk (32 bits, big-endian) ‖ 1 in the last, else 0.
/// Associated data: header ‖ context. So a changed, missing, repeated, moved or foreign chunk, a
/// cut file and another key or context are all refused.
namespace ledger::crypto {

inline constexpr std::size_t kSealedChunkBytes = 1U << 20U;  ///< of plain text
inline constexpr std::size_t kSealedHeaderBytes = 8 + 1 + 32;
inline constexpr std::uint64_t kSealedPlainBytesMax = 64ULL << 30;

enum class Chunk : std::uint8_t { kInner = 0, kLast = 1 };

/// The keys of one sealed file. One direction each; not thread-safe.
class BlobSealer {
 public:
    /// A new file for `key` and `context` (what the file is: a few bytes, the same for the opener).
    BlobSealer(const DataKey& key, base::ByteView context);
    [[nodiscard]] base::ByteView header() const noexcept { return header_; }
    /// The next chunk: `kSealedChunkBytes` of plain text, up to that many when it is the last.
    [[nodiscard]] base::Bytes seal(base::ByteView plain, Chunk kind);

 private:
    base::Bytes header_;
    base::Bytes associated_;
    DataKey key_;
    GcmNonce nonce_{};
    std::uint64_t next_ = 0;
    bool ended_ = false;
};

class BlobOpener {
 public:
    /// invalid_encoding: no sealed file; unsupported: another version.
    [[nodiscard]] static base::Result<BlobOpener> make(base::ByteView header, const DataKey& key,
                                                       base::ByteView context);
    /// The plain text of the next chunk. data_invalid: not the chunk that follows, of another file,
    /// changed, or for another key or context; nothing of it is given out.
    [[nodiscard]] base::Result<base::Bytes> open(base::ByteView sealed, Chunk kind);

 private:
    BlobOpener(base::Bytes associated, DataKey key, const GcmNonce& nonce);

    base::Bytes associated_;
    DataKey key_;
    GcmNonce nonce_;
    std::uint64_t next_ = 0;
};

/// Bytes of the sealed file of so many plain ones.
[[nodiscard]] std::uint64_t sealed_bytes(std::uint64_t plain_bytes) noexcept;

/// Writes the sealed form of `from` to `to`, which is synced. too_large; data_missing: `from`
/// cannot be read; io_error and disk_full; then `to` is removed.
[[nodiscard]] base::Result<void> seal_file(const std::filesystem::path& from,
                                           const std::filesystem::path& to, const DataKey& key,
                                           base::ByteView context);
/// The other way. With any error, those of BlobOpener among them, `to` is removed.
[[nodiscard]] base::Result<void> open_file(const std::filesystem::path& from,
                                           const std::filesystem::path& to, const DataKey& key,
                                           base::ByteView context);

}  // namespace ledger::crypto
