// SPDX-License-Identifier: Apache-2.0
// One account that posts and posts: what it may do is bounded, what it costs is flat, and others
// are served.
#include "marketplace/app/engine_thread.hpp"
#include "tests/integration/durable/workload.hpp"
#include "tests/support/temp_database.hpp"

#include <doctest/doctest.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <thread>

namespace {

using namespace marketplace;  // NOLINT: a test
using ledger::base::ErrorCode;

constexpr std::uint64_t kOrders = 1'000'000;
constexpr std::uint64_t kOpenMax = 10'000;
constexpr std::size_t kQueue = 1024;

std::uint64_t resident_bytes() {
    std::ifstream in("/proc/self/statm");
    std::uint64_t size = 0;
    std::uint64_t resident = 0;
    in >> size >> resident;
    return resident * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

struct Flood {
    std::atomic<std::uint64_t> taken{0};
    std::atomic<std::uint64_t> limited{0};
    std::atomic<std::uint64_t> busy{0};
    std::atomic<std::uint64_t> other{0};

    [[nodiscard]] std::uint64_t answered() const { return taken + limited + busy + other; }
    void count(const ledger::base::Result<std::vector<domain::Event>>& result) {
        if (result)
            ++taken;
        else if (result.error().code() == ErrorCode::rate_limited)
            ++limited;
        else if (result.error().code() == ErrorCode::queue_full)
            ++busy;
        else
            ++other;
    }
};

/// A tiny order of the account that floods; each of another worker, so that only its own cap is
/// in the way.
domain::PostAsk tiny_order(std::uint64_t serial) {
    auto out = tests::make_ask(1, serial);
    out.resource.worker = tests::worker(serial);
    out.ask.min_units = out.ask.max_units = out.ask.volume_units = 1;
    return out;
}

}  // namespace

TEST_CASE("durable: a million tiny orders of one account are bounded, others are served") {
    const tests::TempFolder folder;
    auto database = storage::Database::open(folder.file("market.db"));
    REQUIRE(database);
    const durable::UnsteadyClock clock;
    app::EngineThread engine(tests::make_config(), **database, clock, kQueue);
    REQUIRE(engine.load([](const auto&, auto) {}));
    std::atomic<std::uint64_t> records{0};
    engine.add_observer([&](const auto&, auto, const auto&) { ++records; });
    engine.start();

    Flood flood;
    std::uint64_t served = 0;
    std::uint64_t resident_early = 0;
    for (std::uint64_t serial = 0; serial < kOrders; ++serial) {
        engine.submit(tiny_order(serial), [&](const auto& result) { flood.count(result); });
        // A full queue is refused at once: the flood goes on without waiting.
        if (serial % 50'000 != 49'999) continue;
        // An honest account tries again while it is told that the market is busy.
        const auto ask = tests::make_ask(1000 + serial, kOrders + serial);
        auto answer = engine.apply(ask);
        while (!answer && answer.error().code() == ErrorCode::queue_full) {
            std::this_thread::yield();
            answer = engine.apply(ask);
        }
        CHECK(answer.has_value());
        served += answer.has_value() ? 1U : 0U;
        if (serial == 149'999) resident_early = resident_bytes();
    }
    const std::uint64_t resident_late = resident_bytes();
    engine.stop();

    CHECK(flood.answered() == kOrders);
    CHECK(flood.other == 0);
    CHECK(flood.taken <= kOpenMax);
    CHECK(flood.limited + flood.busy >= kOrders - kOpenMax);
    CHECK(served == 20);
    CHECK(records == flood.taken + served);  // a refusal leaves nothing behind
    CAPTURE(resident_early);
    CAPTURE(resident_late);
    CHECK(resident_late < resident_early + (16ULL << 20U));
    MESSAGE(flood.taken.load() << " taken, " << flood.limited.load() << " over the account's cap, "
                               << flood.busy.load() << " at a full queue");
}
