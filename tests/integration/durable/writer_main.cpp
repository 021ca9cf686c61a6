// SPDX-License-Identifier: Apache-2.0
// Writes commands through an EngineThread, tells each answer on stdout, and kills itself at the
// given point: writer DATABASE SEED FIRST_SERIAL COUNT POINT OCCURRENCE. Point 0 is in the middle
// of loading the journal, n + 1 is stage n.
#include "marketplace/app/engine_thread.hpp"
#include "marketplace/storage/catalog_store.hpp"
#include "tests/integration/durable/workload.hpp"

#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <semaphore>
#include <string>

using namespace marketplace;  // NOLINT: a program of its own

namespace {

constexpr std::ptrdiff_t kInFlight = 24;

/// Ends the process, as a power switch would, when it has been told `left` times.
class Switch {
 public:
    Switch(std::uint64_t point, std::uint64_t left) : point_(point), left_(left) {}
    void pass(std::uint64_t point) {
        if (point == point_ && --left_ == 0) ::kill(::getpid(), SIGKILL);
    }

 private:
    const std::uint64_t point_;
    std::uint64_t left_;
};

void tell(std::uint64_t serial, durable::Outcome outcome) {
    const durable::Answer answer{serial, outcome};
    if (::write(STDOUT_FILENO, &answer, sizeof(answer)) != sizeof(answer)) ::_exit(9);
}

durable::Outcome outcome_of(const ledger::base::Result<std::vector<domain::Event>>& result) {
    if (!result) return durable::Outcome::kRefused;
    return result->empty() ? durable::Outcome::kRepeated : durable::Outcome::kTaken;
}

void write_all(app::EngineThread& engine, std::uint64_t seed, std::uint64_t first,
               std::uint64_t count) {
    std::counting_semaphore<kInFlight> room(kInFlight);
    for (std::uint64_t serial = first; serial < first + count; ++serial) {
        durable::Step step = durable::make_step(seed, serial);
        if (step.with_row) {
            const auto written =
                engine.transact(std::move(step.commands), [serial](storage::Database& db) {
                    return storage::CatalogStore(db).put_setting("t" + std::to_string(serial),
                                                                 ledger::base::as_bytes("1"));
                });
            tell(serial, written ? durable::Outcome::kTaken : durable::Outcome::kRefused);
            continue;
        }
        room.acquire();
        engine.submit(step.commands.front(), [&room, serial](auto result) {
            tell(serial, outcome_of(result));
            room.release();
        });
        // A chain event seen twice, an order sent twice (but not one that may be taken later).
        if (serial % 5 != 0 || std::holds_alternative<domain::PostJob>(step.commands.front()))
            continue;
        room.acquire();
        engine.submit(step.commands.front(), [&room](auto) { room.release(); });
    }
    for (std::ptrdiff_t i = 0; i < kInFlight; ++i)
        room.acquire();
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 7) return 2;
    const auto number = [&](int index) { return std::strtoull(argv[index], nullptr, 10); };
    Switch power(number(5), number(6));
    auto database = storage::Database::open(argv[1]);
    if (!database) return 3;
    const durable::UnsteadyClock clock;
    app::EngineThread engine(tests::make_config(), **database, clock, 1024);
    if (!engine.load([&power](const auto&, auto) { power.pass(0); })) return 4;
    engine.on_stage([&power](app::EngineThread::Stage stage) {
        power.pass(static_cast<std::uint64_t>(stage) + 1);
    });
    engine.start();
    write_all(engine, number(2), number(3), number(4));
    return 0;
}
