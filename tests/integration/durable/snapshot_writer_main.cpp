// SPDX-License-Identifier: Apache-2.0
// A market that makes a snapshot every few records, and one when it stops, and kills itself at the
// given point of writing one: snapshot_writer DATABASE SNAPSHOTS SEED FIRST COUNT STAGE OCCURRENCE.
// Ends with 0 when it was not killed.
#include "marketplace/app/restart.hpp"
#include "marketplace/app/snapshot_maker.hpp"
#include "tests/integration/durable/workload.hpp"

#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdlib>

using namespace marketplace;  // NOLINT: a program of its own

int main(int argc, char** argv) {
    if (argc != 8) return 2;
    const auto number = [&](int index) { return std::strtoull(argv[index], nullptr, 10); };
    auto database = storage::Database::open(argv[1]);
    auto reads = storage::Database::open(argv[1], storage::Database::Mode::kReadOnly);
    if (!database || !reads) return 3;
    const app::ReadRecords journal = [&reads](std::uint64_t first, std::size_t limit) {
        return storage::JournalStore(**reads)
            .read(first, limit)
            .value_or(std::vector<domain::Bytes>{});
    };
    const durable::UnsteadyClock clock;
    app::EngineThread engine(tests::make_config(), **database, clock, 1024);
    app::MarketFeed market;
    app::PublicLog log(journal, clock, tests::make_config().batch_period_ms);
    const app::Folds folds{engine, market, log};
    app::SnapshotFiles files(argv[2], tests::make_config());
    std::atomic<std::uint64_t> left = number(7);
    files.on_stage([&left, stage = number(6)](app::SnapshotFiles::Stage reached) {
        if (static_cast<std::uint64_t>(reached) == stage && --left == 0)
            ::kill(::getpid(), SIGKILL);
    });
    const auto spared = app::restart(folds, files, journal);
    if (!spared) return 4;
    app::SnapshotMaker maker(files, journal, tests::make_config(), /*every=*/20);
    engine.add_observer(
        [&](const engine::Record& record, ledger::base::ByteView bytes, const engine::Engine&) {
            folds.publish(record, bytes);
            maker.note(record.sequence + 1);
        });
    maker.start(*spared);
    engine.start();
    for (std::uint64_t serial = number(4); serial < number(4) + number(5); ++serial)
        for (const domain::Command& command : durable::make_step(number(3), serial).commands)
            static_cast<void>(engine.apply(command));
    maker.stop();
    engine.stop();
    return app::keep_snapshot(folds, files) ? 0 : 5;
}
