// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/welfare/optimum.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <random>

namespace welfare {
namespace {

/// Tries every task at every start on every set of machines.
class BruteForce {
 public:
    explicit BruteForce(const Problem& problem) : problem_(problem) {
        taken_.resize(problem.machines.size(), std::vector<bool>(64));
    }
    std::int64_t solve(std::size_t task = 0) {
        if (task == problem_.tasks.size()) return 0;
        std::int64_t best = solve(task + 1);
        const Task& it = problem_.tasks[task];
        for (std::uint32_t start = it.starts.from; start < it.starts.until; ++start)
            best = std::max(best, choose(task, start, 0, it.gang));
        return best;
    }

 private:
    std::int64_t choose(std::size_t task, std::uint32_t start, std::size_t option,
                        std::uint32_t wanted) {
        if (wanted == 0) return solve(task + 1);
        const Task& it = problem_.tasks[task];
        if (option == it.options.size()) return -1'000'000;
        std::int64_t best = choose(task, start, option + 1, wanted);
        const Option& one = it.options[option];
        if (!may_start(one.machine, start) || !is_free(one, start)) return best;
        mark(one, start, true);
        best = std::max(best, one.surplus_atoms + choose(task, start, option + 1, wanted - 1));
        mark(one, start, false);
        return best;
    }
    bool may_start(std::uint32_t machine, std::uint32_t start) const {
        const auto& windows = problem_.machines[machine];
        return start < problem_.slots &&
               std::any_of(windows.begin(), windows.end(), [start](const Window& window) {
                   return window.from <= start && start < window.until;
               });
    }
    bool is_free(const Option& option, std::uint32_t start) const {
        for (std::uint32_t t = 0; t < option.slots; ++t)
            if (taken_[option.machine][start + t]) return false;
        return true;
    }
    void mark(const Option& option, std::uint32_t start, bool value) {
        for (std::uint32_t t = 0; t < option.slots; ++t)
            taken_[option.machine][start + t] = value;
    }

    const Problem& problem_;
    std::vector<std::vector<bool>> taken_;
};

struct Shape {
    std::uint32_t machines = 3;
    std::uint32_t slots = 4;
    std::uint32_t tasks = 5;
    std::uint32_t longest = 1;
    std::uint32_t largest_gang = 1;
};
Problem random_problem(std::uint64_t seed, const Shape& shape) {
    std::mt19937_64 random(seed);
    const auto below = [&random](std::uint64_t bound) {
        return static_cast<std::uint32_t>(random() % bound);
    };
    Problem out;
    out.slots = shape.slots;
    for (std::uint32_t m = 0; m < shape.machines; ++m) {
        const std::uint32_t from = below(shape.slots);
        out.machines.push_back({{from, from + 1 + below(shape.slots)}});
        if (below(2) == 0) out.machines.back().push_back({0, below(shape.slots)});
    }
    for (std::uint32_t i = 0; i < shape.tasks; ++i) {
        Task task;
        task.starts.from = below(shape.slots);
        task.starts.until = task.starts.from + 1 + below(shape.slots);
        task.gang = 1 + below(shape.largest_gang);
        const std::uint32_t slots = 1 + below(shape.longest);
        for (std::uint32_t m = 0; m < shape.machines; ++m)
            if (below(4) != 0) task.options.push_back({m, slots, 1 + below(1000)});
        out.tasks.push_back(task);
    }
    return out;
}

}  // namespace

TEST_CASE("optimum: nothing to match, and rows that share one column") {
    CHECK(max_matching(0, {}).weight == 0);
    CHECK(max_matching(1, {{}, {}}).weight == 0);
    CHECK(max_matching(1, {{{0, 5}}, {{0, 7}}, {{0, 6}}}).weight == 7);
    // The first row must move over for the second, and the third is not worth moving for.
    CHECK(max_matching(2, {{{0, 10}, {1, 8}}, {{0, 9}}, {{1, 3}}}).weight == 17);
    CHECK(exact_optimum({}).plan_atoms == 0);
    CHECK(max_matching(2, {{{0, 5}}, {{0, 7}}, {{1, -1}}}).rows == 1);
    const Bracket none = bracket_optimum({}, 10);
    CHECK(none.plan_atoms == 0);
    CHECK(none.bound_atoms == 0);
}

TEST_CASE("optimum: a negative weight is never taken") {
    CHECK(max_matching(2, {{{0, -5}, {1, -1}}}).weight == 0);
    CHECK(max_matching(2, {{{0, -5}, {1, 4}}, {{1, 5}}}).weight == 5);
}

TEST_CASE("optimum: the matching is that of brute force, and lies in the bracket") {
    for (std::uint64_t seed = 0; seed < 300; ++seed) {
        CAPTURE(seed);
        const Problem problem = random_problem(seed, {});
        const std::int64_t exact = exact_optimum(problem).plan_atoms;
        CHECK(exact == BruteForce(problem).solve());
        const Bracket bracket = bracket_optimum(problem, 40);
        CHECK(bracket.plan_atoms <= exact);
        CHECK(exact <= bracket.bound_atoms);
    }
}

TEST_CASE("optimum: long tasks and gangs lie in the bracket, which is narrow") {
    std::int64_t plans = 0;
    std::int64_t optima = 0;
    std::int64_t bounds = 0;
    for (std::uint64_t seed = 0; seed < 200; ++seed) {
        CAPTURE(seed);
        const Problem problem = random_problem(seed, {3, 5, 5, 3, 2});
        const std::int64_t optimum = BruteForce(problem).solve();
        const Bracket bracket = bracket_optimum(problem, 100);
        CHECK(bracket.plan_atoms <= optimum);
        CHECK(optimum <= bracket.bound_atoms);
        plans += bracket.plan_atoms;
        optima += optimum;
        bounds += bracket.bound_atoms;
    }
    CHECK(plans * 100 >= optima * 95);
    CHECK(bounds * 100 <= optima * 110);
}

TEST_CASE("optimum: on many unit tasks the bound comes within a fiftieth of the exact optimum") {
    for (std::uint64_t seed = 0; seed < 5; ++seed) {
        CAPTURE(seed);
        const Problem problem = random_problem(seed, {10, 24, 200, 1, 1});
        const std::int64_t exact = exact_optimum(problem).plan_atoms;
        const Bracket bracket = bracket_optimum(problem, 200);
        CHECK(bracket.plan_atoms <= exact);
        CHECK(exact <= bracket.bound_atoms);
        CHECK(bracket.bound_atoms * 50 <= exact * 51);
        CHECK(bracket.plan_atoms * 50 >= exact * 48);
    }
}

}  // namespace welfare
