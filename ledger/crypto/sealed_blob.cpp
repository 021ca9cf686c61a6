// SPDX-License-Identifier: Apache-2.0
#include "ledger/crypto/sealed_blob.hpp"

#include "ledger/base/check.hpp"
#include "ledger/crypto/hkdf.hpp"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <string_view>
#include <tuple>
#include <utility>

namespace ledger::crypto {
namespace {

namespace fs = std::filesystem;
using base::ErrorCode;
using base::fail;
using base::Result;

constexpr std::string_view kMagic = "MRSEALED";
constexpr std::uint8_t kVersion = 1;
constexpr std::string_view kPurpose = "millrace sealed blob 1";
constexpr std::size_t kPrefixBytes = 7;

/// Key and nonce prefix of the file with this header.
std::pair<DataKey, GcmNonce> derive(const DataKey& key, base::ByteView header) {
    const base::ByteView salt = header.subspan(kMagic.size() + 1);
    base::Bytes bytes = hkdf_sha256(key.bytes(), salt, base::as_bytes(kPurpose), 32 + kPrefixBytes);
    std::pair<DataKey, GcmNonce> out(std::span<const std::uint8_t, 32>(bytes.data(), 32),
                                     GcmNonce{});
    std::copy_n(bytes.begin() + 32, kPrefixBytes, out.second.begin());
    OPENSSL_cleanse(bytes.data(), bytes.size());
    return out;
}

GcmNonce nonce_of(const GcmNonce& prefix, std::uint64_t chunk, Chunk kind) {
    GcmNonce out = prefix;
    for (std::size_t i = 0; i < 4; ++i)
        out.at(kPrefixBytes + i) = static_cast<std::uint8_t>(chunk >> (24 - 8 * i));
    out.back() = static_cast<std::uint8_t>(kind);
    return out;
}

base::Bytes associated_data(base::ByteView header, base::ByteView context) {
    base::Bytes out(header.begin(), header.end());
    base::append(out, context);
    return out;
}

/// Owns a file descriptor.
class File {
 public:
    explicit File(int descriptor) : descriptor_(descriptor) {}
    ~File() {
        if (descriptor_ >= 0) ::close(descriptor_);
    }
    File(const File&) = delete;
    File& operator=(const File&) = delete;
    [[nodiscard]] int get() const noexcept { return descriptor_; }

 private:
    int descriptor_;
};

tl::unexpected<base::Error> write_error() {
    return fail(errno == ENOSPC || errno == EDQUOT ? ErrorCode::disk_full : ErrorCode::io_error,
                "cannot write the file");
}

Result<void> write_all(int file, base::ByteView bytes) {
    while (!bytes.empty()) {
        const ssize_t count = ::write(file, bytes.data(), bytes.size());
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) return write_error();
        bytes = bytes.subspan(static_cast<std::size_t>(count));
    }
    return {};
}

/// Exactly `count` bytes.
Result<base::Bytes> read_exactly(int file, std::size_t count) {
    base::Bytes out(count);
    std::size_t have = 0;
    while (have < count) {
        const ssize_t got = ::read(file, out.data() + have, count - have);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return fail(ErrorCode::io_error, "cannot read the file");
        if (got == 0) return fail(ErrorCode::data_invalid, "the file became shorter meanwhile");
        have += static_cast<std::size_t>(got);
    }
    return out;
}

/// `work` on both files; `to` is new, synced when all went well and removed when not.
Result<void> with_files(
    const fs::path& from, const fs::path& to,
    const std::function<Result<void>(int in, std::uint64_t bytes, int out)>& work) {
    const File in(::open(from.c_str(), O_RDONLY | O_CLOEXEC));
    struct stat facts {};
    if (in.get() < 0 || ::fstat(in.get(), &facts) != 0 || !S_ISREG(facts.st_mode))
        return fail(ErrorCode::data_missing, "cannot read the file");
    const File out(::open(to.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    if (out.get() < 0) return write_error();
    Result<void> done = work(in.get(), static_cast<std::uint64_t>(facts.st_size), out.get());
    if (done && ::fsync(out.get()) != 0) done = write_error();
    if (!done) ::unlink(to.c_str());
    return done;
}

/// Calls `use` for each piece of `bytes` cut into pieces of `piece`: its size, and if it is last.
Result<void> for_each_piece(std::uint64_t bytes, std::size_t piece,
                            const std::function<Result<void>(std::size_t, Chunk)>& use) {
    std::uint64_t left = bytes;
    do {
        const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(left, piece));
        left -= size;
        TRY(use(size, left == 0 ? Chunk::kLast : Chunk::kInner));
    } while (left > 0);
    return {};
}

}  // namespace

BlobSealer::BlobSealer(const DataKey& key, base::ByteView context) : key_(key.bytes()) {
    base::append(header_, base::as_bytes(kMagic));
    header_.push_back(kVersion);
    base::append(header_, random_bytes(32));
    associated_ = associated_data(header_, context);
    std::tie(key_, nonce_) = derive(key, header_);
}

base::Bytes BlobSealer::seal(base::ByteView plain, Chunk kind) {
    MR_CHECK(!ended_);
    MR_CHECK(next_ * kSealedChunkBytes <= kSealedPlainBytesMax);
    MR_CHECK(kind == Chunk::kLast ? plain.size() <= kSealedChunkBytes
                                  : plain.size() == kSealedChunkBytes);
    ended_ = kind == Chunk::kLast;
    return gcm_seal(key_.bytes(), nonce_of(nonce_, next_++, kind), plain, associated_);
}

BlobOpener::BlobOpener(base::Bytes associated, DataKey key, const GcmNonce& nonce)
    : associated_(std::move(associated)), key_(std::move(key)), nonce_(nonce) {}

Result<BlobOpener> BlobOpener::make(base::ByteView header, const DataKey& key,
                                    base::ByteView context) {
    if (header.size() != kSealedHeaderBytes || base::as_text(header.first(kMagic.size())) != kMagic)
        return fail(ErrorCode::invalid_encoding, "not a sealed file");
    if (header[kMagic.size()] != kVersion)
        return fail(ErrorCode::unsupported, "this version of sealed files; 1 is known");
    auto [file_key, nonce] = derive(key, header);
    return BlobOpener(associated_data(header, context), std::move(file_key), nonce);
}

Result<base::Bytes> BlobOpener::open(base::ByteView sealed, Chunk kind) {
    constexpr std::size_t kWhole = kSealedChunkBytes + kGcmTagBytes;
    const bool fits = kind == Chunk::kInner ? sealed.size() == kWhole : sealed.size() <= kWhole;
    const bool empty_tail = next_ > 0 && sealed.size() == kGcmTagBytes;
    if (!fits || empty_tail || next_ * kSealedChunkBytes > kSealedPlainBytesMax)
        return fail(ErrorCode::data_invalid, "a chunk has a wrong length, or there are too many");
    return gcm_open(key_.bytes(), nonce_of(nonce_, next_++, kind), sealed, associated_);
}

std::uint64_t sealed_bytes(std::uint64_t plain_bytes) noexcept {
    const std::uint64_t chunks = plain_bytes == 0 ? 1 : (plain_bytes - 1) / kSealedChunkBytes + 1;
    return kSealedHeaderBytes + plain_bytes + chunks * kGcmTagBytes;
}

Result<void> seal_file(const fs::path& from, const fs::path& to, const DataKey& key,
                       base::ByteView context) {
    return with_files(from, to, [&](int in, std::uint64_t bytes, int out) -> Result<void> {
        if (bytes > kSealedPlainBytesMax)
            return fail(ErrorCode::too_large, "a sealed file holds at most " +
                                                  std::to_string(kSealedPlainBytesMax) + " bytes");
        BlobSealer sealer(key, context);
        TRY(write_all(out, sealer.header()));
        return for_each_piece(bytes, kSealedChunkBytes,
                              [&](std::size_t size, Chunk kind) -> Result<void> {
                                  TRY_ASSIGN(const base::Bytes plain, read_exactly(in, size));
                                  return write_all(out, sealer.seal(plain, kind));
                              });
    });
}

Result<void> open_file(const fs::path& from, const fs::path& to, const DataKey& key,
                       base::ByteView context) {
    return with_files(from, to, [&](int in, std::uint64_t bytes, int out) -> Result<void> {
        if (bytes < kSealedHeaderBytes)
            return fail(ErrorCode::invalid_encoding, "not a sealed file");
        if (bytes > sealed_bytes(kSealedPlainBytesMax))
            return fail(ErrorCode::too_large, "the sealed file");
        TRY_ASSIGN(const base::Bytes header, read_exactly(in, kSealedHeaderBytes));
        TRY_ASSIGN(BlobOpener opener, BlobOpener::make(header, key, context));
        return for_each_piece(bytes - kSealedHeaderBytes, kSealedChunkBytes + kGcmTagBytes,
                              [&](std::size_t size, Chunk kind) -> Result<void> {
                                  TRY_ASSIGN(const base::Bytes sealed, read_exactly(in, size));
                                  TRY_ASSIGN(const base::Bytes plain, opener.open(sealed, kind));
                                  return write_all(out, plain);
                              });
    });
}

}  // namespace ledger::crypto
