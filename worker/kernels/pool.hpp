// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <type_traits>

namespace worker::kernels {

/// A fixed set of threads for one model: the caller and `threads - 1` helpers, which spin for a
/// moment after each piece of work and then sleep. One thread at a time may use a pool, and work
/// on it starts no further work on it.
class Pool {
 public:
    static constexpr std::size_t kThreadsMax = 256;

    /// `threads` is clamped to [1, kThreadsMax] and counts the caller.
    explicit Pool(std::size_t threads);
    ~Pool();
    Pool(const Pool&) = delete;
    Pool& operator=(const Pool&) = delete;
    Pool(Pool&&) = delete;
    Pool& operator=(Pool&&) = delete;

    [[nodiscard]] std::size_t threads() const noexcept;

    /// Cuts [0, count) into at most `threads()` neighbouring ranges of nearly equal length, calls
    /// `body(begin, end, thread)` on each, and returns when all have returned. The cut depends on
    /// `count` and `threads()` alone. `body` does not throw.
    template <typename Body>
    void run(std::size_t count, Body&& body) {
        using Plain = std::remove_reference_t<Body>;
        run_ranges(
            count,
            [](void* context, std::size_t begin, std::size_t end, std::size_t thread) {
                (*static_cast<Plain*>(context))(begin, end, thread);
            },
            const_cast<void*>(static_cast<const void*>(std::addressof(body))));
    }

    /// Working memory of the operation under way, 64-byte aligned, at least `bytes` long; the next
    /// operation on this pool overwrites it.
    [[nodiscard]] std::span<std::byte> scratch(std::size_t bytes);

 private:
    using Range = void (*)(void* context, std::size_t begin, std::size_t end, std::size_t thread);
    void run_ranges(std::size_t count, Range range, void* context);

    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace worker::kernels
