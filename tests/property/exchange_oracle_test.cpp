// SPDX-License-Identifier: Apache-2.0
#include "marketplace/engine/journal.hpp"
#include "tests/property/duel.hpp"
#include "tests/support/random_commands.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <ostream>
#include <sstream>

/// The engine against the naive market, command by command. For millions of them:
///   MILLRACE_SEED=7 MILLRACE_COMMANDS=3000000 build/release/tests/test_exchange_oracle
/// A disagreement is printed with its seed and the fewest commands that still show it.
/// MILLRACE_WITHOUT="gangs,ramps" leaves features out, to find out which one matters.
namespace tests {
namespace {

/// A young market each time: the naive one looks at everything, always.
constexpr std::uint64_t kEpisode = 500;

std::uint64_t setting(const char* name, std::uint64_t otherwise) {
    const char* text = std::getenv(name);
    return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

/// All features, less those named in MILLRACE_WITHOUT ("gangs,ramps").
RandomCommands::Features features() {
    const char* text = std::getenv("MILLRACE_WITHOUT");
    const std::string without = text == nullptr ? "" : text;
    const auto with = [&without](const char* name) { return without.find(name) == without.npos; };
    return {with("amends"),        with("batches"), with("durations"), with("gangs"),
            with("interruptible"), with("ramps"),   with("reserved"),  with("slices")};
}

/// How often the rules were put to work.
struct Tally {
    std::uint64_t accepted = 0;
    std::uint64_t refused = 0;
    std::uint64_t matches = 0;
    std::uint64_t gangs = 0;
    std::uint64_t slices = 0;
    std::uint64_t pairs = 0;
    std::uint64_t reserved = 0;
    std::uint64_t ramps = 0;
    std::uint64_t batched = 0;
    std::uint64_t reclaims = 0;
    std::uint64_t outbid = 0;
    std::uint64_t failovers = 0;
    std::uint64_t expired = 0;
    std::uint64_t used_up = 0;
    std::uint64_t completed = 0;

    void count(const NaiveMarket& market) {
        for (const auto& lease : market.leases()) {
            const auto& leg = market.jobs()[lease.job].post.legs[0];
            ++matches;
            gangs += leg.constraints.gang > 1 ? 1U : 0U;
            slices += leg.constraints.min_slice_units > 0 && lease.is.start_units > 0 ? 1U : 0U;
            pairs += lease.is.leg == 1 ? 1U : 0U;
            reserved += leg.bid.order_class == ledger::eth::OrderClass::kReserved ? 1U : 0U;
            ramps += leg.constraints.ramp_from_atoms != 0 ? 1U : 0U;
            batched += leg.constraints.clearing == md::Clearing::kBatch ? 1U : 0U;
            outbid += lease.is.close_reason == md::CloseReason::kOutbid ? 1U : 0U;
            expired += lease.is.close_reason == md::CloseReason::kExpired ? 1U : 0U;
        }
        for (const auto& job : market.jobs()) {
            failovers += job.attempts;
            used_up += job.attempts > duel_config().max_failovers ? 1U : 0U;
            completed += job.state == md::JobState::kCompleted ? 1U : 0U;
        }
    }
    [[nodiscard]] std::uint64_t least() const {
        return std::min({accepted, refused, matches, gangs, slices, pairs, reserved, ramps, batched,
                         reclaims, outbid, failovers, expired, used_up, completed});
    }
    friend std::ostream& operator<<(std::ostream& out, const Tally& t) {
        return out << t.accepted << " accepted, " << t.refused << " refused, " << t.matches
                   << " leases (" << t.gangs << " of gangs, " << t.slices << " later slices, "
                   << t.pairs << " serving pairs, " << t.reserved << " reserved, " << t.ramps
                   << " by ramp, " << t.batched << " by batch), " << t.reclaims << " reclaims, "
                   << t.outbid << " outbid, " << t.expired << " expired, " << t.failovers
                   << " failovers, " << t.used_up << " jobs without attempts left, " << t.completed
                   << " completed";
    }
};

/// One market from its first command; what went wrong, in full.
std::string run(std::uint64_t seed, std::uint64_t count, Tally& tally) {
    Duel duel;
    RandomCommands random(seed, features());
    std::vector<Duel::Timed> past;
    for (std::uint64_t i = 0; i < count; ++i) {
        const auto [command, now_ms] = random.next(duel.naive());
        past.push_back({command, now_ms});
        const auto wrong = duel.step(past.back());
        if (!wrong) {
            (duel.accepted() ? tally.accepted : tally.refused) += 1;
            for (const md::Event& event : duel.events())
                tally.reclaims += std::holds_alternative<md::LeaseReclaimed>(event) ? 1U : 0U;
            continue;
        }
        std::ostringstream out;
        out << "seed " << seed << ", command " << i << ": " << describe(past.back()) << "\n  -> "
            << *wrong << "\nshrunk to:\n";
        Duel again;
        for (const Duel::Timed& timed : shrink(past)) {
            out << "  " << describe(timed) << '\n';
            if (const auto why = again.step(timed)) out << "  -> " << *why << '\n';
        }
        out << "naive state:\n" << again.describe();
        return out.str();
    }
    tally.count(duel.naive());
    return {};
}

/// The journal of one market, as it would be published.
std::vector<ledger::base::Bytes> journal_of(const std::vector<Duel::Timed>& commands,
                                            md::Hash32& state_hash) {
    marketplace::engine::Engine engine(duel_config());
    std::vector<ledger::base::Bytes> out;
    for (const auto& [command, now_ms] : commands) {
        auto events = engine.apply(command, now_ms);
        if (!events || events->empty()) continue;
        marketplace::engine::Record record;
        record.sequence = out.size();
        record.time_ms = now_ms;
        if (!out.empty()) record.previous = marketplace::engine::record_hash(out.back());
        record.command = command;
        record.events = std::move(*events);
        record.state_hash = engine.state_hash();
        out.push_back(encode_record(record));
    }
    state_hash = engine.state_hash();
    return out;
}

}  // namespace

TEST_CASE("exchange: the engine does what the naive market does") {
    const std::uint64_t seed = setting("MILLRACE_SEED", 1);
    const std::uint64_t commands = setting("MILLRACE_COMMANDS", 250'000);
    MESSAGE("MILLRACE_SEED=", seed, " MILLRACE_COMMANDS=", commands);
    Tally tally;
    for (std::uint64_t i = 0; i * kEpisode < commands; ++i) {
        const std::string wrong = run(seed * 1'000'003 + i, kEpisode, tally);
        INFO(wrong);
        REQUIRE(wrong.empty());
    }
    MESSAGE(tally);
    if (std::getenv("MILLRACE_WITHOUT") == nullptr && commands >= 100'000)
        CHECK(tally.least() > 20);
}

TEST_CASE("exchange: the same commands give the same bytes, and the journal is enough to replay") {
    const std::uint64_t first_seed = setting("MILLRACE_SEED", 1);
    for (std::uint64_t seed = first_seed; seed < first_seed + 10; ++seed) {
        CAPTURE(seed);
        Duel duel;
        RandomCommands random(seed, features());
        std::vector<Duel::Timed> commands;
        for (std::uint64_t i = 0; i < 4 * kEpisode; ++i) {
            const auto [command, now_ms] = random.next(duel.naive());
            commands.push_back({command, now_ms});
            REQUIRE_FALSE(duel.step(commands.back()));
        }
        md::Hash32 first;
        md::Hash32 second;
        const auto journal = journal_of(commands, first);
        CHECK(journal.size() > kEpisode);
        CHECK(journal == journal_of(commands, second));
        CHECK(first == second);
        CHECK(first == duel.engine().state_hash());
        // What the journal leaves out changed nothing.
        marketplace::engine::Engine replayed(duel_config());
        for (const ledger::base::Bytes& bytes : journal) {
            const auto record = marketplace::engine::decode_record(bytes);
            REQUIRE(record);
            const auto events = replayed.apply(record->command, record->time_ms);
            REQUIRE(events);
            REQUIRE(*events == record->events);
            REQUIRE(replayed.state_hash() == record->state_hash);
        }
    }
}

}  // namespace tests
