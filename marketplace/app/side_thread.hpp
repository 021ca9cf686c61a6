// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace marketplace::app {

/// One thread for what may wait (the chain, the signer), so that io threads never do.
/// Bounded queue; work that does not fit is refused.
class SideThread {
 public:
    explicit SideThread(std::size_t queue_max) : queue_max_(queue_max) {
        thread_ = std::thread([this] { run(); });
    }
    ~SideThread() { stop(); }
    SideThread(const SideThread&) = delete;
    SideThread& operator=(const SideThread&) = delete;

    [[nodiscard]] bool post(std::function<void()> work) {
        {
            const std::scoped_lock lock(mutex_);
            if (stopping_ || queue_.size() >= queue_max_) return false;
            queue_.push_back(std::move(work));
        }
        wake_.notify_one();
        return true;
    }

    /// Drops what is queued, waits for what runs.
    void stop() {
        {
            const std::scoped_lock lock(mutex_);
            stopping_ = true;
            queue_.clear();
        }
        wake_.notify_all();
        if (thread_.joinable()) thread_.join();
    }

 private:
    void run() {
        for (;;) {
            std::function<void()> work;
            {
                std::unique_lock lock(mutex_);
                wake_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
                if (stopping_) return;
                work = std::move(queue_.front());
                queue_.pop_front();
            }
            work();
        }
    }

    const std::size_t queue_max_;
    std::mutex mutex_;
    std::condition_variable wake_;
    std::deque<std::function<void()>> queue_;
    bool stopping_ = false;
    std::thread thread_;
};

}  // namespace marketplace::app
