// SPDX-License-Identifier: Apache-2.0
#include "marketplace/api/blob_store.hpp"

#include "ledger/base/hex.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <system_error>

namespace marketplace::api {

namespace fs = std::filesystem;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;
using ledger::base::TimeMs;

namespace {

constexpr std::size_t kBlobsMax = 1'000'000;  // each has an entry in memory
constexpr const char* kOwners = "owners";
constexpr const char* kTemporary = "tmp";

[[nodiscard]] bool sync_folder(const fs::path& folder) {
    const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return false;
    const bool ok = ::fsync(fd) == 0;
    ::close(fd);
    return ok;
}

/// The time of last use outlives a restart as the file's modification time.
[[nodiscard]] bool set_time(int fd, TimeMs now_ms) {
    timespec time{};
    time.tv_sec = static_cast<time_t>(now_ms / 1000);
    time.tv_nsec = static_cast<long>(now_ms % 1000) * 1'000'000;
    const timespec both[2] = {time, time};
    return ::futimens(fd, both) == 0;
}

[[nodiscard]] std::string name_of(const domain::Hash32& hash) {
    return ledger::base::to_hex(hash).substr(2);
}

[[nodiscard]] TimeMs time_of(const struct stat& facts) {
    return static_cast<TimeMs>(facts.st_mtim.tv_sec) * 1000 +
           static_cast<TimeMs>(facts.st_mtim.tv_nsec) / 1'000'000;
}

}  // namespace

tl::unexpected<ledger::base::Error> blob_disk_error() {
    if (errno == ENOSPC || errno == EDQUOT) return fail(ErrorCode::disk_full, "the blob store");
    return fail(ErrorCode::io_error, "the blob store");
}

Result<void> write_blob_bytes(int fd, std::string_view piece, std::uint64_t offset) {
    while (!piece.empty()) {
        const ssize_t put = ::pwrite(fd, piece.data(), piece.size(), static_cast<off_t>(offset));
        if (put < 0 && errno == EINTR) continue;
        if (put <= 0) return blob_disk_error();
        piece.remove_prefix(static_cast<std::size_t>(put));
        offset += static_cast<std::uint64_t>(put);
    }
    return {};
}

const ledger::base::Clock& BlobStore::system_clock() {
    static const ledger::base::SystemClock clock;
    return clock;
}

BlobStore::BlobStore(fs::path folder, BlobLimits limits, const ledger::base::Clock& clock)
    : folder_(std::move(folder)), limits_(limits), clock_(clock) {}

BlobStore::~BlobStore() {
    stop();
}

Result<std::unique_ptr<BlobStore>> BlobStore::open(fs::path folder, BlobLimits limits,
                                                   const ledger::base::Clock& clock) {
    std::unique_ptr<BlobStore> store(new BlobStore(std::move(folder), limits, clock));
    TRY(store->scan());
    return store;
}

Result<void> BlobStore::scan() {
    std::error_code ec;
    fs::remove_all(folder_ / kTemporary, ec);
    fs::create_directories(folder_ / kTemporary, ec);
    if (!ec) fs::create_directories(folder_ / kOwners, ec);
    if (ec) return fail(ErrorCode::io_error, "the blob folder cannot be made");
    fs::directory_iterator item(folder_, ec);
    for (; !ec && item != fs::directory_iterator(); item.increment(ec))
        if (item->path().filename().native().size() == 2 && item->is_directory(ec))
            TRY(scan_blobs(item->path()));
    if (ec) return fail(ErrorCode::io_error, "the blob folder cannot be read");
    return scan_owners();
}

Result<void> BlobStore::scan_blobs(const fs::path& shelf) {
    std::error_code ec;
    fs::directory_iterator item(shelf, ec);
    for (; !ec && item != fs::directory_iterator(); item.increment(ec)) {
        const auto hash =
            ledger::base::parse_fixed<domain::Hash32>("0x" + item->path().filename().string());
        struct stat facts {};
        if (!hash || ::stat(item->path().c_str(), &facts) != 0 || !S_ISREG(facts.st_mode)) continue;
        const auto bytes = static_cast<std::uint64_t>(facts.st_size);
        blobs_[*hash] = Entry{bytes, {}, time_of(facts)};
        used_bytes_ += bytes;
    }
    if (ec) return fail(ErrorCode::io_error, "the blob folder cannot be read");
    return {};
}

/// Charges blobs to who brought them. A mark whose blob is gone (a crash between the two) goes.
Result<void> BlobStore::scan_owners() {
    std::error_code ec;
    fs::recursive_directory_iterator item(folder_ / kOwners, ec);
    for (; !ec && item != fs::recursive_directory_iterator(); item.increment(ec)) {
        if (item.depth() != 1) continue;
        const auto account = ledger::base::parse_fixed<domain::Address>(
            "0x" + item->path().parent_path().filename().string());
        const auto hash =
            ledger::base::parse_fixed<domain::Hash32>("0x" + item->path().filename().string());
        const auto found = hash ? blobs_.find(*hash) : blobs_.end();
        if (!account || found == blobs_.end() || !found->second.account.is_zero()) {
            ::unlink(item->path().c_str());
            continue;
        }
        found->second.account = *account;
        charged_[*account] += found->second.bytes;
    }
    if (ec) return fail(ErrorCode::io_error, "the blob owners cannot be read");
    return {};
}

fs::path BlobStore::path_of(const domain::Hash32& hash) const {
    const std::string name = name_of(hash);
    return folder_ / name.substr(0, 2) / name;
}

fs::path BlobStore::owner_path(const domain::Address& account, const domain::Hash32& hash) const {
    return folder_ / kOwners / ledger::base::to_hex(account).substr(2) / name_of(hash);
}

std::optional<fs::path> BlobStore::find(const domain::Hash32& hash) const {
    const std::lock_guard lock(mutex_);
    const auto found = blobs_.find(hash);
    if (found == blobs_.end()) return std::nullopt;
    std::error_code ec;
    fs::path path = path_of(hash);
    if (!fs::is_regular_file(path, ec)) return std::nullopt;  // somebody else removed it
    found->second.used_ms = std::max(found->second.used_ms, clock_.now_ms());
    return path;
}

std::uint64_t BlobStore::used_bytes() const {
    const std::lock_guard lock(mutex_);
    return used_bytes_;
}

std::uint64_t BlobStore::account_bytes(const domain::Address& account) const {
    const std::lock_guard lock(mutex_);
    const auto found = charged_.find(account);
    return found == charged_.end() ? 0 : found->second;
}

std::size_t BlobStore::count() const {
    const std::lock_guard lock(mutex_);
    return blobs_.size();
}

BlobStore::Freed BlobStore::freed() const {
    const std::lock_guard lock(mutex_);
    return freed_;
}

Result<void> BlobStore::reserve(const domain::Address& account, std::uint64_t bytes) {
    const std::lock_guard lock(mutex_);
    const auto passes = [bytes](std::uint64_t used, std::uint64_t most) {
        return bytes <= most && used <= most - bytes;
    };
    if (!passes(used_bytes_, limits_.total_bytes) || blobs_.size() >= kBlobsMax)
        return fail(ErrorCode::disk_full,
                    fmt::format("the market keeps at most {} bytes and has {}; try again later: "
                                "what nothing refers to is dropped with time",
                                limits_.total_bytes, used_bytes_));
    const auto found = charged_.find(account);
    const std::uint64_t charged = found == charged_.end() ? 0 : found->second;
    if (!account.is_zero() && !passes(charged, limits_.account_bytes))
        return fail(ErrorCode::too_large,
                    fmt::format("an account may keep {} bytes here and yours has {}: blobs that "
                                "no open job or model refers to are dropped {} hours after their "
                                "last use",
                                limits_.account_bytes, charged, limits_.keep_ms / 3'600'000));
    used_bytes_ += bytes;
    if (!account.is_zero()) charged_[account] += bytes;
    return {};
}

void BlobStore::release(const domain::Address& account, std::uint64_t bytes) {
    const std::lock_guard lock(mutex_);
    used_bytes_ -= std::min(bytes, used_bytes_);
    const auto found = charged_.find(account);
    if (found == charged_.end()) return;
    found->second -= std::min(bytes, found->second);
    if (found->second == 0) charged_.erase(found);
}

Result<std::shared_ptr<BlobStore::Upload>> BlobStore::begin(const domain::Hash32& hash,
                                                            std::uint64_t length,
                                                            const domain::Address& account) {
    if (has(hash)) return std::make_shared<Upload>(*this, hash, account, 0, -1, fs::path());
    TRY(reserve(account, length));
    fs::path path;
    {
        const std::lock_guard lock(mutex_);
        path = folder_ / kTemporary / std::to_string(next_upload_++);
    }
    const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0) {
        const auto error = blob_disk_error();
        release(account, length);
        return error;
    }
    return std::make_shared<Upload>(*this, hash, account, length, fd, std::move(path));
}

BlobStore::Upload::Upload(BlobStore& store, const domain::Hash32& hash,
                          const domain::Address& account, std::uint64_t length, int fd,
                          fs::path path)
    : store_(store),
      expected_(hash),
      account_(account),
      reserved_(length),
      fd_(fd),
      path_(std::move(path)) {}

BlobStore::Upload::~Upload() {
    if (fd_ >= 0) ::close(fd_);
    if (!path_.empty()) ::unlink(path_.c_str());
    if (reserved_ > 0) store_.release(account_, reserved_);
}

Result<void> BlobStore::Upload::write(std::string_view piece) {
    hash_.update(ledger::base::as_bytes(piece));
    if (fd_ >= 0) TRY(write_blob_bytes(fd_, piece, written_));
    written_ += piece.size();
    return {};
}

void BlobStore::commit(std::shared_ptr<Upload> upload, std::function<void(Result<Stored>)> done) {
    const bool queued = thread_.post([this, upload, done] { done(finish(*upload)); });
    if (!queued) done(fail(ErrorCode::queue_full, "too many uploads at once"));
}

Result<BlobStore::Stored> BlobStore::finish(Upload& upload) {
    const domain::Hash32 found = upload.hash_.finish();
    if (found != upload.expected_)
        return fail(ErrorCode::data_invalid,
                    fmt::format("the {} bytes received have the hash {}", upload.written_,
                                ledger::base::to_hex(found)));
    if (upload.fd_ < 0) return keep_known(found);
    if (!set_time(upload.fd_, clock_.now_ms()) || ::fsync(upload.fd_) != 0)
        return blob_disk_error();
    TRY_ASSIGN(const Stored stored, adopt(upload.path_, found, upload.account_, upload.written_));
    upload.path_.clear();
    if (stored == Stored::kNew) upload.reserved_ = 0;  // now counted as stored
    return stored;
}

/// What is acknowledged again is kept from now on, a crash right after it included.
Result<BlobStore::Stored> BlobStore::keep_known(const domain::Hash32& hash) const {
    const auto path = find(hash);
    const int fd = path ? ::open(path->c_str(), O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0) return fail(ErrorCode::unavailable, "the blob went meanwhile: send it again");
    const bool kept = set_time(fd, clock_.now_ms()) && ::fsync(fd) == 0;
    ::close(fd);
    if (!kept) return blob_disk_error();
    return Stored::kKnown;
}

Result<BlobStore::Stored> BlobStore::adopt(const fs::path& file, const domain::Hash32& hash,
                                           const domain::Address& account, std::uint64_t bytes) {
    const fs::path target = path_of(hash);
    std::error_code ec;
    fs::create_directories(target.parent_path(), ec);
    bool known = false;
    if (!account.is_zero()) {
        // Before the blob: a blob without its mark would be charged to nobody.
        const fs::path mark = owner_path(account, hash);
        fs::create_directories(mark.parent_path(), ec);
        const int fd = ::open(mark.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
        if (fd < 0) return blob_disk_error();
        ::close(fd);
    }
    {
        // Two uploads of one blob at once: one is kept. The lock keeps `drop` away meanwhile.
        const std::lock_guard lock(mutex_);
        fs::rename(file, target, ec);
        if (ec) return fail(ErrorCode::io_error, "the blob store");
        const auto [entry, fresh] = blobs_.try_emplace(hash, Entry{bytes, account, 0});
        entry->second.used_ms = clock_.now_ms();
        known = !fresh;
        if (known && entry->second.account != account) ::unlink(owner_path(account, hash).c_str());
    }
    if (!sync_folder(target.parent_path()) || !sync_folder(folder_)) {
        const std::lock_guard lock(mutex_);
        if (!known && blobs_.erase(hash) > 0) ::unlink(target.c_str());
        return fail(ErrorCode::io_error, "the blob store");
    }
    return known ? Stored::kKnown : Stored::kNew;
}

std::vector<domain::Hash32> BlobStore::unused() const {
    std::vector<domain::Hash32> out;
    const TimeMs now = clock_.now_ms();
    const std::lock_guard lock(mutex_);
    for (const auto& [hash, entry] : blobs_)
        if (entry.used_ms + limits_.keep_ms <= now) out.push_back(hash);
    return out;
}

std::uint64_t BlobStore::drop(const domain::Hash32& hash) {
    const std::lock_guard lock(mutex_);
    const auto found = blobs_.find(hash);
    if (found == blobs_.end() || found->second.used_ms + limits_.keep_ms > clock_.now_ms())
        return 0;
    if (::unlink(path_of(hash).c_str()) != 0 && errno != ENOENT) return 0;
    const Entry entry = found->second;
    blobs_.erase(found);
    used_bytes_ -= std::min(entry.bytes, used_bytes_);
    if (!entry.account.is_zero()) {
        ::unlink(owner_path(entry.account, hash).c_str());
        std::uint64_t& charged = charged_[entry.account];
        charged -= std::min(entry.bytes, charged);
        if (charged == 0) charged_.erase(entry.account);
    }
    ++freed_.blobs;
    freed_.bytes += entry.bytes;
    return entry.bytes;
}

}  // namespace marketplace::api
