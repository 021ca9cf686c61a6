// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

namespace marketplace::api {

/// One thread for what may wait (disk, database), so that io threads never do. Bounded queue.
class TaskThread {
 public:
    explicit TaskThread(std::size_t queue_max)
        : state_(std::make_shared<State>(queue_max)), thread_([state = state_] { state->run(); }) {}
    ~TaskThread() { stop(); }
    TaskThread(const TaskThread&) = delete;
    TaskThread& operator=(const TaskThread&) = delete;

    /// Ends what is queued, then the thread; later work is refused. From its own work (which may
    /// hold the last reference to this object's owner) it does not wait.
    void stop() {
        {
            const std::lock_guard lock(state_->mutex);
            state_->stopping = true;
        }
        state_->wake.notify_all();
        if (!thread_.joinable()) return;
        if (thread_.get_id() == std::this_thread::get_id())
            thread_.detach();
        else
            thread_.join();
    }

    /// False when the queue is full or the thread was stopped.
    [[nodiscard]] bool post(std::function<void()> work) {
        {
            const std::lock_guard lock(state_->mutex);
            if (state_->stopping || state_->queue.size() >= state_->queue_max) return false;
            state_->queue.push_back(std::move(work));
        }
        state_->wake.notify_one();
        return true;
    }

 private:
    /// The thread's as well, which may outlive the object by the end of its last work.
    struct State {
        explicit State(std::size_t most) : queue_max(most) {}
        void run() {
            for (;;) {
                std::function<void()> work;
                {
                    std::unique_lock lock(mutex);
                    wake.wait(lock, [this] { return stopping || !queue.empty(); });
                    if (queue.empty()) return;
                    work = std::move(queue.front());
                    queue.pop_front();
                }
                work();
            }
        }
        const std::size_t queue_max;
        std::mutex mutex;
        std::condition_variable wake;
        std::deque<std::function<void()>> queue;
        bool stopping = false;
    };
    const std::shared_ptr<State> state_;
    std::thread thread_;
};

}  // namespace marketplace::api
