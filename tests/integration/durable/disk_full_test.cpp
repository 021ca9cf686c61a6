// SPDX-License-Identifier: Apache-2.0
// The disk fills up under a running market: writers are told so, readers are served, and when
// there is room again it goes on by itself.
#include "marketplace/app/engine_thread.hpp"
#include "marketplace/engine/journal.hpp"
#include "tests/integration/durable/small_disk.hpp"
#include "tests/integration/durable/workload.hpp"
#include "tests/support/temp_database.hpp"

#include <SQLiteCpp/SQLiteCpp.h>
#include <doctest/doctest.h>

#include <string>

namespace {

using namespace marketplace;  // NOLINT: a test
using ledger::base::ErrorCode;

struct Market {
    explicit Market(const std::filesystem::path& path)
        : database(std::move(*storage::Database::open(path))),
          engine(tests::make_config(), *database, clock, 1024) {
        REQUIRE(engine.load([](const auto&, auto) {}));
        engine.start();
    }
    ledger::base::Result<std::vector<domain::Event>> post() {
        return engine.apply(tests::make_ask(serial, serial)).map([this](auto events) {
            ++serial;
            return events;
        });
    }
    [[nodiscard]] domain::Hash32 state_hash() {
        return engine.ask([](const engine::Engine& e) { return e.state_hash(); }).value();
    }

    durable::UnsteadyClock clock;
    std::unique_ptr<storage::Database> database;
    app::EngineThread engine;
    std::uint64_t serial = 0;
};

/// The hash an engine comes to that starts from the file alone.
domain::Hash32 replayed_hash(const std::filesystem::path& path) {
    return Market(path).state_hash();
}

void fill_until_refused(Market& market) {
    for (int i = 0; i < 100'000; ++i) {
        const auto answer = market.post();
        if (answer) continue;
        REQUIRE(answer.error().code() == ErrorCode::disk_full);
        return;
    }
    FAIL("the disk never filled up");
}

/// Refuses in the same way again and again, and serves readers.
void check_stalled(Market& market, const domain::Hash32& before) {
    for (int i = 0; i < 50; ++i) {
        const auto answer = market.post();
        REQUIRE_FALSE(answer.has_value());
        REQUIRE(answer.error().code() == ErrorCode::disk_full);
        REQUIRE(market.state_hash() == before);
    }
    const auto rows =
        market.engine.transact({}, [](storage::Database&) { return ledger::base::Result<void>(); });
    REQUIRE(rows.error().code() == ErrorCode::disk_full);
}

/// In a process of its own, on a real file system that is really full.
int run_on_small_disk(const std::filesystem::path& folder) {
    if (!durable::mount_small_disk(folder, "size=14m")) return durable::kNoMount;
    const auto path = folder / "market.db";
    const auto ballast = folder / "ballast";
    domain::Hash32 end;
    {
        Market market(path);
        for (int i = 0; i < 100; ++i)
            if (!market.post()) return 10;
        durable::fill_disk(ballast);
        const domain::Hash32 before = market.state_hash();
        for (int i = 0; i < 20; ++i) {
            const auto answer = market.post();
            if (answer || answer.error().code() != ErrorCode::disk_full) return 11;
            if (market.state_hash() != before) return 12;
        }
        std::filesystem::remove(ballast);
        for (int i = 0; i < 100; ++i)
            if (!market.post()) return 13;
        end = market.state_hash();
    }
    return replayed_hash(path) == end ? 0 : 14;
}

}  // namespace

TEST_CASE("durable: a database that cannot grow refuses writers, serves readers, and goes on") {
    const tests::TempFolder folder;
    const auto path = folder.file("market.db");
    domain::Hash32 end;
    {
        Market market(path);
        REQUIRE(market.post());
        SQLite::Database& raw = market.database->raw();
        // The limit is changed between tasks of the engine thread, which is idle then.
        const int pages = raw.execAndGet("PRAGMA page_count").getInt();
        raw.exec("PRAGMA max_page_count=" + std::to_string(pages + 40));
        fill_until_refused(market);
        const domain::Hash32 full = market.state_hash();
        check_stalled(market, full);
        CHECK(market.engine
                  .ask([&](const engine::Engine& e) {
                      return e.find_ask(ledger::eth::struct_hash(tests::make_ask(0, 0).ask)) !=
                             nullptr;
                  })
                  .value());
        raw.exec("PRAGMA max_page_count=100000");
        for (int i = 0; i < 100; ++i)
            REQUIRE(market.post());
        end = market.state_hash();
        CHECK(end != full);
    }
    CHECK(replayed_hash(path) == end);
}

TEST_CASE("durable: a full file system refuses writers, serves readers, and goes on") {
    const tests::TempFolder folder;
    std::filesystem::create_directories(folder.file("disk"));
    const int status =
        durable::run_in_child([&] { return run_on_small_disk(folder.file("disk")); });
    if (status == durable::kNoMount) {
        MESSAGE("skipped: no user namespace with mounts here");
        return;
    }
    CHECK(status == 0);
}
