// SPDX-License-Identifier: Apache-2.0
#include "worker/agent/stop_signals.hpp"

#include "ledger/base/check.hpp"

#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdlib>

namespace worker::agent {
namespace {

constexpr std::array kNumbers = {SIGINT, SIGTERM};

/// Where the handler tells; -1 when nobody listens.
std::atomic<int> wake_fd{-1};
static_assert(std::atomic<int>::is_always_lock_free);

void wake(int fd) noexcept {
    const std::uint64_t one = 1;
    // Cannot fail but by a full counter, which wakes as well.
    [[maybe_unused]] const auto written = ::write(fd, &one, sizeof(one));
}

extern "C" void on_stop_signal(int /*number*/) {
    const int saved = errno;
    if (const int fd = wake_fd; fd >= 0) wake(fd);
    errno = saved;
}

void set_handler(void (*handler)(int)) {
    struct sigaction action {};
    action.sa_handler = handler;
    sigemptyset(&action.sa_mask);
    for (const int number : kNumbers)
        sigaction(number, &action, nullptr);
}

/// `ended`: the owner is going away and woke us itself.
void watch(int fd, const std::stop_token& ended, std::stop_source stop) {
    for (int received = 0; received < 2;) {
        std::uint64_t count = 0;
        if (::read(fd, &count, sizeof(count)) != sizeof(count)) continue;  // interrupted
        if (ended.stop_requested()) return;
        stop.request_stop();
        ++received;
    }
    std::_Exit(130);  // the second one does not wait any more
}

}  // namespace

StopSignals::StopSignals() : fd_(::eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE)) {
    MR_CHECK(fd_ >= 0);
    watcher_ = std::jthread(
        [fd = fd_, stop = stop_](const std::stop_token& ended) { watch(fd, ended, stop); });
    wake_fd = fd_;
    set_handler(on_stop_signal);
}

StopSignals::~StopSignals() {
    set_handler(SIG_DFL);
    wake_fd = -1;
    watcher_.request_stop();
    wake(fd_);
    watcher_.join();
    ::close(fd_);
}

}  // namespace worker::agent
