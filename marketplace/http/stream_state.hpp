// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "marketplace/http/io_thread.hpp"
#include "marketplace/http/response.hpp"

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

namespace marketplace::http {

/// Bytes on their way from a producer (any thread) to a connection (its io thread).
class StreamState : public std::enable_shared_from_this<StreamState> {
 public:
    /// `wake` is called on the io thread when there is something to do.
    StreamState(std::shared_ptr<IoThread> thread, std::function<void()> wake)
        : thread_(std::move(thread)), wake_(std::move(wake)) {}

    // Producer's side, any thread.
    bool push(std::string bytes);
    void close();
    [[nodiscard]] bool gone() const noexcept { return gone_.load(std::memory_order_acquire); }
    [[nodiscard]] std::size_t queued() const noexcept {
        return queued_.load(std::memory_order_relaxed);
    }

    // Connection's side, io thread.
    struct Pulled {
        std::string bytes;
        bool ended = false;     ///< nothing follows `bytes`
        bool overflow = false;  ///< the producer is faster than the client: drop it
    };
    [[nodiscard]] Pulled pull();
    /// The pulled bytes went to the kernel.
    void written(std::size_t count) noexcept {
        queued_.fetch_sub(count, std::memory_order_relaxed);
    }
    /// The client is gone; `wake` is not called any more.
    void abandon();

 private:
    void schedule();  // with mutex_ held

    std::shared_ptr<IoThread> thread_;
    std::mutex mutex_;
    std::function<void()> wake_;
    std::string pending_;
    std::atomic<std::size_t> queued_{0};
    std::atomic<bool> gone_{false};
    bool closed_ = false;
    bool overflow_ = false;
    bool scheduled_ = false;
};

/// The producer's handle.
class StreamHandle final : public StreamWriter {
 public:
    enum class OnRelease : std::uint8_t { kClose, kKeepOpen };
    StreamHandle(std::shared_ptr<StreamState> state, OnRelease on_release)
        : state_(std::move(state)), on_release_(on_release) {}
    ~StreamHandle() override {
        if (on_release_ == OnRelease::kClose) state_->close();
    }
    StreamHandle(const StreamHandle&) = delete;
    StreamHandle& operator=(const StreamHandle&) = delete;

    bool write(std::string bytes) override { return state_->push(std::move(bytes)); }
    void close() override { state_->close(); }
    [[nodiscard]] bool gone() const noexcept override { return state_->gone(); }
    [[nodiscard]] std::size_t queued_bytes() const noexcept override { return state_->queued(); }

 private:
    std::shared_ptr<StreamState> state_;
    OnRelease on_release_;
};

}  // namespace marketplace::http
