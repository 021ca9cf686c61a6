// SPDX-License-Identifier: Apache-2.0
#include "worker/model/mapped_file.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <utility>

namespace worker::model {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

Result<MappedFile> MappedFile::open(const std::filesystem::path& path) {
    const std::string name = path.filename().string();
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) {
        if (errno == ELOOP) return fail(ErrorCode::data_invalid, name + " is a symbolic link");
        return fail(errno == ENOENT ? ErrorCode::data_missing : ErrorCode::io_error,
                    name + " cannot be opened");
    }
    struct stat info {};
    if (::fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        ::close(fd);
        return fail(ErrorCode::data_invalid, name + " is not a regular file");
    }
    const auto size = static_cast<std::size_t>(info.st_size);
    void* data = nullptr;
    if (size > 0) {
        data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data == MAP_FAILED) {
            ::close(fd);
            return fail(ErrorCode::out_of_memory, name + " cannot be mapped");
        }
    }
    ::close(fd);
    return MappedFile(data, size);
}

void MappedFile::release(ledger::base::ByteView part) noexcept {
    const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
    const auto begin = (reinterpret_cast<std::uintptr_t>(part.data()) + page - 1) / page * page;
    const auto end = reinterpret_cast<std::uintptr_t>(part.data() + part.size()) / page * page;
    if (begin >= end) return;
    // Advice: a refusal changes nothing but the memory in use.
    static_cast<void>(
        ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED));  // NOLINT
}

MappedFile::~MappedFile() {
    if (data_ != nullptr) ::munmap(data_, size_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
}

}  // namespace worker::model
