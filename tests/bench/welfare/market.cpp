// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/welfare/market.hpp"

#include <algorithm>
#include <random>
#include <utility>

namespace welfare {
namespace {

constexpr std::uint32_t kHours = 24;
constexpr std::uint32_t kTailHours = 8;  // the longest patience: nothing starts later
constexpr std::uint64_t kHourS = 3600;

/// Value and how many of a hundred have it.
using Table = std::vector<std::pair<std::uint64_t, std::uint32_t>>;
const Table kLengthMinutes = {{10, 20}, {20, 25}, {40, 20}, {80, 15}, {160, 12}, {320, 8}};
const Table kGangLengthMinutes = {{10, 30}, {20, 30}, {40, 20}, {80, 20}};
const Table kPatienceMinutes = {{15, 30}, {60, 30}, {180, 25}, {480, 15}};
const Table kGangs = {{2, 60}, {4, 30}, {8, 10}};
const Table kClassShare = {{0, 50}, {1, 25}, {2, 25}};
/// Orders by local hour.
const Table kDemandByHour = {{0, 2},  {1, 1},  {2, 1},  {3, 1},  {4, 1},  {5, 1},
                             {6, 2},  {7, 3},  {8, 5},  {9, 6},  {10, 7}, {11, 7},
                             {12, 6}, {13, 7}, {14, 8}, {15, 8}, {16, 7}, {17, 6},
                             {18, 5}, {19, 4}, {20, 4}, {21, 3}, {22, 3}, {23, 2}};

class Draw {
 public:
    explicit Draw(std::uint64_t seed) : random_(seed) {}
    std::uint64_t below(std::uint64_t bound) { return random_() % bound; }
    std::uint64_t between(std::uint64_t least, std::uint64_t most) {
        return least + below(most - least + 1);
    }
    bool percent(std::uint64_t chance) { return below(100) < chance; }
    std::uint64_t from(const Table& table) {
        std::uint64_t at = below(100);
        for (const auto& [value, share] : table) {
            if (at < share) return value;
            at -= share;
        }
        return table.back().first;
    }
    std::uint32_t region() {
        std::uint64_t at = below(100);
        std::uint32_t region = 0;
        while (at >= kRegions[region].share_percent)
            at -= kRegions[region++].share_percent;
        return region;
    }

 private:
    std::mt19937_64 random_;
};

/// Always there, or from the evening to the morning of its region.
std::vector<Window> draw_windows(Draw& draw, std::uint32_t region, std::uint32_t slots_per_hour) {
    const std::uint32_t all = (kHours + kTailHours) * slots_per_hour;
    if (draw.percent(40)) return {{0, all}};
    const auto evening_h = static_cast<std::uint32_t>(draw.between(17, 21));
    const auto hours = static_cast<std::uint32_t>(draw.between(11, 15));
    const std::uint32_t from_h = (evening_h + kHours - kRegions[region].utc_offset_h) % kHours;
    std::vector<Window> out;
    if (from_h + hours > kHours) out.push_back({0, (from_h + hours - kHours) * slots_per_hour});
    out.push_back({from_h * slots_per_hour, std::min((from_h + hours) * slots_per_hour, all)});
    return out;
}

Machine draw_machine(Draw& draw, std::uint32_t slots_per_hour) {
    Machine out;
    out.gpu_class = static_cast<std::uint32_t>(draw.from(kClassShare));
    out.region = draw.region();
    out.cost_atoms = kClasses[out.gpu_class].cost_atoms * draw.between(75, 125) / 100;
    out.windows = draw_windows(draw, out.region, slots_per_hour);
    return out;
}

Demand draw_demand(Draw& draw, const Shape& shape) {
    Demand out;
    const std::uint32_t home = draw.region();
    const std::uint64_t local_h = draw.from(kDemandByHour);
    const std::uint64_t hour = (local_h + kHours - kRegions[home].utc_offset_h) % kHours;
    out.arrival_s = hour * kHourS + draw.below(kHourS);
    out.patience_s = std::max(draw.from(kPatienceMinutes) * 60, shape.slot_s);
    out.gpu_class = static_cast<std::uint32_t>(draw.from(kClassShare));
    if (draw.percent(40)) out.region = home;
    const GpuClass& gpu = kClasses[out.gpu_class];
    out.value_atoms = gpu.cost_atoms * draw.between(90, shape.most_value_percent) / 100;
    std::uint64_t length_s = draw.from(kLengthMinutes) * 60;
    if (out.gpu_class != 0 && draw.percent(10)) {
        out.gang = static_cast<std::uint32_t>(draw.from(kGangs));
        length_s = draw.from(kGangLengthMinutes) * 60;
    }
    if (shape.unit_work) {
        out.gang = 1;
        out.arrival_s -= out.arrival_s % shape.slot_s;
        out.patience_s -= out.patience_s % shape.slot_s;
        length_s = shape.slot_s;
    }
    out.steps = gpu.steps_per_hour * length_s / kHourS;
    return out;
}

}  // namespace

Market make_market(std::uint64_t seed, const Shape& shape) {
    Draw draw(seed);
    Market out;
    out.slot_s = shape.slot_s;
    const auto slots_per_hour = static_cast<std::uint32_t>(kHourS / shape.slot_s);
    out.slots = (kHours + kTailHours) * slots_per_hour;
    std::uint64_t offered = 0;  // machine slots of the day
    for (std::uint32_t i = 0; i < shape.machines; ++i) {
        out.machines.push_back(draw_machine(draw, slots_per_hour));
        for (const Window& window : out.machines.back().windows)
            offered += std::min(window.until, kHours * slots_per_hour) - window.from;
    }
    std::uint64_t wanted = 0;
    while (wanted * 100 < offered * shape.load_percent) {
        const Demand demand = draw_demand(draw, shape);
        wanted += std::uint64_t{demand.gang} * slots_on(out, demand, demand.gpu_class);
        out.demands.push_back(demand);
    }
    std::stable_sort(out.demands.begin(), out.demands.end(),
                     [](const Demand& a, const Demand& b) { return a.arrival_s < b.arrival_s; });
    return out;
}

bool fits(const Demand& demand, const Machine& machine) {
    const bool class_fits = demand.gang > 1 ? machine.gpu_class == demand.gpu_class
                                            : machine.gpu_class >= demand.gpu_class;
    return class_fits && (!demand.region || *demand.region == machine.region) &&
           machine.cost_atoms <= demand.value_atoms;
}

std::uint32_t slots_on(const Market& market, const Demand& demand, std::uint32_t gpu_class) {
    const std::uint64_t steps_per_slot =
        kClasses[gpu_class].steps_per_hour * market.slot_s / kHourS;
    return static_cast<std::uint32_t>((demand.steps + steps_per_slot - 1) / steps_per_slot);
}

Problem to_problem(const Market& market) {
    Problem out;
    out.slots = market.slots;
    for (const Machine& machine : market.machines)
        out.machines.push_back(machine.windows);
    for (const Demand& demand : market.demands) {
        Task& task = out.tasks.emplace_back();
        const std::uint64_t last_s = demand.arrival_s + demand.patience_s - 1;
        task.starts = {static_cast<std::uint32_t>(demand.arrival_s / market.slot_s),
                       static_cast<std::uint32_t>(last_s / market.slot_s + 1)};
        task.gang = demand.gang;
        for (std::uint32_t i = 0; i < market.machines.size(); ++i) {
            const Machine& machine = market.machines[i];
            if (!fits(demand, machine)) continue;
            const std::uint64_t surplus = demand.steps * (demand.value_atoms - machine.cost_atoms);
            task.options.push_back({i, slots_on(market, demand, machine.gpu_class),
                                    static_cast<std::int64_t>(surplus)});
        }
    }
    return out;
}

}  // namespace welfare
