// SPDX-License-Identifier: Apache-2.0
#include "marketplace/api/blob_store.hpp"

#include "ledger/base/hex.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <system_error>

namespace marketplace::api {

namespace fs = std::filesystem;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

namespace {

[[nodiscard]] bool sync_folder(const fs::path& folder) {
    const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return false;
    const bool ok = ::fsync(fd) == 0;
    ::close(fd);
    return ok;
}

[[nodiscard]] tl::unexpected<ledger::base::Error> disk_error() {
    if (errno == ENOSPC || errno == EDQUOT) return fail(ErrorCode::disk_full, "the blob store");
    return fail(ErrorCode::io_error, "the blob store");
}

}  // namespace

BlobStore::BlobStore(fs::path folder, std::uint64_t quota_bytes)
    : folder_(std::move(folder)), quota_bytes_(quota_bytes) {}

Result<std::unique_ptr<BlobStore>> BlobStore::open(fs::path folder, std::uint64_t quota_bytes) {
    std::unique_ptr<BlobStore> store(new BlobStore(std::move(folder), quota_bytes));
    TRY(store->scan());
    return store;
}

Result<void> BlobStore::scan() {
    std::error_code ec;
    fs::remove_all(folder_ / "tmp", ec);
    fs::create_directories(folder_ / "tmp", ec);
    if (ec) return fail(ErrorCode::io_error, "the blob folder cannot be made");
    for (auto item = fs::recursive_directory_iterator(folder_, ec);
         item != fs::recursive_directory_iterator(); item.increment(ec)) {
        if (ec) return fail(ErrorCode::io_error, "the blob folder cannot be read");
        if (item->is_regular_file(ec)) used_bytes_ += item->file_size(ec);
    }
    return {};
}

fs::path BlobStore::path_of(const domain::Hash32& hash) const {
    const std::string name = ledger::base::to_hex(hash).substr(2);
    return folder_ / name.substr(0, 2) / name;
}

std::optional<fs::path> BlobStore::find(const domain::Hash32& hash) const {
    std::error_code ec;
    fs::path path = path_of(hash);
    if (!fs::is_regular_file(path, ec)) return std::nullopt;
    return path;
}

std::uint64_t BlobStore::used_bytes() const {
    const std::lock_guard lock(mutex_);
    return used_bytes_;
}

void BlobStore::release(std::uint64_t bytes) {
    const std::lock_guard lock(mutex_);
    used_bytes_ -= std::min(bytes, used_bytes_);
}

Result<std::shared_ptr<BlobStore::Upload>> BlobStore::begin(const domain::Hash32& hash,
                                                            std::uint64_t length) {
    if (has(hash)) return std::make_shared<Upload>(*this, hash, 0, -1, fs::path());
    fs::path path;
    {
        const std::lock_guard lock(mutex_);
        if (length > quota_bytes_ || used_bytes_ > quota_bytes_ - length)
            return fail(ErrorCode::disk_full,
                        fmt::format("the market keeps at most {} bytes", quota_bytes_));
        used_bytes_ += length;
        path = folder_ / "tmp" / std::to_string(next_upload_++);
    }
    const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0) {
        const auto error = disk_error();
        release(length);
        return error;
    }
    return std::make_shared<Upload>(*this, hash, length, fd, std::move(path));
}

BlobStore::Upload::Upload(BlobStore& store, const domain::Hash32& hash, std::uint64_t length,
                          int fd, fs::path path)
    : store_(store), expected_(hash), reserved_(length), fd_(fd), path_(std::move(path)) {}

BlobStore::Upload::~Upload() {
    if (fd_ >= 0) ::close(fd_);
    if (!path_.empty()) ::unlink(path_.c_str());
    if (reserved_ > 0) store_.release(reserved_);
}

Result<void> BlobStore::Upload::write(std::string_view piece) {
    hash_.update(ledger::base::as_bytes(piece));
    written_ += piece.size();
    while (fd_ >= 0 && !piece.empty()) {
        const ssize_t put = ::write(fd_, piece.data(), piece.size());
        if (put < 0 && errno == EINTR) continue;
        if (put <= 0) return disk_error();
        piece.remove_prefix(static_cast<std::size_t>(put));
    }
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
    if (upload.fd_ < 0) return Stored::kKnown;
    if (::fsync(upload.fd_) != 0) return disk_error();
    ::close(upload.fd_);
    upload.fd_ = -1;
    const fs::path target = path_of(found);
    std::error_code ec;
    fs::create_directories(target.parent_path(), ec);
    const bool known = fs::is_regular_file(target, ec);  // two uploads at once: one is kept
    fs::rename(upload.path_, target, ec);
    if (ec || !sync_folder(target.parent_path()) || !sync_folder(folder_))
        return fail(ErrorCode::io_error, "the blob store");
    upload.path_.clear();
    if (!known) upload.reserved_ = 0;  // now counted as stored
    return known ? Stored::kKnown : Stored::kNew;
}

}  // namespace marketplace::api
