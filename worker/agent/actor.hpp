// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace worker::agent {

/// One thread that runs what is posted to it, in order. What is left when it ends is dropped.
class Actor {
 public:
    Actor() : thread_([this] { run(); }) {}
    ~Actor() { stop(); }
    Actor(const Actor&) = delete;
    Actor& operator=(const Actor&) = delete;

    /// False when the actor has ended. From any thread; never blocks.
    bool post(std::function<void()> task) {
        {
            const std::lock_guard lock(mutex_);
            if (ended_) return false;
            tasks_.push_back(std::move(task));
        }
        wake_.notify_one();
        return true;
    }

    [[nodiscard]] std::size_t waiting() const {
        const std::lock_guard lock(mutex_);
        return tasks_.size();
    }

    /// Ends after the task that is running; waits for it. Not from the actor's own thread.
    void stop() {
        {
            const std::lock_guard lock(mutex_);
            ended_ = true;
            tasks_.clear();
        }
        wake_.notify_one();
        if (thread_.joinable()) thread_.join();
    }

 private:
    void run() {
        while (true) {
            std::function<void()> task;
            {
                std::unique_lock lock(mutex_);
                wake_.wait(lock, [this] { return ended_ || !tasks_.empty(); });
                if (ended_) return;
                task = std::move(tasks_.front());
                tasks_.pop_front();
            }
            task();
        }
    }

    mutable std::mutex mutex_;
    std::condition_variable wake_;
    std::deque<std::function<void()>> tasks_;
    bool ended_ = false;
    std::thread thread_;  // last: starts when the rest is there
};

}  // namespace worker::agent
