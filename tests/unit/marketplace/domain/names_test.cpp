// SPDX-License-Identifier: Apache-2.0
#include "marketplace/domain/command.hpp"
#include "marketplace/domain/event.hpp"

#include <doctest/doctest.h>

#include <set>
#include <string>

namespace marketplace::domain {

TEST_CASE("names: a value outside the enum is unknown") {
    CHECK(to_string(static_cast<JobState>(99)) == "unknown");
    CHECK(to_string(static_cast<Mismatch>(99)) == "unknown");
}

TEST_CASE("names: every mismatch has its own name") {
    std::set<std::string_view> names;
    for (std::size_t i = 0; i < kMismatchCount; ++i)
        names.insert(to_string(static_cast<Mismatch>(i)));
    CHECK(names.size() == kMismatchCount);
    CHECK(to_string(Mismatch::kStepTooLarge) == "step_too_large");
    CHECK(to_string(Mismatch::kPrice) == "price");
}

TEST_CASE("names: commands and events keep theirs") {
    CHECK(name_of(Command(PostAsk{})) == "post_ask");
    CHECK(name_of(Command(LeaseOpenFailed{})) == "lease_open_failed");
    CHECK(name_of(Command(Tick{})) == "tick");
    CHECK(name_of(Event(AskAccepted{})) == "ask_accepted");
    CHECK(name_of(Event(Paid{})) == "paid");
    CHECK(name_of(Event(WorkerChanged{})) == "worker_changed");
    CHECK(to_string(JobKind::kServe) == "infer.serve");
    CHECK(to_string(CloseReason::kProviderLeft) == "provider_left");
}

TEST_CASE("names: reasons read as a sentence") {
    CHECK(describe({}) == "no asks in the book");
    Mismatches reasons;
    reasons.asks = 14;
    reasons.failed[static_cast<std::size_t>(Mismatch::kVram)] = 9;
    reasons.failed[static_cast<std::size_t>(Mismatch::kPrice)] = 5;
    reasons.nearest_of(Mismatch::kPrice) = 2'100'000;
    reasons.nearest_of(Mismatch::kVram) = 16'384;
    CHECK(describe(reasons) ==
          "14 asks: 9 with less VRAM (largest 16384 MiB), 5 above the price (cheapest 2.1)");
    reasons.asks = 15;
    reasons.failed[static_cast<std::size_t>(Mismatch::kPrice)] = 0;
    reasons.failed[static_cast<std::size_t>(Mismatch::kReliability)] = 5;
    reasons.nearest_of(Mismatch::kReliability) = 9'876;
    CHECK(describe(reasons) ==
          "15 asks: 9 with less VRAM (largest 16384 MiB), "
          "5 less reliable (best 98 %), 1 fits");
    Mismatches slow;
    slow.asks = slow.failed[static_cast<std::size_t>(Mismatch::kMemoryBandwidth)] = 5;
    slow.nearest_of(Mismatch::kMemoryBandwidth) = 45'000;
    CHECK(to_string(Mismatch::kMemoryBandwidth) == "memory_bandwidth");
    CHECK(describe(slow) == "5 asks: 5 with less memory bandwidth (fastest 45000 MB/s)");
    // Every test has a phrase of its own.
    std::set<std::string> texts;
    for (std::size_t i = 0; i < kMismatchCount; ++i) {
        Mismatches one;
        one.asks = one.failed[i] = 1;
        one.nearest[i] = 1'000'000;
        texts.insert(describe(one));
    }
    CHECK(texts.size() == kMismatchCount);
}

TEST_CASE("lease_id: keccak of the three words") {
    Hash32 ask;
    Hash32 bid;
    CHECK(lease_id(ask, bid, 0) != lease_id(ask, bid, 1));
    ask.data()[0] = 1;
    CHECK(lease_id(ask, bid, 0) != lease_id(bid, ask, 0));
}

}  // namespace marketplace::domain
