// SPDX-License-Identifier: Apache-2.0
#include "marketplace/cli/event_commands.hpp"

#include <doctest/doctest.h>

using marketplace::cli::describe_event;
using nlohmann::json;

TEST_CASE("event_commands: an event in words, whatever it holds") {
    const auto told = [](const char* type, const json& data) {
        return describe_event({{"type", type}, {"data", data}});
    };
    CHECK(
        told("account.balance",
             {{"cause", "hold"}, {"available", "1500000"}, {"held", "250000"}, {"earned", "0"}}) ==
        "hold: 1.5 to spend, 0.25 held, 0 earned");
    CHECK(told("job.failed", {{"job", "job_00112233445566778899aabbccddeeff"},
                              {"reason", "data_invalid"},
                              {"units_done", "40"}}) ==
          "job_001122334… after 40 units: data_invalid");
    CHECK(told("job.running", {{"job", "job_1"}, {"reason", ""}, {"units_done", "0"}}) ==
          "job_1 after 0 units");
    CHECK(told("job.unmatched", {{"job", "job_1"}, {"text", "1 asks: 1 above the price"}}) ==
          "job_1: 1 asks: 1 above the price");
    CHECK(told("lease.matched", {{"lease", "0xab"}, {"job", "job_1"}, {"locked", "20000"}}) ==
          "0xab for job_1, 0.02 locked");
    CHECK(told("lease.closed", {{"lease", "0xab"}, {"reason", "finished"}}) == "0xab: finished");
    CHECK(told("settlement.paid", {{"lease", "0xab"}, {"paid", "20000"}, {"fee", "200"}}) ==
          "0.02 for 0xab, fee 0.0002");
    CHECK(told("lease.open", {{"lease", "0xab"}, {"reason", "none"}}) == "0xab");
    CHECK(told("order.closed", {{"order", "0xcd"}, {"reason", "expired"}}) == "0xcd: expired");
    CHECK(told("worker.connected", {{"worker", "0xef"}}) == "0xef");
    // A stranger's text does not steer the terminal, and nothing has to be there.
    CHECK(told("order.closed", {{"order", "0xcd"}, {"reason", "a\x1b[2Jb"}}) == "0xcd: a?[2Jb");
    CHECK(told("account.balance", {{"available", 5}}) == "?: ? to spend, ? held, ? earned");
    CHECK(told("settlement.paid", json::object()) == "? for ?, fee ?");
    CHECK(told("something.new", {{"a", 1}}).empty());
    CHECK(describe_event({{"type", "job.open"}}) == "?");
    CHECK(describe_event({{"data", json::object()}}).empty());
}
