// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <memory>

namespace worker::kernels {

/// A block of uninitialised memory for kernels to stream through: 64-byte aligned; from 2 MiB on in
/// huge pages where the system gives them.
class AlignedBytes {
 public:
    AlignedBytes() = default;
    /// Throws std::bad_alloc.
    explicit AlignedBytes(std::size_t size);

    [[nodiscard]] std::byte* data() noexcept { return data_.get(); }
    [[nodiscard]] const std::byte* data() const noexcept { return data_.get(); }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }

 private:
    struct Free {
        void operator()(std::byte* data) const noexcept;
    };
    std::unique_ptr<std::byte, Free> data_;
    std::size_t size_ = 0;
};

}  // namespace worker::kernels
