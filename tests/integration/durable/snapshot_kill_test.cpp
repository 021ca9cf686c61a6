// SPDX-License-Identifier: Apache-2.0
// A market is killed while it writes a snapshot. Whatever is left of it, the next start knows
// exactly what the journal says.
#include "marketplace/app/snapshot_files.hpp"
#include "marketplace/storage/journal_store.hpp"
#include "tests/support/market.hpp"
#include "tests/support/temp_database.hpp"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <random>
#include <string>
#include <vector>

namespace {

using namespace marketplace;  // NOLINT: a test

constexpr std::uint64_t kFiles = 5;
constexpr std::uint64_t kLivesPerFile = 10;
constexpr std::uint64_t kStages = 5;
constexpr std::uint64_t kSteps = 120;

/// Was it killed?
bool live(std::vector<std::string> arguments) {
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        arguments.insert(arguments.begin(), MILLRACE_TEST_SNAPSHOT_WRITER);
        std::vector<char*> argv;
        for (std::string& text : arguments)
            argv.push_back(text.data());
        argv.push_back(nullptr);
        ::execv(argv[0], argv.data());
        ::_exit(127);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    const bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    CAPTURE(status);
    REQUIRE((killed || (WIFEXITED(status) && WEXITSTATUS(status) == 0)));
    return killed;
}

domain::Bytes bytes_of(const engine::Snapshot& state) {
    domain::Bytes out;
    engine::write_snapshot(
        view_of(state), tests::make_config(),
        [&out](ledger::base::ByteView piece) { ledger::base::append(out, piece); });
    return out;
}

/// How many records the newest snapshot has; it must lead to the same as the whole journal.
std::uint64_t check(const std::filesystem::path& file, const std::filesystem::path& folder) {
    auto database = storage::Database::open(file);
    REQUIRE(database);
    const auto rows = storage::JournalStore(**database).read(0, 1'000'000);
    REQUIRE(rows);
    engine::Snapshot full(tests::make_config());
    for (const domain::Bytes& row : *rows)
        REQUIRE(full.follow(row));
    app::SnapshotFiles files(folder, tests::make_config());
    std::size_t count = 0;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
        CAPTURE(entry.path().string());
        CHECK(entry.path().extension() == ".snapshot");
        ++count;
    }
    CHECK(count <= 3);  // the two that stay, and one that was not yet removed
    auto state = files.newest([&database](std::uint64_t first, std::size_t limit) {
        return storage::JournalStore(**database)
            .read(first, limit)
            .value_or(std::vector<domain::Bytes>{});
    });
    CHECK(state.has_value() == (count != 0));  // what has its name is whole
    if (!state) return 0;
    const std::uint64_t records = state->records;
    for (std::size_t i = records; i < rows->size(); ++i)
        REQUIRE(state->follow((*rows)[i]));
    CHECK(bytes_of(*state) == bytes_of(full));
    return records;
}

}  // namespace

TEST_CASE("durable: kill -9 while a snapshot is written leaves a start that knows everything") {
    const std::uint64_t seed = std::random_device{}();
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    std::uint64_t kills = 0;
    std::uint64_t used = 0;
    for (std::uint64_t file = 0; file < kFiles; ++file) {
        const tests::TempFolder folder;
        const auto database = folder.file("market.db");
        const auto snapshots = folder.file("snapshots");
        const std::uint64_t workload = random() % 1'000'000;
        for (std::uint64_t life = 0; life < kLivesPerFile; ++life) {
            const std::uint64_t stage = (file + life) % kStages;
            const std::uint64_t occurrence = 1 + random() % 3;
            CAPTURE(stage);
            CAPTURE(occurrence);
            kills += live({database.string(), snapshots.string(), std::to_string(workload),
                           std::to_string(life * kSteps), std::to_string(kSteps),
                           std::to_string(stage), std::to_string(occurrence)})
                         ? 1U
                         : 0U;
            used += check(database, snapshots) != 0 ? 1U : 0U;
        }
    }
    CHECK(kills > kFiles * kLivesPerFile / 2);
    CHECK(used > kFiles * kLivesPerFile / 2);
    MESSAGE("killed " << kills << " times; " << used << " starts had a snapshot");
}
