// SPDX-License-Identifier: Apache-2.0
// The market is gone for long and comes back.
#include "tests/unit/worker/agent/fixture.hpp"
#include "worker/agent/backoff.hpp"

#include <doctest/doctest.h>

#include <random>

using namespace worker::agent::test;  // NOLINT: the room under test
using std::chrono::milliseconds;
using worker::agent::Backoff;

TEST_CASE("absence: tries never stop, never come faster than a quarter second, never wait long") {
    const std::uint64_t seed = std::random_device{}();
    CAPTURE(seed);
    Backoff backoff(seed);
    milliseconds first_minute{0};
    for (unsigned i = 0; i < 10'000; ++i) {
        const milliseconds wait = backoff.next();
        CHECK(wait >= milliseconds(250));
        CHECK(wait <= (i < Backoff::kPatientTries ? Backoff::kPatientMax : Backoff::kMax));
        if (i < 30) first_minute += wait;
        if (i >= Backoff::kPatientTries + 5) CHECK(wait >= Backoff::kMax / 2);
    }
    CHECK(first_minute <= milliseconds(60'000));
    backoff.reset();
    CHECK(backoff.next() <= milliseconds(500));
}

TEST_CASE("absence: two workers do not come back in step") {
    Backoff one(1);
    Backoff other(2);
    unsigned same = 0;
    for (unsigned i = 0; i < 100; ++i)
        same += one.next() == other.next() ? 1U : 0U;
    CHECK(same < 20);
}

TEST_CASE("absence: an hour without the market loses no receipt and repeats little") {
    World world;
    const auto agent = world.make_agent();
    tell(*agent, world.welcome());
    tell(*agent, world.assign());
    REQUIRE(!world.ear.wait_for<wire::WorkFinished>(1).empty());
    world.ear.forget();
    // Nobody hears what is said from here on; a tick a second.
    for (int second = 0; second < 3'600; ++second) {
        world.clock.now_ += 1'000;
        agent->tick();
    }
    const auto book = world.store.find(world.assign().lease);
    REQUIRE(book);
    CHECK(book->sequence() == 4);
    CHECK(book->unacknowledged().size() == 4);
    // The market is back and has nothing of it.
    agent->on_open();
    tell(*agent, world.welcome());
    REQUIRE(!world.ear.wait_for<wire::WorkFinished>(1).empty());
    const auto said = world.ear.all<wire::ReceiptMessage>();
    CHECK(said.size() <= 4 * (worker::agent::kResendsMax + 1));
    world.ear.forget();
    tell(*agent, world.assign());
    REQUIRE(!world.ear.wait_for<wire::WorkFinished>(1).empty());
    const auto receipts = world.ear.all<wire::ReceiptMessage>();
    REQUIRE(receipts.size() >= 4);
    for (std::size_t i = 0; i < 4; ++i)
        CHECK(receipts[receipts.size() - 4 + i].receipt.receipt.sequence == i + 1);
    CHECK(book->sequence() == 4);
}
