// SPDX-License-Identifier: Apache-2.0
#include "marketplace/webhooks/schedule.hpp"

#include <doctest/doctest.h>

#include <cstdlib>
#include <map>
#include <random>

namespace marketplace::webhooks {
namespace {

domain::Address account(std::uint8_t n) {
    domain::Address out;
    out.data()[19] = n;
    return out;
}

std::uint64_t seed() {
    const char* given = std::getenv("MILLRACE_SEED");
    return given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device()();
}

}  // namespace

TEST_CASE("schedule: nothing before its time, then the earliest first") {
    Schedule schedule(4);
    CHECK_FALSE(schedule.take(1000));
    CHECK_FALSE(schedule.next_due_ms());
    schedule.add("b", account(1), 30);
    schedule.add("a", account(2), 40);
    CHECK(schedule.next_due_ms() == 30);
    CHECK_FALSE(schedule.take(29));
    CHECK(schedule.take(40) == "b");
    CHECK(schedule.take(40) == "a");
    CHECK_FALSE(schedule.take(40));
}

TEST_CASE("schedule: an endpoint is called once at a time, an account twice") {
    Schedule schedule(8);
    for (const char* endpoint : {"a", "b", "c"})
        schedule.add(endpoint, account(1), 0);
    CHECK(schedule.take(0) == "a");
    schedule.add("a", account(1), 0);
    CHECK(schedule.take(0) == "b");
    CHECK_FALSE(schedule.take(0));
    schedule.done("b", Schedule::Speed::kGood, std::nullopt);
    CHECK(schedule.take(0) == "c");
    schedule.done("a", Schedule::Speed::kGood, 7);
    CHECK(schedule.take(0) == "a");  // what came while it was called
    CHECK_FALSE(schedule.take(100));
}

TEST_CASE("schedule: slow receivers share half of the senders") {
    Schedule schedule(4);
    for (std::uint8_t i = 0; i < 6; ++i) {
        schedule.add(std::string(1, static_cast<char>('a' + i)), account(i), 0);
        const auto taken = schedule.take(0);
        REQUIRE(taken);
        schedule.done(*taken, Schedule::Speed::kSlow, 1);
    }
    CHECK(schedule.take(1) == "a");
    CHECK(schedule.take(1) == "b");
    CHECK_FALSE(schedule.take(1));
    schedule.add("good", account(99), 1);
    CHECK(schedule.take(1) == "good");
    schedule.done("a", Schedule::Speed::kGood, std::nullopt);
    CHECK(schedule.take(1) == "c");
}

TEST_CASE("schedule: an endpoint that was removed is not called, and may end its call") {
    Schedule schedule(4);
    schedule.add("a", account(1), 0);
    schedule.add("b", account(1), 0);
    REQUIRE(schedule.take(0) == "a");
    schedule.remove("a");
    schedule.remove("b");
    schedule.remove("never");
    CHECK_FALSE(schedule.take(0));
    schedule.done("a", Schedule::Speed::kGood, 0);
    CHECK_FALSE(schedule.take(0));
    CHECK_FALSE(schedule.next_due_ms());
}

TEST_CASE("schedule: random use keeps every bound and starves nobody") {
    const std::uint64_t used = seed();
    INFO("MILLRACE_SEED=" << used);
    std::mt19937_64 random(used);
    Schedule schedule(6);
    std::map<std::string, int> calls;
    std::map<std::string, domain::Address> under_way;
    const auto owner_of = [](const std::string& id) {
        return account(static_cast<std::uint8_t>(id[0] % 7));
    };
    for (TimeMs now_ms = 0; now_ms < 20'000; ++now_ms) {
        const std::string id(1, static_cast<char>('A' + random() % 26));
        schedule.add(id, owner_of(id), now_ms + random() % 50);
        if (const auto taken = schedule.take(now_ms)) {
            CHECK_FALSE(under_way.contains(*taken));
            under_way[*taken] = owner_of(*taken);
            ++calls[*taken];
        }
        std::map<domain::Address, int> of_account;
        for (const auto& [endpoint, owner] : under_way)
            CHECK(++of_account[owner] <= 2);
        CHECK(under_way.size() <= 6);
        if (!under_way.empty() && random() % 2 == 0) {
            const auto ended = std::next(under_way.begin(),
                                         static_cast<std::ptrdiff_t>(random() % under_way.size()));
            schedule.done(ended->first,
                          random() % 3 == 0 ? Schedule::Speed::kSlow : Schedule::Speed::kGood,
                          std::nullopt);
            under_way.erase(ended);
        }
    }
    CHECK(calls.size() == 26);
}

}  // namespace marketplace::webhooks
