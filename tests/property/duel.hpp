// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "marketplace/engine/engine.hpp"
#include "tests/support/naive_market.hpp"

#include <optional>
#include <string>
#include <vector>

namespace tests {

/// The engine and the naive market side by side: both get every command and must agree.
class Duel {
 public:
    struct Timed {
        md::Command command;
        md::TimeMs now_ms = 0;
    };

    Duel();
    /// Gives both the command; what they disagree on, or what the engine itself breaks.
    [[nodiscard]] std::optional<std::string> step(const Timed& timed);

    [[nodiscard]] const NaiveMarket& naive() const { return naive_; }
    [[nodiscard]] const marketplace::engine::Engine& engine() const { return engine_; }
    /// Events of the last command.
    [[nodiscard]] const std::vector<md::Event>& events() const { return events_; }
    /// Both states, a line for each job, lease and account that still moves.
    [[nodiscard]] std::string describe() const;

 private:
    [[nodiscard]] std::optional<std::string> compare_events(
        const NaiveMarket::Outcome& expected) const;
    [[nodiscard]] std::optional<std::string> compare_asks() const;
    [[nodiscard]] std::optional<std::string> compare_jobs() const;
    [[nodiscard]] std::optional<std::string> compare_leases() const;
    [[nodiscard]] std::optional<std::string> compare_accounts() const;

    marketplace::engine::Engine engine_;
    NaiveMarket naive_;
    std::vector<md::Event> events_;
};

/// A command in one line, with what decides about it.
[[nodiscard]] std::string describe(const Duel::Timed& timed);

/// The commands without those that the disagreement does not need.
[[nodiscard]] std::vector<Duel::Timed> shrink(std::vector<Duel::Timed> commands);

}  // namespace tests
