// SPDX-License-Identifier: Apache-2.0
#include "marketplace/engine/journal.hpp"
#include "tests/property/duel.hpp"
#include "tests/support/random_commands.hpp"

#include <doctest/doctest.h>

#include <cstdlib>
#include <sstream>

/// The engine against the naive market, command by command. For millions of them:
///   MILLRACE_SEED=7 MILLRACE_COMMANDS=3000000 build/release/tests/test_exchange_oracle
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

/// One market from its first command; what went wrong, in full.
std::string run(std::uint64_t seed, std::uint64_t count) {
    Duel duel;
    RandomCommands random(seed, features());
    std::vector<Duel::Timed> past;
    for (std::uint64_t i = 0; i < count; ++i) {
        const auto [command, now_ms] = random.next(duel.naive());
        past.push_back({command, now_ms});
        const auto wrong = duel.step(past.back());
        if (!wrong) continue;
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
    return {};
}

}  // namespace

TEST_CASE("exchange: the engine does what the naive market does") {
    const std::uint64_t seed = setting("MILLRACE_SEED", 1);
    const std::uint64_t commands = setting("MILLRACE_COMMANDS", 200'000);
    MESSAGE("MILLRACE_SEED=", seed, " MILLRACE_COMMANDS=", commands);
    for (std::uint64_t i = 0; i * kEpisode < commands; ++i) {
        const std::string wrong = run(seed * 1'000'003 + i, kEpisode);
        INFO(wrong);
        REQUIRE(wrong.empty());
    }
}

}  // namespace tests
