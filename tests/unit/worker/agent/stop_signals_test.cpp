// SPDX-License-Identifier: Apache-2.0
#include "worker/agent/stop_signals.hpp"

#include "ledger/rpc/poll.hpp"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>

using ledger::rpc::pause_for;
using worker::agent::StopSignals;

TEST_CASE("stop_signals: without a signal nothing stops, and it ends quietly") {
    const StopSignals signals;
    CHECK_FALSE(signals.token().stop_requested());
}

TEST_CASE("stop_signals: one signal wakes a long wait") {
    for (const int number : {SIGINT, SIGTERM}) {
        CAPTURE(number);
        const StopSignals signals;
        REQUIRE(::kill(::getpid(), number) == 0);
        CHECK(pause_for(std::chrono::hours(1), signals.token()));
    }
}

TEST_CASE("stop_signals: the second one ends the process") {
    const pid_t child = ::fork();
    if (child == 0) {
        ::alarm(60);  // should it not end
        const StopSignals signals;
        ::kill(::getpid(), SIGTERM);
        pause_for(std::chrono::hours(1), signals.token());
        ::kill(::getpid(), SIGTERM);
        pause_for(std::chrono::hours(1));
        std::_Exit(0);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    REQUIRE(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 130);
}
