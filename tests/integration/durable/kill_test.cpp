// SPDX-License-Identifier: Apache-2.0
// A writer is killed at every boundary between a command and its answer; what it had said must be
// true of the file it leaves.
#include "marketplace/engine/journal.hpp"
#include "marketplace/storage/catalog_store.hpp"
#include "marketplace/storage/journal_store.hpp"
#include "tests/integration/durable/workload.hpp"
#include "tests/support/temp_database.hpp"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <map>
#include <random>
#include <set>
#include <string>

namespace {

using namespace marketplace;  // NOLINT: a test
using durable::Answer;
using durable::Outcome;

constexpr std::uint64_t kPoints = 6;  // while loading, then the five stages
constexpr std::uint64_t kFiles = 10;  // databases
constexpr std::uint64_t kKillsPerFile = 20;
constexpr std::uint64_t kRecordsToKill = 60;
constexpr std::uint64_t kGroupsToKill = 6;
constexpr std::uint64_t kSteps = 400;  // of one life; more than it lives to write

struct Life {
    std::vector<Answer> answers;
    bool killed = false;
};

Life run_writer(const std::vector<std::string>& arguments) {
    std::array<int, 2> pipe{};
    REQUIRE(::pipe(pipe.data()) == 0);
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        ::dup2(pipe[1], STDOUT_FILENO);
        ::close(pipe[0]);
        ::close(pipe[1]);
        std::vector<char*> argv;
        std::string program = MILLRACE_TEST_WRITER;
        argv.push_back(program.data());
        std::vector<std::string> copies = arguments;
        for (std::string& text : copies)
            argv.push_back(text.data());
        argv.push_back(nullptr);
        ::execv(argv[0], argv.data());
        ::_exit(127);
    }
    ::close(pipe[1]);
    Life life;
    Answer answer;
    while (::read(pipe[0], &answer, sizeof(answer)) == sizeof(answer))
        life.answers.push_back(answer);
    ::close(pipe[0]);
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    life.killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    CAPTURE(WEXITSTATUS(status));
    REQUIRE(life.killed);
    return life;
}

/// What is in the file: how many records each serial has. Every record must follow the one before
/// and come out the same from an engine that starts from nothing.
std::map<std::uint64_t, std::uint64_t> read_journal(storage::Database& database) {
    storage::JournalStore journal(database);
    const auto rows = journal.read(0, 1'000'000);
    REQUIRE(rows);
    engine::Engine fresh(tests::make_config());
    domain::Hash32 previous;
    std::map<std::uint64_t, std::uint64_t> out;
    for (std::size_t i = 0; i < rows->size(); ++i) {
        const auto record = engine::decode_record((*rows)[i]);
        REQUIRE(record);
        REQUIRE(record->sequence == i);
        REQUIRE(record->previous == previous);
        const auto events = fresh.apply(record->command, record->time_ms);
        REQUIRE(events);
        REQUIRE(*events == record->events);
        REQUIRE(fresh.state_hash() == record->state_hash);
        previous = engine::record_hash((*rows)[i]);
        ++out[durable::serial_of(record->command)];
    }
    REQUIRE_FALSE(fresh.find_violation().has_value());
    return out;
}

/// Everything that was answered since the file was new.
struct Ledger {
    std::uint64_t seed = 0;
    std::set<std::uint64_t> taken;
    std::set<std::uint64_t> refused;

    void add(const std::vector<Answer>& answers) {
        for (const Answer& answer : answers) {
            if (answer.outcome == Outcome::kTaken) taken.insert(answer.serial);
            if (answer.outcome == Outcome::kRefused) refused.insert(answer.serial);
        }
    }
    void check(storage::Database& database) const {
        const auto written = read_journal(database);
        storage::CatalogStore catalog(database);
        for (const std::uint64_t serial : taken) {
            CAPTURE(serial);
            REQUIRE(written.contains(serial));
        }
        for (const std::uint64_t serial : refused) {
            CAPTURE(serial);
            REQUIRE_FALSE(written.contains(serial));
        }
        for (const auto& [serial, records] : written) {
            CAPTURE(serial);
            const durable::Step step = durable::make_step(seed, serial);
            REQUIRE_FALSE(step.refused);
            REQUIRE(records == step.commands.size());  // whole, and once
        }
        for (std::uint64_t serial = 0; serial < next; ++serial) {
            if (!durable::make_step(seed, serial).with_row) continue;
            CAPTURE(serial);
            const auto row = catalog.setting("t" + std::to_string(serial));
            REQUIRE(row);
            REQUIRE(row->has_value() == written.contains(serial));
        }
    }
    std::uint64_t next = 0;
};

}  // namespace

TEST_CASE("durable: kill -9 at every write boundary loses no answer and keeps no refusal") {
    const std::uint64_t seed = std::random_device{}();
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    std::uint64_t kills = 0;
    std::uint64_t taken = 0;
    std::uint64_t refused = 0;
    for (std::uint64_t file = 0; file < kFiles; ++file) {
        const tests::TempFolder folder;
        const auto path = folder.file("market.db");
        Ledger ledger;
        ledger.seed = random() % 1'000'000;
        for (std::uint64_t kill = 0; kill < kKillsPerFile; ++kill) {
            // Until something was taken there may be nothing to load.
            const std::uint64_t point = ledger.taken.empty() ? 1 : kills % kPoints;
            const std::uint64_t most = point == 0   ? ledger.taken.size()
                                       : point <= 2 ? kRecordsToKill
                                                    : kGroupsToKill;
            const std::uint64_t occurrence = 1 + random() % most;
            CAPTURE(point);
            CAPTURE(occurrence);
            const Life life = run_writer({path.string(), std::to_string(ledger.seed),
                                          std::to_string(ledger.next), std::to_string(kSteps),
                                          std::to_string(point), std::to_string(occurrence)});
            ledger.add(life.answers);
            ledger.next += kSteps;
            auto database = storage::Database::open(path);
            REQUIRE(database);
            ledger.check(**database);
            ++kills;
        }
        taken += ledger.taken.size();
        refused += ledger.refused.size();
    }
    CHECK(kills == 200);
    CHECK(taken > 2000);
    CHECK(refused > 200);
    MESSAGE("killed " << kills << " times; " << taken << " taken, " << refused << " refused");
}
