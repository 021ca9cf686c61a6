// SPDX-License-Identifier: Apache-2.0
#include "worker/kernels/pool.hpp"

#include <doctest/doctest.h>
#include <time.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>
#include <vector>

using worker::kernels::Pool;

TEST_CASE("pool: the number of threads is clamped") {
    CHECK(Pool(0).threads() == 1);
    CHECK(Pool(3).threads() == 3);
}

TEST_CASE("pool: every item is done once, by the thread that the cut gives it") {
    for (const std::size_t threads : {1U, 2U, 5U}) {
        Pool pool(threads);
        for (std::size_t count = 0; count < 40; ++count) {
            std::vector<std::size_t> owner(count, threads);
            std::vector<int> times(count, 0);
            pool.run(count, [&](std::size_t begin, std::size_t end, std::size_t thread) {
                for (std::size_t i = begin; i < end; ++i) {
                    owner[i] = thread;
                    ++times[i];
                }
            });
            for (std::size_t i = 0; i < count; ++i) {
                REQUIRE(times[i] == 1);
                REQUIRE(owner[i] < threads);
                if (i > 0) REQUIRE(owner[i] >= owner[i - 1]);
            }
            const auto again = owner;
            pool.run(count, [&](std::size_t begin, std::size_t end, std::size_t thread) {
                for (std::size_t i = begin; i < end; ++i)
                    owner[i] = thread;
            });
            CHECK(owner == again);
        }
    }
}

TEST_CASE("pool: a long row of short pieces, with sleep between some, loses nothing") {
    Pool pool(3);
    std::atomic<std::uint64_t> sum{0};
    std::uint64_t want = 0;
    for (std::uint64_t turn = 0; turn < 20000; ++turn) {
        if (turn % 5000 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(5));
        pool.run(7, [&](std::size_t begin, std::size_t end, std::size_t) {
            for (std::size_t i = begin; i < end; ++i)
                sum += turn * i;
        });
        want += turn * 21;
    }
    CHECK(sum == want);
}

TEST_CASE("pool: an idle pool takes no processor time") {
    Pool pool(4);
    pool.run(4, [](std::size_t, std::size_t, std::size_t) {});
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    const auto used = [] {
        timespec now{};
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
        return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
    };
    const auto before = used();
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    CHECK(used() - before < std::chrono::milliseconds(5));
}

TEST_CASE("pool: scratch memory is aligned and grows") {
    Pool pool(1);
    for (const std::size_t bytes : {1U, 100U, 5'000'000U, 64U}) {
        const auto memory = pool.scratch(bytes);
        CHECK(memory.size() == bytes);
        CHECK(reinterpret_cast<std::uintptr_t>(memory.data()) % 64 == 0);
        memory.back() = std::byte{1};
    }
}
