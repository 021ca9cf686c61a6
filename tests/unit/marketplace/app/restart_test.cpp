// SPDX-License-Identifier: Apache-2.0
#include "marketplace/app/restart.hpp"

#include "ledger/base/sha256.hpp"
#include "marketplace/app/snapshot_maker.hpp"
#include "tests/support/market.hpp"
#include "tests/support/temp_database.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <thread>

using namespace marketplace;

namespace {

class StepClock final : public ledger::base::Clock {
 public:
    [[nodiscard]] ledger::base::TimeMs now_ms() const override { return now.fetch_add(1); }
    mutable std::atomic<ledger::base::TimeMs> now{tests::kStartS * 1000};
};

/// A market without its doors: database, engine, folds, snapshots.
struct Life {
    explicit Life(const tests::TempFolder& folder,
                  engine::EngineConfig rules = tests::make_config())
        : database(std::move(*storage::Database::open(folder.file("market.db")))),
          reads(std::move(*storage::Database::open(folder.file("market.db"),
                                                   storage::Database::Mode::kReadOnly))),
          journal([this](std::uint64_t first, std::size_t limit) {
              return storage::JournalStore(*reads)
                  .read(first, limit)
                  .value_or(std::vector<domain::Bytes>{});
          }),
          engine(rules, *database, clock, 16),
          log(journal, clock, rules.batch_period_ms),
          files(folder.file("snapshots"), rules) {
        engine.add_observer([this](const engine::Record& record, ledger::base::ByteView bytes,
                                   const engine::Engine&) { folds.publish(record, bytes); });
        const auto done = app::restart(folds, files, journal);
        REQUIRE(done);
        spared = *done;
        records = engine.stand().records;
    }
    void post(std::uint64_t first, std::uint64_t count) {
        for (std::uint64_t serial = first; serial < first + count; ++serial)
            REQUIRE(engine.apply(tests::make_ask(serial / 16, serial, 1000 + serial % 7)));
    }
    /// A clean stop.
    void stop() {
        engine.stop();
        REQUIRE(app::keep_snapshot(folds, files));
    }
    /// Everything this market knows.
    [[nodiscard]] domain::Bytes picture() {
        domain::Bytes out;
        const auto stand = engine.stand();
        market.read([&](const engine::MarketData& data) {
            log.read_tree([&](const ledger::log::MerkleTree& tree) {
                engine::write_snapshot({stand.records, stand.last_record, stand.engine, data, tree},
                                       tests::make_config(), [&out](ledger::base::ByteView piece) {
                                           ledger::base::append(out, piece);
                                       });
            });
        });
        return out;
    }

    StepClock clock;
    std::unique_ptr<storage::Database> database;
    std::unique_ptr<storage::Database> reads;
    app::ReadRecords journal;
    app::EngineThread engine;
    app::MarketFeed market;
    app::PublicLog log;
    app::SnapshotFiles files;
    app::Folds folds{engine, market, log};
    std::uint64_t spared = 0;
    std::uint64_t records = 0;
};

std::vector<std::filesystem::path> snapshots_of(const tests::TempFolder& folder) {
    std::vector<std::filesystem::path> out;
    for (const auto& entry : std::filesystem::directory_iterator(folder.file("snapshots")))
        if (entry.path().extension() == ".snapshot") out.push_back(entry.path());
    std::sort(out.begin(), out.end());
    return out;
}

std::string read_file(const std::filesystem::path& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}
void write_file(const std::filesystem::path& path, const std::string& text) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << text;
}

/// Three lives: snapshots of 20 and 40 records; the third dies with a tail of 10.
void live_three_times(const tests::TempFolder& folder) {
    for (std::uint64_t life = 0; life < 3; ++life) {
        Life market(folder);
        CHECK(market.spared == life * 20);
        market.engine.start();
        market.post(life * 20, life == 2 ? 10 : 20);
        if (life == 2)
            market.engine.stop();
        else
            market.stop();
    }
    REQUIRE(snapshots_of(folder).size() == 2);
}

/// What a market without snapshots would know.
domain::Bytes replayed(const tests::TempFolder& folder) {
    auto reads = storage::Database::open(folder.file("market.db"));
    REQUIRE(reads);
    engine::Snapshot all(tests::make_config());
    const auto rows = storage::JournalStore(**reads).read(0, 1'000'000);
    REQUIRE(rows);
    for (const domain::Bytes& row : *rows)
        REQUIRE(all.follow(row));
    domain::Bytes out;
    engine::write_snapshot(
        view_of(all), tests::make_config(),
        [&out](ledger::base::ByteView piece) { ledger::base::append(out, piece); });
    return out;
}

}  // namespace

TEST_CASE("restart: from a snapshot and the tail everything is as from the first record") {
    const tests::TempFolder folder;
    live_three_times(folder);
    Life market(folder);
    CHECK(market.spared == 40);
    CHECK(market.records == 50);
    CHECK(market.log.size() == 50);
    CHECK(market.picture() == replayed(folder));
    market.engine.start();
    market.post(50, 5);
    market.stop();
    CHECK(snapshots_of(folder).size() == 2);
    Life next(folder);
    CHECK(next.spared == 55);
    CHECK(next.picture() == replayed(folder));
}

TEST_CASE("restart: a snapshot that was changed, cut or emptied is passed over for the older") {
    for (int damage = 0; damage < 5; ++damage) {
        CAPTURE(damage);
        const tests::TempFolder folder;
        live_three_times(folder);
        const auto files = snapshots_of(folder);
        std::string bytes = read_file(files[1]);
        if (damage == 0) ++bytes[bytes.size() / 2];
        if (damage == 1) bytes.resize(bytes.size() / 2);
        if (damage == 2) bytes.clear();
        if (damage == 3) ++bytes[8];  // its version
        if (damage == 4) ++bytes.back();
        write_file(files[1], bytes);
        Life market(folder);
        CHECK(market.spared == 20);
        CHECK(market.picture() == replayed(folder));
        // The next one replaces what could not be used, not what could.
        market.engine.start();
        market.post(50, 1);
        market.stop();
        const auto left = snapshots_of(folder);
        REQUIRE(left.size() == 2);
        CHECK(left[0] == files[0]);
    }
}

TEST_CASE("restart: without a snapshot that can be used everything is replayed") {
    const tests::TempFolder folder;
    live_three_times(folder);
    for (const auto& file : snapshots_of(folder))
        write_file(file, "x" + read_file(file));
    Life market(folder);
    CHECK(market.spared == 0);
    CHECK(market.records == 50);
    CHECK(market.picture() == replayed(folder));
}

TEST_CASE("restart: snapshots of other rules or of another journal are not used") {
    const tests::TempFolder folder;
    live_three_times(folder);
    const auto last = snapshots_of(folder)[1];
    {
        auto rules = tests::make_config();
        ++rules.batch_period_ms;
        Life market(folder, rules);  // the same records follow from these rules as well
        CHECK(market.spared == 0);
        CHECK(market.records == 50);
    }
    const tests::TempFolder shorter;
    {
        Life market(shorter);
        market.engine.start();
        market.post(0, 39);
        market.engine.stop();
    }
    std::filesystem::create_directories(shorter.file("snapshots"));
    std::filesystem::copy(last, shorter.file("snapshots") / last.filename());
    CHECK(Life(shorter).spared == 0);
    const tests::TempFolder other;
    {
        Life market(other);
        market.engine.start();
        market.post(100, 60);
        market.engine.stop();
    }
    std::filesystem::create_directories(other.file("snapshots"));
    std::filesystem::copy(last, other.file("snapshots") / last.filename());
    Life market(other);
    CHECK(market.spared == 0);
    CHECK(market.picture() == replayed(other));
    // It has more records than the journal's own snapshots will have for long: it must go.
    market.engine.start();
    market.post(200, 1);
    market.stop();
    CHECK(snapshots_of(other).size() == 1);
    CHECK(Life(other).spared == 61);
}

TEST_CASE("restart: a snapshot whose state does not lead to the journal's tail is not used twice") {
    const tests::TempFolder folder;
    constexpr std::uint64_t kAtoms = 0x0123'4567'89ab'cdef;
    const auto deposit = [](std::uint64_t atoms, std::uint64_t serial) {
        return domain::EscrowDeposited{tests::buyer(1), atoms, tests::fixed<domain::Hash32>(serial),
                                       0};
    };
    {
        Life market(folder);
        market.engine.start();
        REQUIRE(market.engine.apply(deposit(kAtoms, 1)));
        market.stop();
    }
    {
        Life market(folder);
        CHECK(market.spared == 1);
        market.engine.start();
        REQUIRE(market.engine.apply(deposit(5, 2)));
        market.engine.stop();
    }
    // One atom too much, and a hash that says it is right.
    const auto file = snapshots_of(folder).front();
    std::string bytes = read_file(file);
    const auto replace = [&bytes](std::uint64_t from, std::uint64_t to) {
        const auto at = bytes.find(std::string(reinterpret_cast<const char*>(&from), 8));
        REQUIRE(at != bytes.npos);
        bytes.replace(at, 8, std::string(reinterpret_cast<const char*>(&to), 8));
    };
    replace(kAtoms, kAtoms + 1);
    replace(-kAtoms, -kAtoms - 1);
    bytes.resize(bytes.size() - domain::Hash32::kSize);
    bytes += ledger::base::as_text(ledger::base::sha256(ledger::base::as_bytes(bytes)).span());
    write_file(file, bytes);
    Life market(folder);
    CHECK(market.spared == 0);
    CHECK(snapshots_of(folder).empty());
    CHECK(market.picture() == replayed(folder));
}

TEST_CASE("restart: a write that fails leaves what was there") {
    const tests::TempFolder folder;
    live_three_times(folder);
    Life market(folder);
    std::filesystem::create_directories(folder.file("snapshots") / "new" / "in the way");
    CHECK_FALSE(app::keep_snapshot(market.folds, market.files));
    CHECK(Life(folder).spared == 40);
}

TEST_CASE("snapshot_maker: makes snapshots while the market runs") {
    const tests::TempFolder folder;
    {
        Life market(folder);
        app::SnapshotFiles files(folder.file("snapshots"), tests::make_config());
        app::SnapshotMaker maker(files, market.journal, tests::make_config(), 10);
        maker.start(0);
        market.engine.add_observer([&maker](const engine::Record& record, auto, const auto&) {
            maker.note(record.sequence + 1);
        });
        market.engine.start();
        const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(60);
        std::uint64_t serial = 0;
        while (snapshots_of(folder).size() < 2 && std::chrono::steady_clock::now() < give_up)
            market.post(serial++, 1);
        market.engine.stop();
        maker.stop();
    }
    CHECK(snapshots_of(folder).size() == 2);
    Life market(folder);
    CHECK(market.spared >= 20);
    CHECK(market.picture() == replayed(folder));
}
