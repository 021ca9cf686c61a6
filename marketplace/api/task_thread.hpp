// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace marketplace::api {

/// One thread for what may wait (disk, database), so that io threads never do. Bounded queue.
class TaskThread {
 public:
    explicit TaskThread(std::size_t queue_max) : queue_max_(queue_max) {
        thread_ = std::thread([this] { run(); });
    }
    ~TaskThread() { stop(); }
    TaskThread(const TaskThread&) = delete;
    TaskThread& operator=(const TaskThread&) = delete;

    /// Ends what is queued, then the thread; later work is refused.
    void stop() {
        {
            const std::lock_guard lock(mutex_);
            stopping_ = true;
        }
        wake_.notify_all();
        if (thread_.joinable()) thread_.join();
    }

    /// False when the queue is full or the thread was stopped.
    [[nodiscard]] bool post(std::function<void()> work) {
        {
            const std::lock_guard lock(mutex_);
            if (stopping_ || queue_.size() >= queue_max_) return false;
            queue_.push_back(std::move(work));
        }
        wake_.notify_one();
        return true;
    }

 private:
    void run() {
        for (;;) {
            std::function<void()> work;
            {
                std::unique_lock lock(mutex_);
                wake_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
                if (queue_.empty()) return;
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

}  // namespace marketplace::api
