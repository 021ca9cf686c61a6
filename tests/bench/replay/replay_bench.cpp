// SPDX-License-Identifier: Apache-2.0
// Replay of a seeded journal with every check a start makes (decoding, chain of hashes, events and
// state hash of each record), the share of each part, and a restart with 1,000,000 open orders: by
// full replay, and from a snapshot with the longest tail that is usual (100,000 records) and none.
//
// Limit program: the hashes that no replay can do without, on one core: SHA-256 of each record and
// of each state (about the record's bytes again), Keccak-256 of each order.
#include "marketplace/app/restart.hpp"
#include "tests/bench/replay/journal_maker.hpp"
#include "tests/bench/report.hpp"

#include <fmt/format.h>
#include <malloc.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string_view>

namespace {

using namespace marketplace;  // NOLINT: a program of its own
using ledger::base::Bytes;

constexpr std::uint64_t kSeed = 20'260'101;
constexpr std::uint64_t kRecords = 400'000;
constexpr std::uint64_t kOpenOrders = 1'000'000;
constexpr std::uint64_t kTail = 100'000;
constexpr int kRounds = 3;

class Stopwatch {
 public:
    [[nodiscard]] double seconds() const {
        const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - start_;
        return passed.count();
    }

 private:
    std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

std::uint64_t resident_bytes() {
    ::malloc_trim(0);
    std::ifstream in("/proc/self/statm");
    std::uint64_t size = 0;
    std::uint64_t resident = 0;
    in >> size >> resident;
    return resident * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

std::unique_ptr<storage::Database> open(const std::filesystem::path& file) {
    auto out = storage::Database::open(file);
    MR_CHECK(out.has_value());
    return std::move(*out);
}

/// What one start costs: from a closed file to an engine that takes commands.
struct Start {
    double open_s = 0;
    double load_s = 0;
    std::uint64_t resident_bytes = 0;  ///< that the engine added
};
Start start_market(const std::filesystem::path& file) {
    const ledger::base::SystemClock clock;
    const std::uint64_t before = resident_bytes();
    Start out;
    const Stopwatch opening;
    const auto database = open(file);
    out.open_s = opening.seconds();
    app::EngineThread engine(tests::make_config(), *database, clock, 16);
    const Stopwatch loading;
    MR_CHECK(engine.load([](const auto&, auto) {}).has_value());
    out.load_s = loading.seconds();
    out.resident_bytes = resident_bytes() - before;
    return out;
}

/// The parts alone, one after the other on one core.
struct Shares {
    double read_s = 0;
    double hash_s = 0;
    double decode_s = 0;
    double apply_s = 0;
    double limit_s = 0;
};
void hash_orders(const domain::Command& command) {
    if (const auto* ask = std::get_if<domain::PostAsk>(&command))
        static_cast<void>(struct_hash(ask->ask));
    if (const auto* job = std::get_if<domain::PostJob>(&command))
        for (const domain::BidLeg& leg : job->legs)
            static_cast<void>(struct_hash(leg.bid));
}

Shares measure_shares(const std::filesystem::path& file) {
    Shares out;
    const auto database = open(file);
    storage::JournalStore journal(*database);
    engine::Engine engine(tests::make_config());
    std::uint64_t next = 0;
    for (;;) {
        const Stopwatch reading;
        const auto rows = journal.read(next, 4096);
        out.read_s += reading.seconds();
        MR_CHECK(rows.has_value());
        if (rows->empty()) return out;
        next += rows->size();
        const Stopwatch hashing;
        for (const Bytes& bytes : *rows)
            static_cast<void>(engine::record_hash(bytes));
        out.hash_s += hashing.seconds();
        const Stopwatch decoding;
        std::vector<engine::Record> records;
        records.reserve(rows->size());
        for (const Bytes& bytes : *rows) {
            auto record = engine::decode_record(bytes);
            MR_CHECK(record.has_value());
            records.push_back(std::move(*record));
        }
        out.decode_s += decoding.seconds();
        const Stopwatch limit;
        for (std::size_t i = 0; i < records.size(); ++i) {
            static_cast<void>(engine::record_hash((*rows)[i]));
            static_cast<void>(engine::record_hash((*rows)[i]));
            hash_orders(records[i].command);
        }
        out.limit_s += limit.seconds();
        const Stopwatch applying;
        for (const engine::Record& record : records)
            MR_CHECK(engine.apply(record.command, record.time_ms).has_value());
        out.apply_s += applying.seconds();
    }
}

void bench_replay(bench::Report& report, const std::filesystem::path& file) {
    std::uint64_t bytes = 0;
    std::uint64_t records = 0;
    {
        const auto database = open(file);
        bench::JournalMaker journal(*database);
        bench::MixedDay(journal, kSeed).fill(kRecords);
        bytes = journal.bytes();
        records = journal.records();
    }
    std::vector<double> rates;
    for (int round = 0; round < kRounds; ++round) {
        rates.push_back(static_cast<double>(records) / start_market(file).load_s);
        fmt::print(stderr, "replay {:.0f} commands/s\n", rates.back());
    }
    const double rate = bench::median(rates);
    const Shares shares = measure_shares(file);
    const auto per_record_us = [&](double seconds) {
        return seconds * 1e6 / static_cast<double>(records);
    };
    report.metric("replay_commands_per_s", rate);
    report.metric("replay_bytes_per_s",
                  rate * static_cast<double>(bytes) / static_cast<double>(records));
    report.metric("bytes_per_record", static_cast<double>(bytes) / static_cast<double>(records));
    report.metric("read_us", per_record_us(shares.read_s));
    report.metric("hash_us", per_record_us(shares.hash_s));
    report.metric("decode_us", per_record_us(shares.decode_s));
    report.metric("apply_us", per_record_us(shares.apply_s));
    const double limit = static_cast<double>(records) / shares.limit_s;
    report.metric("limit_commands_per_s", limit);
    report.metric("limit_ratio", rate / limit);
    report.goal("replayed commands per second", rate, 2e6, "1/s", bench::Better::kHigher);
}

/// A start as the market makes it: engine, market data and log.
struct FullStart {
    double open_s = 0;
    double load_s = 0;
    double cpu_s = 0;  ///< of all threads, for both
    double keep_s = 0;
    std::uint64_t from_snapshot = 0;
    domain::Hash32 state_hash;
};
double cpu_seconds() {
    timespec now{};
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

enum class Keep : std::uint8_t { kNo, kSnapshot };
FullStart start_all(const std::filesystem::path& file, const std::filesystem::path& snapshots,
                    Keep keep) {
    const ledger::base::SystemClock clock;
    FullStart out;
    const double cpu_before = cpu_seconds();
    const Stopwatch opening;
    const auto database = open(file);
    const auto reads = open(file);
    out.open_s = opening.seconds();
    storage::JournalStore rows(*reads);
    const auto journal = [&rows](std::uint64_t first, std::size_t limit) {
        return rows.read(first, limit).value_or(std::vector<Bytes>{});
    };
    app::EngineThread engine(tests::make_config(), *database, clock, 16);
    app::MarketFeed market;
    app::PublicLog log(journal, clock, tests::make_config().batch_period_ms);
    app::SnapshotFiles files(snapshots, tests::make_config());
    const app::Folds folds{engine, market, log};
    const Stopwatch loading;
    const auto spared = app::restart(folds, files, journal);
    MR_CHECK(spared.has_value());
    out.load_s = loading.seconds();
    out.cpu_s = cpu_seconds() - cpu_before;
    out.from_snapshot = *spared;
    out.state_hash = engine.stand().engine.state_hash();
    const Stopwatch keeping;
    if (keep == Keep::kSnapshot) MR_CHECK(app::keep_snapshot(folds, files).has_value());
    out.keep_s = keeping.seconds();
    return out;
}

std::uint64_t bytes_in(const std::filesystem::path& folder) {
    std::uint64_t out = 0;
    for (const auto& entry : std::filesystem::directory_iterator(folder))
        out += entry.file_size();
    return out;
}

void bench_restart(bench::Report& report, const std::filesystem::path& file, std::uint64_t orders) {
    const auto snapshots = file.parent_path() / "snapshots";
    FullStart full;
    {
        const auto database = open(file);
        bench::JournalMaker journal(*database);
        std::mt19937_64 random(kSeed);
        for (std::uint64_t serial = 0; serial < orders; ++serial) {
            MR_CHECK(!journal.add(bench::varied_ask(random, serial)).empty());
            if (serial + 1 == orders - kTail) full = start_all(file, snapshots, Keep::kSnapshot);
        }
    }
    report.metric("restart_without_the_tail_replayed_with_all_folds_s", full.load_s);
    report.metric("restart_without_the_tail_replayed_with_all_folds_cpu_s", full.cpu_s);
    report.metric("snapshot_write_s", full.keep_s);
    report.metric("snapshot_bytes_per_order",
                  static_cast<double>(bytes_in(snapshots)) / static_cast<double>(orders - kTail));
    const Start start = start_market(file);
    report.metric("restart_open_file_s", start.open_s);
    report.metric("restart_load_s", start.load_s);
    const FullStart tail = start_all(file, snapshots, Keep::kSnapshot);
    MR_CHECK(tail.from_snapshot == orders - kTail);
    const FullStart clean = start_all(file, snapshots, Keep::kNo);
    MR_CHECK(clean.from_snapshot == orders);
    MR_CHECK(clean.state_hash == tail.state_hash);
    report.metric("restart_snapshot_no_tail_s", clean.open_s + clean.load_s);
    report.metric("restart_snapshot_no_tail_cpu_s", clean.cpu_s);
    report.metric("restart_snapshot_and_tail_cpu_s", tail.cpu_s);
    report.metric("restart_full_replay_s", start.open_s + start.load_s);
    report.goal("restart with 1,000,000 open orders, 100,000 of them in the tail",
                tail.open_s + tail.load_s, 5, "s", bench::Better::kLower);
    report.goal("memory per resting order, whole engine",
                static_cast<double>(start.resident_bytes) / static_cast<double>(orders), 256,
                "bytes", bench::Better::kLower);
}

}  // namespace

/// `restart` [ORDERS]: that part alone.
int main(int argc, char** argv) {
    const bool restart_only = argc > 1 && std::string_view(argv[1]) == "restart";
    const auto folder =
        std::filesystem::current_path() / "build" / "bench" / fmt::format("replay-{}", getpid());
    std::filesystem::create_directories(folder);
    bench::Report report("replay");
    if (!restart_only) bench_replay(report, folder / "mixed.db");
    bench_restart(report, folder / "open.db",
                  argc > 2 ? std::strtoull(argv[2], nullptr, 10) : kOpenOrders);
    std::filesystem::remove_all(folder);
    fmt::print("{}\n", report.json());
    return 0;
}
