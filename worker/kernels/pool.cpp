// SPDX-License-Identifier: Apache-2.0
#include "worker/kernels/pool.hpp"

#include "worker/kernels/aligned_bytes.hpp"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

namespace worker::kernels {

namespace {

/// About 50 µs: the operations of a forward pass follow one another faster than that.
constexpr int kSpins = 1000;

void pause_briefly() noexcept {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

/// Returns once `value` is no longer `old`.
void await_change(const std::atomic<std::uint32_t>& value, std::uint32_t old) noexcept {
    for (int i = 0; i < kSpins; ++i) {
        if (value.load(std::memory_order_acquire) != old) return;
        pause_briefly();
    }
    value.wait(old, std::memory_order_acquire);
}

}  // namespace

struct Pool::State {
    explicit State(std::size_t threads_in) : threads(threads_in) {
        for (std::size_t i = 1; i < threads; ++i)
            helpers.emplace_back([this, i] { help(i); });
    }
    ~State() {
        range = nullptr;
        start();
        for (std::thread& helper : helpers)
            helper.join();
    }

    void start() noexcept {
        busy.store(static_cast<std::uint32_t>(helpers.size()), std::memory_order_relaxed);
        turn.fetch_add(1, std::memory_order_release);
        turn.notify_all();
    }

    void do_part(std::size_t thread) const {
        const std::size_t begin = count * thread / parts;
        const std::size_t end = count * (thread + 1) / parts;
        if (thread < parts && begin < end) range(context, begin, end, thread);
    }

    void help(std::size_t thread) {
        std::uint32_t seen = 0;
        while (true) {
            await_change(turn, seen);
            ++seen;
            if (range == nullptr) return;
            do_part(thread);
            if (busy.fetch_sub(1, std::memory_order_acq_rel) == 1) busy.notify_one();
        }
    }

    const std::size_t threads;
    AlignedBytes scratch;

    // The work under way: written by the caller before `turn` moves, read by helpers after.
    Range range = nullptr;
    void* context = nullptr;
    std::size_t count = 0;
    std::size_t parts = 1;

    // A line each, so that helpers that watch one do not slow the other.
    alignas(64) std::atomic<std::uint32_t> turn{0};
    alignas(64) std::atomic<std::uint32_t> busy{0};
    std::vector<std::thread> helpers;
};

Pool::Pool(std::size_t threads)
    : state_(std::make_unique<State>(std::clamp(threads, std::size_t{1}, kThreadsMax))) {}
Pool::~Pool() = default;

std::size_t Pool::threads() const noexcept {
    return state_->threads;
}

void Pool::run_ranges(std::size_t count, Range range, void* context) {
    State& s = *state_;
    if (count == 0) return;
    if (count == 1 || s.threads == 1) {
        range(context, 0, count, 0);
        return;
    }
    s.range = range;
    s.context = context;
    s.count = count;
    s.parts = std::min(count, s.threads);
    s.start();
    s.do_part(0);
    for (std::uint32_t left = s.busy.load(std::memory_order_acquire); left != 0;
         left = s.busy.load(std::memory_order_acquire))
        await_change(s.busy, left);
}

std::span<std::byte> Pool::scratch(std::size_t bytes) {
    AlignedBytes& scratch = state_->scratch;
    if (scratch.size() < bytes) scratch = AlignedBytes(std::max(bytes, 2 * scratch.size()));
    return {scratch.data(), bytes};
}

}  // namespace worker::kernels
