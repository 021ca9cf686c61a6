// SPDX-License-Identifier: Apache-2.0
#include "marketplace/app/engine_thread.hpp"

#include "ledger/base/hex.hpp"
#include "ledger/crypto/secp256k1.hpp"
#include "marketplace/app/public_log.hpp"
#include "marketplace/storage/catalog_store.hpp"

#include <doctest/doctest.h>

#include <filesystem>

using namespace marketplace;
using ledger::base::ErrorCode;

namespace {

class StepClock final : public ledger::base::Clock {
 public:
    [[nodiscard]] ledger::base::TimeMs now_ms() const override { return now.fetch_add(1); }
    mutable std::atomic<ledger::base::TimeMs> now{1'000'000};
};

struct Directory {
    std::filesystem::path path =
        std::filesystem::temp_directory_path() /
        ("millrace-app-" + ledger::base::to_hex(ledger::crypto::random_bytes(8)).substr(2));
    Directory() { std::filesystem::create_directories(path); }
    ~Directory() { std::filesystem::remove_all(path); }
};

domain::Command deposit(std::uint8_t account, std::uint64_t atoms) {
    domain::EscrowDeposited command;
    command.account.data()[19] = account;
    command.amount_atoms = atoms;
    command.transaction.data()[0] = account;
    return command;
}

std::int64_t available(app::EngineThread& engine, std::uint8_t account) {
    domain::Address address;
    address.data()[19] = account;
    return engine.ask([address](const engine::Engine& e) { return e.balance(address).available; })
        .value();
}

}  // namespace

TEST_CASE("engine_thread: a refused command leaves no record") {
    Directory directory;
    StepClock clock;
    auto database = storage::Database::open(directory.path / "market.db");
    REQUIRE(database);
    app::EngineThread engine({}, **database, clock, 16);
    REQUIRE(engine.load([](const auto&, auto) {}));
    std::size_t records = 0;
    engine.add_observer([&](const auto&, auto, const auto&) { ++records; });
    engine.start();
    domain::CancelJob unknown;
    CHECK(engine.apply(unknown).error().code() == ErrorCode::not_found);
    CHECK(engine.apply(domain::Tick{}));
    engine.stop();
    CHECK(records == 0);
}

TEST_CASE("engine_thread: what was answered is there after a restart, with the same log root") {
    Directory directory;
    StepClock clock;
    app::PublicLog before([](auto, auto) { return std::vector<domain::Bytes>(); }, clock, 1000);
    {
        auto database = storage::Database::open(directory.path / "market.db");
        app::EngineThread engine({}, **database, clock, 16);
        REQUIRE(engine.load([](const auto&, auto) {}));
        engine.add_observer(
            [&](const auto& record, auto bytes, const auto&) { before.append(record, bytes); });
        engine.start();
        CHECK(engine.apply(deposit(1, 500)));
        CHECK(engine.apply(deposit(2, 700)));
        CHECK(engine.apply(deposit(1, 500)));  // the same chain event again
    }
    auto database = storage::Database::open(directory.path / "market.db");
    app::EngineThread engine({}, **database, clock, 16);
    app::PublicLog after([](auto, auto) { return std::vector<domain::Bytes>(); }, clock, 1000);
    REQUIRE(engine.load([&](const auto& record, auto bytes) { after.append(record, bytes); }));
    engine.start();
    CHECK(available(engine, 1) == 500);
    CHECK(available(engine, 2) == 700);
    CHECK(after.size() == 2);
    CHECK(*after.root_at(2) == *before.root_at(2));
}

TEST_CASE("engine_thread: rows and commands of one task count together or not at all") {
    Directory directory;
    StepClock clock;
    auto database = storage::Database::open(directory.path / "market.db");
    app::EngineThread engine({}, **database, clock, 16);
    REQUIRE(engine.load([](const auto&, auto) {}));
    engine.start();
    const auto failed = engine.transact({deposit(1, 500)}, [](storage::Database& db) {
        const auto written =
            storage::CatalogStore(db).put_setting("x", ledger::base::as_bytes("1"));
        REQUIRE(written);
        return ledger::base::Result<void>(ledger::base::fail(ErrorCode::io_error));
    });
    CHECK(failed.error().code() == ErrorCode::io_error);
    CHECK(available(engine, 1) == 0);
    CHECK(engine.transact({deposit(1, 500)}, [](storage::Database& db) {
        const auto value = storage::CatalogStore(db).setting("x");
        CHECK((value && !*value));
        return storage::CatalogStore(db).put_setting("x", ledger::base::as_bytes("2"));
    }));
    CHECK(available(engine, 1) == 500);
}

TEST_CASE("engine_thread: a damaged journal is refused at start") {
    Directory directory;
    StepClock clock;
    {
        auto database = storage::Database::open(directory.path / "market.db");
        app::EngineThread engine({}, **database, clock, 16);
        REQUIRE(engine.load([](const auto&, auto) {}));
        engine.start();
        CHECK(engine.apply(deposit(1, 500)));
    }
    auto database = storage::Database::open(directory.path / "market.db");
    storage::JournalStore journal(**database);
    domain::Bytes copy = journal.read(0, 1)->front();
    REQUIRE((*database)->begin());
    REQUIRE(journal.append(1, copy));  // a record that does not follow
    REQUIRE((*database)->commit());
    app::EngineThread engine({}, **database, clock, 16);
    CHECK(engine.load([](const auto&, auto) {}).error().code() == ErrorCode::audit_failed);
}

TEST_CASE("engine_thread: a full queue says so at once") {
    Directory directory;
    StepClock clock;
    auto database = storage::Database::open(directory.path / "market.db");
    app::EngineThread engine({}, **database, clock, 2);
    REQUIRE(engine.load([](const auto&, auto) {}));
    // Not started: the queue only fills.
    CHECK(engine.query([](const auto&) {}));
    CHECK(engine.query([](const auto&) {}));
    CHECK_FALSE(engine.query([](const auto&) {}));
    std::optional<ErrorCode> code;
    engine.submit(domain::Tick{}, [&](const auto& result) { code = result.error().code(); });
    CHECK(code == ErrorCode::queue_full);
}
