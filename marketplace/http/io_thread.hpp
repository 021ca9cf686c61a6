// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "marketplace/http/post_batch.hpp"

#include <boost/asio/basic_stream_socket.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <time.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace marketplace::http {

/// The concrete executor saves a virtual call and an allocation per operation.
using Socket =
    boost::asio::basic_stream_socket<boost::asio::ip::tcp, boost::asio::io_context::executor_type>;
using SteadyTime = std::chrono::steady_clock::time_point;
inline constexpr std::chrono::milliseconds kTickInterval{100};

/// Some milliseconds behind `steady_clock`, and a fifth of its price: for deadlines, which are
/// looked at once in a tick.
[[nodiscard]] inline SteadyTime coarse_now() noexcept {
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return SteadyTime(std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec));
}

/// Something with a deadline that lives on one io thread; the registry owns it until it leaves.
class Registered {
 public:
    virtual ~Registered() = default;
    /// About every 100 ms: check deadlines.
    virtual void on_tick(SteadyTime now) = 0;
    /// Finish what is in flight, then close.
    virtual void drain() = 0;
    /// Close now.
    virtual void shut() = 0;

 private:
    friend class IoThread;
    std::size_t registry_index_ = SIZE_MAX;
};

/// One thread with its own io_context: everything registered here is touched by this thread only,
/// so no lock and no strand is needed. One coarse timer serves all deadlines.
class IoThread : public std::enable_shared_from_this<IoThread> {
 public:
    IoThread();

    void start();
    /// Ends when all operations have ended; then refuses further work.
    void finish();
    void join();

    /// Thread-safe; dropped after the thread has ended. Waits for the caller's PostBatch, if any.
    template <typename F>
    void post(F work) {
        if (PostBatch* const batch = PostBatch::current()) {
            const auto held = std::make_shared<F>(std::move(work));  // it may not be copyable
            batch->add(shared_from_this(), [held] { (*held)(); });
            return;
        }
        const std::lock_guard lock(mutex_);
        if (!ended_) boost::asio::post(context_, std::move(work));
    }
    [[nodiscard]] bool is_current() const noexcept {
        return std::this_thread::get_id() == thread_id_;
    }
    [[nodiscard]] boost::asio::io_context& context() noexcept { return context_; }

    // Only on this thread:
    void add(std::shared_ptr<Registered> item);
    void remove(Registered& item);
    void drain_all();
    void shut_all();
    /// "Sun, 06 Nov 1994 08:49:37 GMT", renewed each second.
    [[nodiscard]] const std::string& date() const noexcept { return date_; }

 private:
    void arm();
    void on_tick();
    void renew_date();

    // Its sockets and timers are this thread's alone, so Asio need not lock them; `post` locks.
    boost::asio::io_context context_{BOOST_ASIO_CONCURRENCY_HINT_UNSAFE_IO};
    boost::asio::steady_timer timer_{context_};
    std::optional<boost::asio::executor_work_guard<boost::asio::io_context::executor_type>> work_;
    std::vector<std::shared_ptr<Registered>> items_;
    std::string date_;
    std::int64_t date_second_ = 0;
    std::thread thread_;
    std::thread::id thread_id_;
    std::mutex mutex_;
    bool ended_ = false;
    bool finishing_ = false;
    bool shut_ = false;
};

}  // namespace marketplace::http
