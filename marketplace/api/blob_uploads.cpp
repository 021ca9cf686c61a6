// SPDX-License-Identifier: Apache-2.0
#include "marketplace/api/blob_uploads.hpp"

#include "ledger/base/hex.hpp"
#include "ledger/base/money.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <system_error>
#include <utility>
#include <vector>

namespace marketplace::api {

namespace fs = std::filesystem;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;
using ledger::base::to_hex;

namespace {

constexpr std::size_t kUploadsMax = 4096;
constexpr std::size_t kUploadsPerAccountMax = 16;

/// SHA-256 of a file of `length` bytes, synced.
[[nodiscard]] Result<domain::Hash32> hash_synced(const fs::path& file, std::uint64_t length) {
    const int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return blob_disk_error();
    ledger::base::Sha256 hash;
    std::vector<std::uint8_t> buffer(1U << 20U);
    std::uint64_t left = length;
    while (left > 0) {
        const ssize_t got = ::read(fd, buffer.data(), buffer.size());
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) break;
        hash.update(ledger::base::ByteView(buffer.data(), static_cast<std::size_t>(got)));
        left -= std::min(left, static_cast<std::uint64_t>(got));
    }
    const bool ok = left == 0 && ::fsync(fd) == 0;
    ::close(fd);
    if (!ok) return blob_disk_error();
    return hash.finish();
}

}  // namespace

BlobUploads::BlobUploads(BlobStore& store) : store_(store), folder_(store.folder() / "parts") {}

BlobUploads::~BlobUploads() {
    store_.stop();
}

Result<std::unique_ptr<BlobUploads>> BlobUploads::open(BlobStore& store) {
    std::unique_ptr<BlobUploads> uploads(new BlobUploads(store));
    TRY(uploads->scan());
    return uploads;
}

Result<void> BlobUploads::scan() {
    std::error_code ec;
    fs::create_directories(folder_, ec);
    if (ec) return fail(ErrorCode::io_error, "the blob folder cannot be made");
    fs::directory_iterator item(folder_, ec);
    for (; !ec && item != fs::directory_iterator(); item.increment(ec))
        take_up(item->path());
    if (ec) return fail(ErrorCode::io_error, "the blob folder cannot be read");
    return {};
}

/// "<account>_<hash>_<length>"; a file that is none of ours, or for which there is no room, goes.
void BlobUploads::take_up(const fs::path& file) {
    constexpr std::size_t kAccountEnd = 40;
    constexpr std::size_t kHashEnd = kAccountEnd + 1 + 64;
    const std::string name = file.filename().string();
    Key key;
    Entry entry;
    struct stat facts {};
    bool ours = name.size() > kHashEnd + 1 && name[kAccountEnd] == '_' && name[kHashEnd] == '_' &&
                ::stat(file.c_str(), &facts) == 0 && S_ISREG(facts.st_mode);
    if (ours) {
        const auto account =
            ledger::base::parse_fixed<domain::Address>("0x" + name.substr(0, kAccountEnd));
        const auto hash =
            ledger::base::parse_fixed<domain::Hash32>("0x" + name.substr(kAccountEnd + 1, 64));
        const auto length = ledger::base::parse_u64(name.substr(kHashEnd + 1));
        ours = account && hash && length && *length <= kBlobBytesMax &&
               static_cast<std::uint64_t>(facts.st_size) <= *length;
        if (ours) {
            key = {*account, *hash};
            entry.state = {static_cast<std::uint64_t>(facts.st_size), *length, false};
            entry.touched_ms = static_cast<ledger::base::TimeMs>(facts.st_mtim.tv_sec) * 1000;
        }
    }
    if (!ours || uploads_.size() >= kUploadsMax ||
        !store_.reserve(key.account, entry.state.length)) {
        ::unlink(file.c_str());
        return;
    }
    uploads_.emplace(key, entry);
}

fs::path BlobUploads::path_of(const Key& key, std::uint64_t length) const {
    return folder_ / fmt::format("{}_{}_{}", to_hex(key.account).substr(2),
                                 to_hex(key.hash).substr(2), length);
}

Result<BlobUploads::State> BlobUploads::create(const domain::Address& account,
                                               const domain::Hash32& hash, std::uint64_t length) {
    if (length == 0 || length > kBlobBytesMax)
        return fail(ErrorCode::out_of_range,
                    fmt::format("a blob sent in parts has 1 to {} bytes", kBlobBytesMax));
    if (store_.has(hash)) return State{length, length, true};
    const Key key{account, hash};
    const std::lock_guard lock(mutex_);
    const auto found = uploads_.find(key);
    if (found != uploads_.end()) {
        if (found->second.state.length != length)
            return fail(ErrorCode::exists_with_different_body,
                        fmt::format("this upload was begun with {} bytes; delete it first",
                                    found->second.state.length));
        return found->second.state;
    }
    std::size_t own = 0;
    for (auto it = uploads_.lower_bound({account, {}});
         it != uploads_.end() && it->first.account == account; ++it)
        ++own;
    if (own >= kUploadsPerAccountMax || uploads_.size() >= kUploadsMax)
        return fail(ErrorCode::rate_limited,
                    fmt::format("an account may have {} unfinished uploads: finish or delete one",
                                kUploadsPerAccountMax));
    TRY(store_.reserve(account, length));
    const int fd =
        ::open(path_of(key, length).c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0) {
        const auto error = blob_disk_error();
        store_.release(account, length);
        return error;
    }
    ::close(fd);
    Entry entry;
    entry.state.length = length;
    entry.touched_ms = store_.clock().now_ms();
    uploads_.emplace(key, entry);
    return entry.state;
}

std::optional<BlobUploads::State> BlobUploads::find(const domain::Address& account,
                                                    const domain::Hash32& hash) const {
    const std::lock_guard lock(mutex_);
    const auto found = uploads_.find({account, hash});
    if (found == uploads_.end()) return std::nullopt;
    return found->second.state;
}

void BlobUploads::remove(std::map<Key, Entry>::iterator entry) {
    const auto& [key, upload] = *entry;
    ::unlink(path_of(key, upload.state.length).c_str());
    store_.release(key.account, upload.state.length);
    uploads_.erase(entry);
}

Result<void> BlobUploads::drop(const domain::Address& account, const domain::Hash32& hash) {
    const std::lock_guard lock(mutex_);
    const auto found = uploads_.find({account, hash});
    if (found == uploads_.end()) return fail(ErrorCode::not_found, "no such upload");
    if (found->second.busy) return fail(ErrorCode::wrong_state, "a piece is on its way");
    remove(found);
    return {};
}

Result<std::shared_ptr<BlobUploads::Piece>> BlobUploads::append(const domain::Address& account,
                                                                const domain::Hash32& hash,
                                                                std::uint64_t offset,
                                                                std::uint64_t bytes) {
    const Key key{account, hash};
    const std::lock_guard lock(mutex_);
    const auto found = uploads_.find(key);
    if (found == uploads_.end()) return fail(ErrorCode::not_found, "no such upload; begin it");
    Entry& entry = found->second;
    if (entry.busy) return fail(ErrorCode::wrong_state, "another piece is on its way");
    if (offset != entry.state.offset)
        return fail(ErrorCode::wrong_state,
                    fmt::format("go on from byte {}: that many are here", entry.state.offset));
    if (bytes > entry.state.length - offset)
        return fail(ErrorCode::out_of_range,
                    fmt::format("the blob was announced with {} bytes", entry.state.length));
    const int fd = ::open(path_of(key, entry.state.length).c_str(), O_WRONLY | O_CLOEXEC);
    if (fd < 0) return blob_disk_error();
    entry.busy = true;
    return std::make_shared<Piece>(*this, key, offset, fd);
}

Result<void> BlobUploads::Piece::write(std::string_view piece) {
    TRY(write_blob_bytes(fd_, piece, offset_));
    offset_ += piece.size();
    return {};
}

BlobUploads::Piece::~Piece() {
    uploads_.settle(*this);
    ::close(fd_);
}

/// The upload goes on after what the piece wrote; the next piece may come.
void BlobUploads::settle(Piece& piece) {
    const std::lock_guard lock(mutex_);
    if (std::exchange(piece.settled_, true)) return;
    const auto found = uploads_.find(piece.key_);
    if (found == uploads_.end()) return;  // stored, or refused as a whole
    found->second.busy = false;
    found->second.state.offset = piece.offset_;
    found->second.touched_ms = store_.clock().now_ms();
}

void BlobUploads::commit(std::shared_ptr<Piece> piece, std::function<void(Result<State>)> done) {
    const bool queued = store_.post([this, piece, done] {
        Result<State> state = finish(*piece);
        settle(*piece);  // who hears of this piece may send the next at once
        done(std::move(state));
    });
    if (!queued) done(fail(ErrorCode::queue_full, "too many uploads at once"));
}

Result<BlobUploads::State> BlobUploads::finish(Piece& piece) {
    State state;
    {
        const std::lock_guard lock(mutex_);
        const auto found = uploads_.find(piece.key_);
        if (found == uploads_.end()) return fail(ErrorCode::not_found, "no such upload");
        state = found->second.state;
    }
    if (::fsync(piece.fd_) != 0) return blob_disk_error();
    state.offset = piece.offset_;
    if (state.offset < state.length) return state;
    return store_whole(piece.key_, state.length);
}

Result<BlobUploads::State> BlobUploads::store_whole(const Key& key, std::uint64_t length) {
    const fs::path file = path_of(key, length);
    TRY_ASSIGN(const domain::Hash32 found, hash_synced(file, length));
    Result<BlobStore::Stored> stored = BlobStore::Stored::kKnown;
    if (found == key.hash) stored = store_.adopt(file, key.hash, key.account, length);
    if (!stored) return tl::make_unexpected(stored.error());
    const std::lock_guard lock(mutex_);
    const auto entry = uploads_.find(key);
    if (entry == uploads_.end()) return fail(ErrorCode::internal);
    if (found == key.hash && *stored == BlobStore::Stored::kNew) {
        uploads_.erase(entry);  // what was reserved is now counted as stored
    } else {
        remove(entry);
    }
    if (found != key.hash)
        return fail(ErrorCode::data_invalid,
                    fmt::format("the {} bytes received have the hash {}; the upload was dropped",
                                length, to_hex(found)));
    return State{length, length, true};
}

std::size_t BlobUploads::expire() {
    std::size_t count = 0;
    const ledger::base::TimeMs now = store_.clock().now_ms();
    const std::lock_guard lock(mutex_);
    for (auto it = uploads_.begin(); it != uploads_.end();) {
        const auto at = it++;
        if (at->second.busy || at->second.touched_ms + store_.limits().upload_ms > now) continue;
        remove(at);
        ++count;
    }
    return count;
}

}  // namespace marketplace::api
