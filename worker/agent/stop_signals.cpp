// SPDX-License-Identifier: Apache-2.0
#include "worker/agent/stop_signals.hpp"

#include <pthread.h>

#include <csignal>
#include <cstdlib>

namespace worker::agent {
namespace {

sigset_t stop_set() {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    return set;
}

/// `ended`: the owner is going away and woke us itself.
void watch(const std::stop_token& ended, std::stop_source stop) {
    const sigset_t set = stop_set();
    for (int received = 0; received < 2; ++received) {
        int number = 0;
        if (sigwait(&set, &number) != 0 || ended.stop_requested()) return;
        stop.request_stop();
    }
    std::_Exit(130);  // the second one does not wait any more
}

}  // namespace

StopSignals::StopSignals() {
    const sigset_t set = stop_set();
    pthread_sigmask(SIG_BLOCK, &set, nullptr);
    watcher_ = std::jthread([stop = stop_](const std::stop_token& ended) { watch(ended, stop); });
}

StopSignals::~StopSignals() {
    watcher_.request_stop();
    pthread_kill(watcher_.native_handle(), SIGTERM);
    watcher_.join();
    const sigset_t set = stop_set();
    pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
}

}  // namespace worker::agent
