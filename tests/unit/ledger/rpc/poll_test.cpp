// SPDX-License-Identifier: Apache-2.0
#include "ledger/rpc/poll.hpp"

#include <doctest/doctest.h>

#include <thread>

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;
using ledger::rpc::pause_for;
using ledger::rpc::poll_until;
using std::chrono::hours;
using std::chrono::milliseconds;

TEST_CASE("poll: an error of the question ends the wait") {
    int asked = 0;
    const auto answer = poll_until({hours(1), hours(1), {}}, [&]() -> Result<bool> {
        ++asked;
        return fail(ErrorCode::chain_unreachable, "no");
    });
    CHECK(answer.error().code() == ErrorCode::chain_unreachable);
    CHECK(asked == 1);
}

TEST_CASE("poll: the time has an end, and the question is asked once more at the end") {
    int asked = 0;
    const auto answer = poll_until({hours(1), milliseconds(5), {}}, [&]() -> Result<bool> {
        ++asked;
        return false;
    });
    CHECK(answer == false);
    CHECK(asked == 2);
}

TEST_CASE("poll: asks until the answer is there") {
    int asked = 0;
    const auto answer =
        poll_until({milliseconds(1), hours(1), {}}, [&]() -> Result<bool> { return ++asked == 5; });
    CHECK(answer == true);
    CHECK(asked == 5);
}

TEST_CASE("poll: a stop that was requested before ends it after one question") {
    std::stop_source source;
    source.request_stop();
    const auto answer = poll_until({hours(1), hours(2), source.get_token()},
                                   []() -> Result<bool> { return false; });
    CHECK(answer.error().code() == ErrorCode::cancelled);
}

TEST_CASE("poll: a stop from another thread wakes the one that waits") {
    std::stop_source source;
    std::thread stopper([&] { source.request_stop(); });
    CHECK(pause_for(hours(1), source.get_token()));
    stopper.join();
    CHECK_FALSE(pause_for(milliseconds(1)));
}
