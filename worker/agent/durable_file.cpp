// SPDX-License-Identifier: Apache-2.0
#include "worker/agent/durable_file.hpp"

#include "ledger/base/sha256.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace worker::agent {
namespace {

using ledger::base::Bytes;
using ledger::base::ByteView;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

constexpr std::size_t kSealBytes = 8;

class Descriptor {
 public:
    explicit Descriptor(int fd) noexcept : fd_(fd) {}
    ~Descriptor() {
        if (fd_ >= 0) ::close(fd_);
    }
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    [[nodiscard]] int get() const noexcept { return fd_; }

 private:
    int fd_;
};

tl::unexpected<ledger::base::Error> io_failure(const std::filesystem::path& path) {
    const ErrorCode code = errno == ENOSPC ? ErrorCode::disk_full : ErrorCode::io_error;
    return fail(code, "cannot write " + path.filename().string());
}

Result<void> write_all(int fd, ByteView bytes, const std::filesystem::path& path) {
    while (!bytes.empty()) {
        const ssize_t written = ::write(fd, bytes.data(), bytes.size());
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) return io_failure(path);
        bytes = bytes.subspan(static_cast<std::size_t>(written));
    }
    return {};
}

Result<void> sync_folder(const std::filesystem::path& folder) {
    const Descriptor fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (fd.get() < 0 || ::fsync(fd.get()) != 0) return io_failure(folder);
    return {};
}

}  // namespace

Result<void> write_file(const std::filesystem::path& path, std::string_view text, unsigned mode) {
    std::filesystem::path temporary = path;
    temporary += ".tmp";
    {
        const Descriptor fd(
            ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode));
        if (fd.get() < 0) return io_failure(path);
        TRY(write_all(fd.get(), ledger::base::as_bytes(text), path));
        if (::fsync(fd.get()) != 0) return io_failure(path);
    }
    if (::rename(temporary.c_str(), path.c_str()) != 0) return io_failure(path);
    return sync_folder(path.parent_path());
}

Result<void> append_file(const std::filesystem::path& path, ByteView bytes) {
    const bool is_new = ::access(path.c_str(), F_OK) != 0;
    const Descriptor fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
    if (fd.get() < 0) return io_failure(path);
    struct stat before {};
    if (::fstat(fd.get(), &before) != 0) return io_failure(path);
    const Result<void> written = write_all(fd.get(), bytes, path);
    if (!written || ::fdatasync(fd.get()) != 0) {
        const auto failure = written ? io_failure(path) : tl::make_unexpected(written.error());
        // Records have fixed places: a cut one must not shift those after it.
        if (::ftruncate(fd.get(), before.st_size) != 0)
            return fail(ErrorCode::io_error, "cannot undo a cut write in " + path.string());
        return failure;
    }
    if (is_new) return sync_folder(path.parent_path());
    return {};
}

Result<std::string> read_file(const std::filesystem::path& path, std::size_t max_bytes) {
    const Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (fd.get() < 0) {
        const ErrorCode code = errno == ENOENT ? ErrorCode::data_missing : ErrorCode::io_error;
        return fail(code, "cannot read " + path.string());
    }
    std::string text;
    char buffer[16 * 1024];
    while (true) {
        const ssize_t got = ::read(fd.get(), buffer, sizeof(buffer));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return fail(ErrorCode::io_error, "cannot read " + path.string());
        if (got == 0) return text;
        text.append(buffer, static_cast<std::size_t>(got));
        if (text.size() > max_bytes)
            return fail(ErrorCode::too_large, path.string() + " is too large");
    }
}

Bytes seal_record(ByteView record) {
    Bytes out(record.begin(), record.end());
    const ledger::base::Hash32 hash = ledger::base::sha256(record);
    out.insert(out.end(), hash.begin(), hash.begin() + kSealBytes);
    return out;
}

Result<std::vector<Bytes>> read_records(const std::filesystem::path& path, std::size_t size) {
    constexpr std::size_t kMaxBytes = 256U * 1024 * 1024;
    std::vector<Bytes> records;
    Result<std::string> text = read_file(path, kMaxBytes);
    if (!text) {
        if (text.error().code() == ErrorCode::data_missing) return records;
        return tl::make_unexpected(text.error());
    }
    const ByteView all = ledger::base::as_bytes(*text);
    const std::size_t stride = size + kSealBytes;
    std::size_t good = 0;
    for (std::size_t at = 0; at + stride <= all.size(); at += stride) {
        const ByteView record = all.subspan(at, size);
        const ledger::base::Hash32 hash = ledger::base::sha256(record);
        const bool sealed = std::equal(hash.begin(), hash.begin() + kSealBytes,
                                       all.begin() + static_cast<std::ptrdiff_t>(at + size));
        if (!sealed) {
            if (at + stride < all.size())
                return fail(ErrorCode::invalid_encoding,
                            path.filename().string() + " is damaged at byte " + std::to_string(at));
            break;
        }
        records.emplace_back(record.begin(), record.end());
        good = at + stride;
    }
    if (good < all.size() && ::truncate(path.c_str(), static_cast<off_t>(good)) != 0)
        return fail(ErrorCode::io_error, "cannot repair " + path.filename().string());
    return records;
}

}  // namespace worker::agent
