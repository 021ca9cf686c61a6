// SPDX-License-Identifier: Apache-2.0
#include "worker/kernels/aligned_bytes.hpp"

#include <sys/mman.h>

#include <cstdlib>
#include <new>

namespace worker::kernels {

namespace {
constexpr std::size_t kLine = 64;
constexpr std::size_t kHugePage = std::size_t{2} << 20U;
}  // namespace

AlignedBytes::AlignedBytes(std::size_t size) : size_(size) {
    if (size == 0) return;
    const std::size_t alignment = size >= kHugePage ? kHugePage : kLine;
    const std::size_t lines = (size + kLine - 1) / kLine * kLine;
    void* memory = nullptr;
    // Not aligned_alloc: its size would have to be whole huge pages.
    if (posix_memalign(&memory, alignment, lines) != 0) throw std::bad_alloc();
    data_.reset(static_cast<std::byte*>(memory));
    // A wish: where it is refused the memory works as well, only slower.
    if (size >= kHugePage) static_cast<void>(madvise(memory, lines, MADV_HUGEPAGE));
}

void AlignedBytes::Free::operator()(std::byte* data) const noexcept {
    std::free(data);
}

}  // namespace worker::kernels
