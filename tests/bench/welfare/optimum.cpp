// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/welfare/optimum.hpp"

#include <algorithm>
#include <functional>
#include <limits>
#include <numeric>
#include <optional>
#include <queue>
#include <utility>

namespace welfare {
namespace {

constexpr std::int64_t kInfinite = std::numeric_limits<std::int64_t>::max() / 4;
constexpr std::size_t kNone = std::numeric_limits<std::size_t>::max();

/// Rows are matched one after another, each along the cheapest augmenting path. Costs are negative
/// weights; with the potentials no reduced cost is negative.
class Matching {
 public:
    Matching(std::size_t columns, const std::vector<std::vector<Edge>>& rows)
        : columns_(columns), rows_(rows) {
        // A column of its own for every row: staying alone costs nothing.
        const std::size_t all = columns + rows.size();
        for (std::size_t row = 0; row < rows_.size(); ++row)
            rows_[row].push_back({columns + row, 0});
        row_potential_.resize(rows.size());
        column_potential_.resize(all);
        matched_row_.assign(all, kNone);
        distance_.resize(all);
        from_row_.resize(all);
    }

    Matched solve() {
        for (std::size_t row = 0; row < rows_.size(); ++row)
            insert(row);
        Matched out;
        for (std::size_t row = 0; row < rows_.size(); ++row)
            for (const Edge& edge : rows_[row]) {
                if (matched_row_[edge.column] != row) continue;
                out.weight += edge.weight;
                out.rows += edge.column < columns_ ? 1U : 0U;
            }
        return out;
    }

 private:
    void insert(std::size_t row) {
        row_potential_[row] = kInfinite;
        for (const Edge& edge : rows_[row])
            row_potential_[row] =
                std::min(row_potential_[row], -edge.weight - column_potential_[edge.column]);
        std::fill(distance_.begin(), distance_.end(), kInfinite);
        open_ = {};
        visited_.clear();
        relax(row, 0);
        while (true) {  // ends at the latest at the row's own column
            const auto [distance, column] = open_.top();
            open_.pop();
            if (distance > distance_[column]) continue;
            if (matched_row_[column] == kNone) return augment(row, column);
            visited_.push_back(column);
            relax(matched_row_[column], distance);
        }
    }

    void relax(std::size_t row, std::int64_t distance) {
        for (const Edge& edge : rows_[row]) {
            const std::int64_t reduced =
                -edge.weight - row_potential_[row] - column_potential_[edge.column];
            if (distance + reduced >= distance_[edge.column]) continue;
            distance_[edge.column] = distance + reduced;
            from_row_[edge.column] = row;
            open_.push({distance + reduced, edge.column});
        }
    }

    void augment(std::size_t root, std::size_t column) {
        const std::int64_t length = distance_[column];
        row_potential_[root] += length;
        for (const std::size_t seen : visited_) {
            column_potential_[seen] -= length - distance_[seen];
            row_potential_[matched_row_[seen]] += length - distance_[seen];
        }
        std::vector<std::size_t> column_of(rows_.size(), kNone);
        for (const std::size_t seen : visited_)
            column_of[matched_row_[seen]] = seen;
        while (column != kNone) {
            const std::size_t row = from_row_[column];
            matched_row_[column] = row;
            column = std::exchange(column_of[row], kNone);
        }
    }

    std::size_t columns_;
    std::vector<std::vector<Edge>> rows_;
    std::vector<std::int64_t> row_potential_;
    std::vector<std::int64_t> column_potential_;
    std::vector<std::size_t> matched_row_;  // by column
    std::vector<std::int64_t> distance_;    // by column, of the search that runs
    std::vector<std::size_t> from_row_;
    std::vector<std::size_t> visited_;
    std::priority_queue<std::pair<std::int64_t, std::size_t>,
                        std::vector<std::pair<std::int64_t, std::size_t>>, std::greater<>>
        open_;
};

/// Where a task would run.
struct Placement {
    std::int64_t gain_atoms = 0;  ///< surplus less the prices of the time taken
    std::int64_t surplus_atoms = 0;
    std::uint32_t start = 0;
    std::vector<const Option*> members;
};

/// A price per machine and slot.
class Prices {
 public:
    explicit Prices(const Problem& problem) : problem_(problem) {
        std::uint32_t longest = 1;
        for (const Task& task : problem.tasks)
            for (const Option& option : task.options)
                longest = std::max(longest, option.slots);
        width_ = problem.slots + longest;
        atoms_.assign(problem.machines.size() * width_, 0);
        may_start_.assign(atoms_.size(), 0);
        for (std::size_t machine = 0; machine < problem.machines.size(); ++machine)
            for (const Window& window : problem.machines[machine])
                for (std::uint32_t t = window.from; t < std::min(window.until, problem.slots); ++t)
                    may_start_[machine * width_ + t] = 1;
    }

    /// The placement with the most gain, which may be negative; empty when there is none.
    [[nodiscard]] std::optional<Placement> best(const Task& task) {
        const std::uint32_t until = std::min(task.starts.until, problem_.slots);
        if (task.starts.from >= until || task.options.size() < task.gang) return std::nullopt;
        if (task.gang == 1) return best_alone(task, until);
        const std::size_t starts = until - task.starts.from;
        gains_.assign(task.options.size() * starts, -kInfinite);
        for (std::size_t i = 0; i < task.options.size(); ++i)
            for_each_gain(task.options[i], task.starts.from, until,
                          [&](std::uint32_t start, std::int64_t gain) {
                              gains_[i * starts + start - task.starts.from] = gain;
                          });
        Placement out;
        out.gain_atoms = -kInfinite;
        std::size_t best_start = kNone;
        for (std::size_t s = 0; s < starts; ++s) {
            const std::int64_t gain = gang_gain(task, s, starts);
            if (gain <= out.gain_atoms) continue;
            out.gain_atoms = gain;
            best_start = s;
        }
        if (best_start == kNone) return std::nullopt;
        (void)gang_gain(task, best_start, starts);
        out.start = task.starts.from + static_cast<std::uint32_t>(best_start);
        for (std::uint32_t i = 0; i < task.gang; ++i) {
            out.members.push_back(&task.options[order_[i]]);
            out.surplus_atoms += out.members.back()->surplus_atoms;
        }
        return out;
    }

    /// Adds to the price of all the time that a placement takes.
    void raise(const Placement& placement, std::int64_t atoms) {
        for (const Option* member : placement.members)
            for (std::uint32_t t = 0; t < member->slots; ++t)
                atoms_[member->machine * width_ + placement.start + t] += atoms;
    }
    void lower_all(std::int64_t atoms) {
        for (std::int64_t& price : atoms_)
            price = std::max<std::int64_t>(0, price - atoms);
    }
    [[nodiscard]] std::int64_t total() const {
        return std::accumulate(atoms_.begin(), atoms_.end(), std::int64_t{0});
    }

 private:
    /// Calls `visit(start, gain)` for every start that an option allows.
    template <typename Visit>
    void for_each_gain(const Option& option, std::uint32_t from, std::uint32_t until,
                       Visit visit) const {
        const std::size_t row = option.machine * width_;
        std::int64_t price = 0;
        for (std::uint32_t t = 0; t < option.slots; ++t)
            price += atoms_[row + from + t];
        for (std::uint32_t t = from; t < until; ++t) {
            if (may_start_[row + t] != 0) visit(t, option.surplus_atoms - price);
            price += atoms_[row + t + option.slots] - atoms_[row + t];
        }
    }
    [[nodiscard]] std::optional<Placement> best_alone(const Task& task, std::uint32_t until) const {
        Placement out;
        out.gain_atoms = -kInfinite;
        const Option* best = nullptr;
        for (const Option& option : task.options) {
            if (option.surplus_atoms <= out.gain_atoms) continue;  // prices are not negative
            for_each_gain(option, task.starts.from, until,
                          [&](std::uint32_t start, std::int64_t gain) {
                              if (gain <= out.gain_atoms) return;
                              out.gain_atoms = gain;
                              out.start = start;
                              best = &option;
                          });
        }
        if (best == nullptr) return std::nullopt;
        out.surplus_atoms = best->surplus_atoms;
        out.members.push_back(best);
        return out;
    }
    /// Of the best members at one start; leaves them first in `order_`. -kInfinite: too few.
    std::int64_t gang_gain(const Task& task, std::size_t start, std::size_t starts) {
        order_.resize(task.options.size());
        std::iota(order_.begin(), order_.end(), std::size_t{0});
        const auto gain = [&](std::size_t option) { return gains_[option * starts + start]; };
        const auto is_better = [&](std::size_t a, std::size_t b) { return gain(a) > gain(b); };
        const auto end = order_.begin() + static_cast<std::ptrdiff_t>(task.gang);
        std::partial_sort(order_.begin(), end, order_.end(), is_better);
        std::int64_t sum = 0;
        for (auto it = order_.begin(); it != end; ++it) {
            if (gain(*it) == -kInfinite) return -kInfinite;
            sum += gain(*it);
        }
        return sum;
    }

    const Problem& problem_;
    std::size_t width_ = 0;
    std::vector<std::int64_t> atoms_;
    std::vector<std::uint8_t> may_start_;
    std::vector<std::int64_t> gains_;
    std::vector<std::size_t> order_;
};

/// What nobody can pass at these prices; and a plan: tasks in order of their gain, each where it
/// gains most of what is left.
Bracket bracket_at(const Problem& problem, Prices prices) {
    Bracket out{0, 0, prices.total()};
    std::vector<std::pair<std::int64_t, std::size_t>> by_gain;
    for (std::size_t i = 0; i < problem.tasks.size(); ++i) {
        const auto placement = prices.best(problem.tasks[i]);
        if (!placement) continue;
        out.bound_atoms += std::max<std::int64_t>(0, placement->gain_atoms);
        by_gain.emplace_back(-placement->gain_atoms, i);
    }
    std::sort(by_gain.begin(), by_gain.end());
    constexpr std::int64_t kTaken = std::int64_t{1} << 50;  // dearer than anything is worth
    for (const auto& [gain, i] : by_gain) {
        const auto placement = prices.best(problem.tasks[i]);
        if (!placement || placement->gain_atoms < -kTaken / 2) continue;
        out.plan_atoms += placement->surplus_atoms;
        ++out.plan_tasks;
        prices.raise(*placement, kTaken);
    }
    return out;
}

/// The mean surplus of a slot: the scale of the prices.
std::int64_t mean_price(const Problem& problem) {
    std::int64_t surplus = 0;
    std::int64_t slots = 1;
    for (const Task& task : problem.tasks)
        for (const Option& option : task.options) {
            surplus += option.surplus_atoms;
            slots += option.slots;
        }
    return surplus / slots;
}

}  // namespace

Matched max_matching(std::size_t columns, const std::vector<std::vector<Edge>>& rows) {
    return Matching(columns, rows).solve();
}

Bracket exact_optimum(const Problem& problem) {
    std::vector<std::vector<bool>> may_start(problem.machines.size(),
                                             std::vector<bool>(problem.slots));
    for (std::size_t machine = 0; machine < problem.machines.size(); ++machine)
        for (const Window& window : problem.machines[machine])
            for (std::uint32_t t = window.from; t < std::min(window.until, problem.slots); ++t)
                may_start[machine][t] = true;
    std::vector<std::vector<Edge>> rows;
    for (const Task& task : problem.tasks) {
        auto& row = rows.emplace_back();
        for (const Option& option : task.options)
            for (std::uint32_t t = task.starts.from; t < std::min(task.starts.until, problem.slots);
                 ++t)
                if (may_start[option.machine][t])
                    row.push_back(
                        {std::size_t{option.machine} * problem.slots + t, option.surplus_atoms});
    }
    const Matched best = max_matching(problem.machines.size() * problem.slots, rows);
    return {best.weight, best.rows, best.weight};
}

Bracket bracket_optimum(const Problem& problem, int passes) {
    constexpr int kLookEvery = 10;
    Prices prices(problem);
    Bracket out = bracket_at(problem, prices);
    // From a quarter of the mean price down to a two hundredth of that, evenly per pass.
    const std::int64_t first = std::max<std::int64_t>(1, mean_price(problem) / 4);
    for (int pass = 0; pass < passes; ++pass) {
        const std::int64_t left = passes - pass;
        const std::int64_t step = std::max<std::int64_t>(1, first * left * left / passes / passes);
        for (const Task& task : problem.tasks) {
            const auto placement = prices.best(task);
            if (placement && placement->gain_atoms > 0) prices.raise(*placement, step);
        }
        prices.lower_all(step);
        if (pass % kLookEvery != kLookEvery - 1) continue;
        const Bracket now = bracket_at(problem, prices);
        if (now.plan_atoms > out.plan_atoms) {
            out.plan_atoms = now.plan_atoms;
            out.plan_tasks = now.plan_tasks;
        }
        out.bound_atoms = std::min(out.bound_atoms, now.bound_atoms);
    }
    return out;
}

}  // namespace welfare
