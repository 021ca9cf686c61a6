// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/bytes.hpp"
#include "ledger/base/result.hpp"

#include <cstddef>
#include <filesystem>

namespace worker::model {

/// A regular file mapped read-only. Links, devices and folders are refused.
class MappedFile {
 public:
    /// data_missing when there is none, data_invalid when it is not a regular file.
    [[nodiscard]] static ledger::base::Result<MappedFile> open(const std::filesystem::path& path);
    MappedFile() noexcept = default;
    ~MappedFile();
    MappedFile(MappedFile&& other) noexcept;
    MappedFile& operator=(MappedFile&& other) noexcept;

    [[nodiscard]] ledger::base::ByteView bytes() const noexcept {
        return {static_cast<const std::uint8_t*>(data_), size_};
    }

    /// Drops the whole pages of `part`, a piece of some mapping; they are read again when used.
    static void release(ledger::base::ByteView part) noexcept;

 private:
    MappedFile(void* data, std::size_t size) noexcept : data_(data), size_(size) {}
    void* data_ = nullptr;
    std::size_t size_ = 0;
};

}  // namespace worker::model
