// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

/// How much could be gained from a market if the whole day were known: exact where a matching
/// problem says it, otherwise between the value of a plan that exists and a bound that no plan
/// passes. Integers only, pure. Time is counted in slots, money in atoms.
namespace welfare {

/// Half-open, in slots.
struct Window {
    std::uint32_t from = 0;
    std::uint32_t until = 0;
};
/// A task may run on this machine, for that long, and is then worth so much more than it costs.
struct Option {
    std::uint32_t machine = 0;
    std::uint32_t slots = 1;
    std::int64_t surplus_atoms = 0;
};
/// Work that starts in `starts` on `gang` machines at once, or not at all.
struct Task {
    Window starts;
    std::uint32_t gang = 1;
    std::vector<Option> options;  ///< at most one per machine
};
struct Problem {
    std::uint32_t slots = 0;                    ///< no start is later
    std::vector<std::vector<Window>> machines;  ///< when work may start on each
    std::vector<Task> tasks;
};

struct Edge {
    std::size_t column = 0;
    std::int64_t weight = 0;
};
struct Matched {
    std::int64_t weight = 0;
    std::uint32_t rows = 0;  ///< that found a column
};
/// A matching of the most weight: every row takes one of its columns or none, no column is taken
/// twice. Successive shortest paths with potentials.
[[nodiscard]] Matched max_matching(std::size_t columns, const std::vector<std::vector<Edge>>& rows);

struct Bracket {
    std::int64_t plan_atoms = 0;   ///< of the best plan found: the optimum is not below
    std::uint32_t plan_tasks = 0;  ///< that it serves
    std::int64_t bound_atoms = 0;  ///< by Lagrange prices of machine time: it is not above
};
/// The exact optimum of a problem in which everything lasts one slot and nothing is a gang: plan
/// and bound are the same.
[[nodiscard]] Bracket exact_optimum(const Problem& problem);

/// Incremental subgradient steps on a price per machine and slot. Any prices give a valid bound;
/// more `passes` give a tighter one.
[[nodiscard]] Bracket bracket_optimum(const Problem& problem, int passes);

}  // namespace welfare
