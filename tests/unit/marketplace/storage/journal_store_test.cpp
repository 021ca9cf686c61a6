// SPDX-License-Identifier: Apache-2.0
#include "marketplace/storage/journal_store.hpp"

#include "tests/support/temp_database.hpp"

#include <doctest/doctest.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdint>

namespace marketplace::storage {
namespace {

using ledger::base::Bytes;

Bytes record_of(std::uint64_t sequence) {
    Bytes out(200 + sequence % 100);
    for (std::size_t i = 0; i < out.size(); ++i)
        out[i] = static_cast<std::uint8_t>(sequence * 31 + i);
    return out;
}

/// The child: appends groups of records and tells the pipe after each commit, until it is killed.
[[noreturn]] void write_until_killed(const std::filesystem::path& path, int pipe) {
    auto database = Database::open(path);
    if (!database) ::_exit(2);
    JournalStore journal(**database);
    std::uint64_t next = 0;
    for (;;) {
        const auto chunk = journal.read(next, 1000);
        if (!chunk) ::_exit(3);
        if (chunk->empty()) break;
        next += chunk->size();
    }
    for (;;) {
        if (!(*database)->begin()) ::_exit(4);
        for (std::uint64_t i = 0; i < 3; ++i)
            if (!journal.append(next + i, record_of(next + i))) ::_exit(5);
        if (!(*database)->commit()) ::_exit(6);
        next += 3;
        if (::write(pipe, &next, sizeof(next)) != sizeof(next)) ::_exit(7);
    }
}

/// The last count the child acknowledged.
std::uint64_t drain(int pipe, std::uint64_t acknowledged) {
    std::uint64_t value = 0;
    while (::read(pipe, &value, sizeof(value)) == sizeof(value))
        acknowledged = value;
    return acknowledged;
}

}  // namespace

TEST_CASE("journal_store: a sequence is written once") {
    const tests::TempFolder folder;
    auto database = Database::open(folder.file("market.db"));
    REQUIRE(database);
    JournalStore journal(**database);
    REQUIRE((*database)->begin());
    REQUIRE(journal.append(0, record_of(0)));
    CHECK_FALSE(journal.append(0, record_of(1)));
    REQUIRE(journal.append(1, record_of(1)));
    REQUIRE((*database)->commit());
    CHECK(*journal.read(0, 9) == std::vector<Bytes>{record_of(0), record_of(1)});
    CHECK(*journal.read(1, 9) == std::vector<Bytes>{record_of(1)});
    CHECK(*journal.read(0, 1) == std::vector<Bytes>{record_of(0)});
    CHECK(journal.read(2, 9)->empty());
}

TEST_CASE("journal_store: kill -9 loses nothing that was acknowledged, and tears no record") {
    const tests::TempFolder folder;
    const auto path = folder.file("market.db");
    std::uint64_t acknowledged = 0;
    for (int round = 0; round < 25; ++round) {
        CAPTURE(round);
        std::array<int, 2> pipe{};
        REQUIRE(::pipe(pipe.data()) == 0);
        const pid_t child = ::fork();
        REQUIRE(child >= 0);
        if (child == 0) {
            ::close(pipe[0]);
            write_until_killed(path, pipe[1]);
        }
        ::close(pipe[1]);
        // After some commits of this round, each time a little later in the next one's middle.
        std::uint64_t value = 0;
        for (int i = 0; i < 1 + round % 5; ++i)
            if (::read(pipe[0], &value, sizeof(value)) == sizeof(value)) acknowledged = value;
        ::usleep(static_cast<useconds_t>(round * 37 % 400));
        REQUIRE(::kill(child, SIGKILL) == 0);
        int status = 0;
        REQUIRE(::waitpid(child, &status, 0) == child);
        REQUIRE(WIFSIGNALED(status));  // it was writing, not failing
        acknowledged = drain(pipe[0], acknowledged);
        ::close(pipe[0]);

        auto database = Database::open(path);
        REQUIRE(database);
        JournalStore journal(**database);
        const auto records = journal.read(0, 1'000'000);
        REQUIRE(records);
        CHECK(records->size() >= acknowledged);
        CHECK(records->size() % 3 == 0);  // groups are whole
        for (std::size_t i = 0; i < records->size(); ++i)
            REQUIRE((*records)[i] == record_of(i));
    }
    CHECK(acknowledged >= 75);
}

}  // namespace marketplace::storage
