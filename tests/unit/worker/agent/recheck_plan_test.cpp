// SPDX-License-Identifier: Apache-2.0
#include "worker/agent/recheck_plan.hpp"

#include <doctest/doctest.h>

#include <initializer_list>
#include <string>
#include <vector>

using namespace worker::agent;
using ledger::base::ErrorCode;
namespace model = worker::model;
namespace wire = marketplace::wire;

namespace {

Hash32 hash_of(std::uint8_t value) {
    Hash32 out;
    out.data()[0] = value;
    return out;
}

/// A lease that begins with `model` and signs for the states of `ends`, ten steps each.
wire::LeaseEvidence lease_of(const Hash32& model, std::initializer_list<std::uint8_t> ends) {
    wire::LeaseEvidence out;
    Hash32 before = model;
    for (const std::uint8_t end : ends) {
        wire::SignedReceipt item;
        item.receipt.sequence = out.receipts.size() + 1;
        item.receipt.cumulative_units = 10 * item.receipt.sequence;
        item.receipt.model_hash = before;
        item.receipt.response_hash = hash_of(end);
        before = hash_of(end);
        out.receipts.push_back(item);
    }
    return out;
}

std::vector<RecheckSegment> plan(std::vector<wire::LeaseEvidence> leases,
                                 const model::JobSpec& spec = model::TrainSpec()) {
    wire::JobEvidence evidence;
    evidence.leases = std::move(leases);
    auto out = plan_recheck(evidence, spec);
    REQUIRE_MESSAGE(out.has_value(), out.error().message());
    return std::move(*out);
}

}  // namespace

TEST_CASE("recheck_plan: what serves is not run again, and what is sealed says so") {
    CHECK(plan_recheck({}, model::ServeSpec()).error().code() == ErrorCode::unsupported);
    model::TrainSpec spec;
    spec.sealed = hash_of(9);
    const auto segments = plan({lease_of(Hash32(), {1, 2})}, spec);
    REQUIRE(segments.size() == 2);
    for (const RecheckSegment& segment : segments)
        CHECK(segment.why_not.find("sealed") != std::string::npos);
    CHECK(receipted_steps(segments) == 0);
}

TEST_CASE("recheck_plan: a beginning that is nobody's word is not taken for the job's") {
    // Some other state, at the job's beginning or in the middle of a lease.
    const auto strange = plan({lease_of(hash_of(7), {1, 2})});
    REQUIRE(strange.size() == 2);
    CHECK_FALSE(strange[0].why_not.empty());
    CHECK_FALSE(strange[1].why_not.empty());
    // What follows from such a state is no word either.
    const auto after = plan({lease_of(hash_of(7), {1, 2}), lease_of(hash_of(2), {3})});
    CHECK_FALSE(after[2].why_not.empty());
    auto broken = lease_of(Hash32(), {1, 2, 3});
    broken.receipts[1].receipt.model_hash = hash_of(7);
    const auto torn = plan({broken});
    CHECK(torn[0].why_not.empty());
    CHECK_FALSE(torn[1].why_not.empty());
    CHECK_FALSE(torn[2].why_not.empty());
    CHECK(receipted_steps(torn) == 10);
    // Of a job with initial weights the beginning is another.
    model::TrainSpec spec;
    spec.init = hash_of(8);
    CHECK_FALSE(plan({lease_of(Hash32(), {1})}, spec)[0].why_not.empty());
    CHECK(plan({lease_of(hash_of(8), {1})}, spec)[0].why_not.empty());
}

TEST_CASE("recheck_plan: leases go on where earlier ones were receipted") {
    // The first was lost after two segments, the second goes on after the first of them, the third
    // begins anew.
    const auto segments =
        plan({lease_of(Hash32(), {1, 2}), lease_of(hash_of(1), {2, 3}), lease_of(Hash32(), {1})});
    struct Expected {
        std::uint64_t begin, end;
        std::optional<Hash32> before;
    };
    const std::vector<Expected> expected{{0, 10, std::nullopt},
                                         {10, 20, hash_of(1)},
                                         {10, 20, hash_of(1)},
                                         {20, 30, hash_of(2)},
                                         {0, 10, std::nullopt}};
    REQUIRE(segments.size() == expected.size());
    for (std::size_t i = 0; i < expected.size(); ++i) {
        CAPTURE(i);
        CHECK(segments[i].number == i + 1);
        CHECK(segments[i].begin_step == expected[i].begin);
        CHECK(segments[i].end_step == expected[i].end);
        CHECK(segments[i].before == expected[i].before);
        CHECK(segments[i].why_not.empty());
    }
    CHECK(receipted_steps(segments) == 30);
    CHECK(receipted_steps({}) == 0);
}

TEST_CASE("recheck_plan: thread counts begin with the machine's cores") {
    CHECK(likely_threads(0) == std::vector<int>{1});
    CHECK(likely_threads(1) == std::vector<int>{1});
    CHECK(likely_threads(6) == std::vector<int>{6, 1, 2, 4});
    CHECK(likely_threads(8) == std::vector<int>{8, 1, 2, 4});
    CHECK(likely_threads(100'000).front() == 1024);
}
