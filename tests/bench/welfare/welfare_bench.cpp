// SPDX-License-Identifier: Apache-2.0
// How much of the possible gains from trade each clearing mode realises. See README.md.
#include "ledger/base/check.hpp"
#include "tests/bench/report.hpp"
#include "tests/bench/welfare/market.hpp"
#include "tests/bench/welfare/optimum.hpp"
#include "tests/bench/welfare/play.hpp"
#include "tests/bench/welfare/plot.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

namespace {

using welfare::Mode;

constexpr std::uint64_t kSeeds = 5;
constexpr int kPasses = 120;
constexpr std::size_t kHours = 24;
constexpr double kAtomsPerToken = 1e6;
constexpr double kGoal = 0.95;

/// A family of markets, one per seed.
struct Scenario {
    std::string name;
    welfare::Shape shape;
};
const std::vector<Scenario> kScenarios = {
    {"small", {12, 80, 1800, 250, true}},  {"calm", {100, 50, 300, 250, false}},
    {"usual", {100, 80, 300, 250, false}}, {"crowded", {100, 120, 300, 250, false}},
    {"eager", {100, 80, 300, 500, false}},
};

/// One market played in one mode.
struct Score {
    double of_bound = 0;  ///< surplus as a share of what nobody can pass
    double of_plan = 0;   ///< and of the best plan known
    double fill = 0;      ///< demands served, of all
    double buyers = 0;    ///< share of the surplus that stays with buyers
    std::vector<double> waits_min;
};

welfare::Bracket optimum_of(const welfare::Problem& problem, const welfare::Shape& shape) {
    return shape.unit_work ? welfare::exact_optimum(problem)
                           : welfare::bracket_optimum(problem, kPasses);
}

/// What somebody who knows the day could gain without making anybody wait, as a share of what they
/// could gain with it: the rest of the optimum is the patience of buyers put to use.
double share_without_waiting(welfare::Problem problem, const welfare::Shape& shape,
                             const welfare::Bracket& optimum) {
    for (welfare::Task& task : problem.tasks)
        task.starts.until = task.starts.from + 1;
    return static_cast<double>(optimum_of(problem, shape).bound_atoms) /
           static_cast<double>(optimum.bound_atoms);
}

double wait_min(const welfare::Market& market, const welfare::Trade& trade) {
    return static_cast<double>(trade.start_s - market.demands[trade.demand].arrival_s) / 60;
}

/// The first lease of each demand that was served.
std::vector<welfare::Trade> one_per_demand(const std::vector<welfare::Trade>& trades) {
    std::vector<welfare::Trade> out = trades;
    std::stable_sort(out.begin(), out.end(),
                     [](const auto& a, const auto& b) { return a.demand < b.demand; });
    out.erase(std::unique(out.begin(), out.end(),
                          [](const auto& a, const auto& b) { return a.demand == b.demand; }),
              out.end());
    return out;
}

Score score(const welfare::Market& market, const std::vector<welfare::Trade>& trades,
            const welfare::Bracket& optimum) {
    std::uint64_t surplus = 0;
    std::uint64_t buyers = 0;
    for (const welfare::Trade& trade : trades) {
        const welfare::Demand& demand = market.demands[trade.demand];
        const std::uint64_t cost = market.machines[trade.machine].cost_atoms;
        MR_CHECK(cost <= trade.price_atoms);
        MR_CHECK(trade.price_atoms <= demand.value_atoms);
        surplus += demand.steps * (demand.value_atoms - cost);
        buyers += demand.steps * (demand.value_atoms - trade.price_atoms);
    }
    // Nobody beats the bound: else the bound, or the engine, is wrong.
    MR_CHECK(surplus <= static_cast<std::uint64_t>(optimum.bound_atoms));
    const std::vector<welfare::Trade> served = one_per_demand(trades);
    Score out;
    const auto made = static_cast<double>(surplus);
    out.of_bound = made / static_cast<double>(optimum.bound_atoms);
    out.of_plan = made / static_cast<double>(optimum.plan_atoms);
    out.fill = static_cast<double>(served.size()) / static_cast<double>(market.demands.size());
    out.buyers = static_cast<double>(buyers) / made;
    for (const welfare::Trade& trade : served)
        out.waits_min.push_back(wait_min(market, trade));
    return out;
}

double percentile(std::vector<double> values, double share) {
    if (values.empty()) return -1;
    std::sort(values.begin(), values.end());
    const auto last = static_cast<double>(values.size() - 1);
    return values[static_cast<std::size_t>(last * share)];
}

/// What the plot shows of one mode: all seeds of one scenario together, by hour.
struct Hourly {
    std::array<std::array<double, kHours>, welfare::kClasses.size()> paid{};
    std::array<std::array<double, kHours>, welfare::kClasses.size()> steps{};
    std::array<double, kHours> arrived{};
    std::array<double, kHours> served{};
    std::array<std::vector<double>, kHours> waits_min;

    void add(const welfare::Market& market, const std::vector<welfare::Trade>& trades) {
        for (const welfare::Demand& demand : market.demands)
            arrived[demand.arrival_s / 3600] += 1;
        for (const welfare::Trade& trade : trades) {
            const std::size_t hour = trade.start_s / 3600;
            if (hour >= kHours) continue;
            const std::size_t gpu = market.machines[trade.machine].gpu_class;
            const auto done = static_cast<double>(market.demands[trade.demand].steps);
            paid[gpu][hour] += done * static_cast<double>(trade.price_atoms);
            steps[gpu][hour] += done;
        }
        for (const welfare::Trade& trade : one_per_demand(trades)) {
            const std::size_t hour = market.demands[trade.demand].arrival_s / 3600;
            served[hour] += 1;
            waits_min[hour].push_back(wait_min(market, trade));
        }
    }
};

std::string plot(const std::vector<Hourly>& modes) {
    welfare::Row price{"Price paid, tokens per GPU-hour", 3, {}};
    welfare::Row fill{"Fill: orders served, by hour of arrival, %", 100, {}};
    welfare::Row wait{"Waiting time, by hour of arrival, minutes", 480, {}};
    std::vector<std::string> columns;
    for (std::size_t m = 0; m < modes.size(); ++m) {
        const Hourly& it = modes[m];
        columns.emplace_back(to_string(welfare::kModes[m]));
        welfare::Panel& prices = price.panels.emplace_back();
        for (std::size_t gpu = 0; gpu < welfare::kClasses.size(); ++gpu) {
            welfare::Line line{std::string(welfare::kClasses[gpu].model), {}};
            const double steps_per_hour =
                static_cast<double>(welfare::kClasses[gpu].steps_per_hour);
            for (std::size_t hour = 0; hour < kHours; ++hour)
                line.by_hour.push_back(it.steps[gpu][hour] == 0
                                           ? -1
                                           : it.paid[gpu][hour] / it.steps[gpu][hour] *
                                                 steps_per_hour / kAtomsPerToken);
            prices.lines.push_back(line);
        }
        welfare::Line served{"served", {}};
        welfare::Line half{"median", {}};
        welfare::Line most{"99th percentile", {}};
        for (std::size_t hour = 0; hour < kHours; ++hour) {
            served.by_hour.push_back(
                it.arrived[hour] == 0 ? -1 : 100 * it.served[hour] / it.arrived[hour]);
            half.by_hour.push_back(percentile(it.waits_min[hour], 0.5));
            most.by_hour.push_back(percentile(it.waits_min[hour], 0.99));
        }
        fill.panels.push_back({{served}});
        wait.panels.push_back({{half, most}});
    }
    return welfare::svg("A day of the usual market, by clearing mode", columns,
                        {price, fill, wait});
}

struct Results {
    std::vector<Score> by_seed;
    [[nodiscard]] std::vector<double> of(double Score::*member) const {
        std::vector<double> out;
        for (const Score& one : by_seed)
            out.push_back(one.*member);
        return out;
    }
    [[nodiscard]] double wait_min(double share) const {
        std::vector<double> all;
        for (const Score& one : by_seed)
            all.insert(all.end(), one.waits_min.begin(), one.waits_min.end());
        return percentile(all, share);
    }
};

void tell(bench::Report& report, const Scenario& scenario, Mode mode, const Results& results) {
    const std::vector<double> shares = results.of(&Score::of_bound);
    const double median = bench::median(shares);
    const double worst = *std::min_element(shares.begin(), shares.end());
    const double fill = bench::median(results.of(&Score::fill));
    const double buyers = bench::median(results.of(&Score::buyers));
    fmt::print("{:<8} {:<8} {:>6.3f} {:>6.3f} {:>8.3f} {:>6.1f} {:>7.1f} {:>7.1f} {:>8.1f}\n",
               scenario.name, to_string(mode), median, worst,
               bench::median(results.of(&Score::of_plan)), 100 * fill, results.wait_min(0.5),
               results.wait_min(0.99), 100 * buyers);
    const std::string prefix = fmt::format("{}_{}_", scenario.name, to_string(mode));
    report.metric(prefix + "share_of_bound", median);
    report.metric(prefix + "share_of_bound_worst", worst);
    report.metric(prefix + "share_of_plan", bench::median(results.of(&Score::of_plan)));
    report.metric(prefix + "fill", fill);
    report.metric(prefix + "wait_p50_min", results.wait_min(0.5));
    report.metric(prefix + "wait_p99_min", results.wait_min(0.99));
    report.metric(prefix + "buyers_share", buyers);
    const bool is_judged = scenario.name == "small" || scenario.name == "usual";
    if (mode != Mode::kLimit || !is_judged) return;
    const std::string against = scenario.shape.unit_work ? "exact optimum" : "upper bound";
    report.goal(fmt::format("limit, {} market: surplus of the {}, median", scenario.name, against),
                median, kGoal, "ratio", bench::Better::kHigher);
    report.goal(fmt::format("limit, {} market: surplus of the {}, worst", scenario.name, against),
                worst, kGoal, "ratio", bench::Better::kHigher);
}

/// The beginning of a row about somebody who knows the day.
void tell_known(bench::Report& report, const Scenario& scenario, const std::string& name,
                const std::vector<double>& shares) {
    fmt::print("{:<8} {:<8} {:>6.3f} {:>6.3f}", scenario.name, name, bench::median(shares),
               *std::min_element(shares.begin(), shares.end()));
    report.metric(fmt::format("{}_{}_share_of_bound", scenario.name, name), bench::median(shares));
}

void run(bench::Report& report, const Scenario& scenario, std::vector<Hourly>* hourly) {
    std::vector<Results> by_mode(welfare::kModes.size());
    std::vector<double> no_wait;
    std::vector<double> plans;
    std::vector<double> plan_fills;
    for (std::uint64_t seed = 1; seed <= kSeeds; ++seed) {
        fmt::print(stderr, "{}: seed {} of {}\n", scenario.name, seed, kSeeds);
        const welfare::Market market = welfare::make_market(seed, scenario.shape);
        const welfare::Problem problem = welfare::to_problem(market);
        const welfare::Bracket optimum = optimum_of(problem, scenario.shape);
        no_wait.push_back(share_without_waiting(problem, scenario.shape, optimum));
        plans.push_back(static_cast<double>(optimum.plan_atoms) /
                        static_cast<double>(optimum.bound_atoms));
        plan_fills.push_back(static_cast<double>(optimum.plan_tasks) /
                             static_cast<double>(market.demands.size()));
        for (std::size_t m = 0; m < welfare::kModes.size(); ++m) {
            const auto trades = welfare::play(market, welfare::kModes[m]);
            by_mode[m].by_seed.push_back(score(market, trades, optimum));
            if (hourly != nullptr) (*hourly)[m].add(market, trades);
        }
    }
    for (std::size_t m = 0; m < welfare::kModes.size(); ++m)
        tell(report, scenario, welfare::kModes[m], by_mode[m]);
    tell_known(report, scenario, "plan", plans);
    fmt::print(" {:>8.3f} {:>6.1f}\n", 1.0, 100 * bench::median(plan_fills));
    report.metric(scenario.name + "_plan_fill", bench::median(plan_fills));
    tell_known(report, scenario, "no_wait", no_wait);
    fmt::print("\n");
    std::fflush(stdout);
}

}  // namespace

int main() {
    fmt::print(
        "Surplus (value to buyers less cost to providers) as a share of the optimum of\n"
        "somebody who knows the whole day: exact for small, else an upper bound and, in\n"
        "the third column, the best plan found. Rows plan and no_wait: that plan, and\n"
        "the bound when no order may wait. {} seeds.\n\n"
        "                 of the bound  of the   fill     wait, min  buyers'\n"
        "market   mode    median  worst    plan      %     p50     p99  share %\n",
        kSeeds);
    bench::Report report("welfare");
    std::vector<Hourly> hourly(welfare::kModes.size());
    for (const Scenario& scenario : kScenarios)
        run(report, scenario, scenario.name == "usual" ? &hourly : nullptr);
    const auto path = std::filesystem::path("build") / "bench" / "welfare.svg";
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << plot(hourly);
    fmt::print("\nplot: {}\n", path.string());
    fmt::print("{}\n", report.json());
    return 0;
}
