// SPDX-License-Identifier: Apache-2.0
// Replay of a seeded journal with every check a start makes (decoding, chain of hashes, events and
// state hash of each record), the share of each part, and a restart with 1,000,000 open orders.
//
// Limit program: the hashes that no replay can do without, on one core: SHA-256 of each record and
// of each state (about the record's bytes again), Keccak-256 of each order.
#include "marketplace/app/engine_thread.hpp"
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

namespace {

using namespace marketplace;  // NOLINT: a program of its own
using ledger::base::Bytes;

constexpr std::uint64_t kSeed = 20'260'101;
constexpr std::uint64_t kRecords = 400'000;
constexpr std::uint64_t kOpenOrders = 1'000'000;
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

void bench_restart(bench::Report& report, const std::filesystem::path& file) {
    {
        const auto database = open(file);
        bench::JournalMaker journal(*database);
        std::mt19937_64 random(kSeed);
        for (std::uint64_t serial = 0; serial < kOpenOrders; ++serial)
            MR_CHECK(!journal.add(bench::varied_ask(random, serial)).empty());
    }
    const Start start = start_market(file);
    report.metric("restart_open_file_s", start.open_s);
    report.metric("restart_load_s", start.load_s);
    report.goal("restart with 1,000,000 open orders", start.open_s + start.load_s, 5, "s",
                bench::Better::kLower);
    report.goal("memory per resting order, whole engine",
                static_cast<double>(start.resident_bytes) / static_cast<double>(kOpenOrders), 256,
                "bytes", bench::Better::kLower);
}

}  // namespace

int main() {
    const auto folder =
        std::filesystem::current_path() / "build" / "bench" / fmt::format("replay-{}", getpid());
    std::filesystem::create_directories(folder);
    bench::Report report("replay");
    bench_replay(report, folder / "mixed.db");
    bench_restart(report, folder / "open.db");
    std::filesystem::remove_all(folder);
    fmt::print("{}\n", report.json());
    return 0;
}
