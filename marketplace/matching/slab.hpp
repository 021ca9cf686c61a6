// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <type_traits>
#include <vector>

namespace marketplace::matching {

/// Numbered places for plain values that never move. Memory comes in pieces of 2 MiB, and all but
/// the first ask the system for large pages: a search that jumps about in 100 MB of small ones
/// spends half its time on finding where they are. Not thread-safe.
template <typename T>
class Slab {
    static_assert(std::is_trivially_copyable_v<T> && std::is_trivially_destructible_v<T>);

 public:
    using Number = std::uint32_t;

    [[nodiscard]] T& operator[](Number number) noexcept {
        return pieces_[number / kPerPiece].get()[number % kPerPiece];
    }
    [[nodiscard]] const T& operator[](Number number) const noexcept {
        return pieces_[number / kPerPiece].get()[number % kPerPiece];
    }
    /// A place that nobody has; it holds a fresh T.
    [[nodiscard]] Number take() {
        if (free_.empty()) {
            if (used_ == pieces_.size() * kPerPiece) add_piece();
            free_.push_back(static_cast<Number>(used_++));
        }
        const Number number = free_.back();
        free_.pop_back();
        ::new (&(*this)[number]) T();
        return number;
    }
    void give_back(Number number) { free_.push_back(number); }

    [[nodiscard]] std::size_t memory_bytes() const noexcept {
        return used_ * sizeof(T) + free_.capacity() * sizeof(Number);
    }

 private:
    static constexpr std::size_t kPieceBytes = std::size_t{1} << 21U;
    static constexpr std::size_t kPerPiece = kPieceBytes / sizeof(T);
    struct Free {
        void operator()(T* piece) const noexcept { std::free(piece); }
    };

    void add_piece() {
        auto* piece = static_cast<T*>(std::aligned_alloc(kPieceBytes, kPieceBytes));
        if (piece == nullptr) throw std::bad_alloc();
        // A small book stays small; and the advice may be refused: then all is only slower.
        if (!pieces_.empty()) static_cast<void>(::madvise(piece, kPieceBytes, MADV_HUGEPAGE));
        pieces_.emplace_back(piece);
    }

    std::vector<std::unique_ptr<T, Free>> pieces_;
    std::vector<Number> free_;
    std::size_t used_ = 0;
};

}  // namespace marketplace::matching
