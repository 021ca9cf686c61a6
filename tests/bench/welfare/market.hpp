// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tests/bench/welfare/optimum.hpp"

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

/// A day of a made-up market: who offers which machine when, who wants what and how long they wait.
/// The README tells how it is drawn. Equal seeds and shapes give equal markets.
namespace welfare {

/// A kind of GPU. A step is the same piece of work on all of them.
struct GpuClass {
    std::string_view model;
    std::uint64_t vram_mib = 0;
    std::uint64_t steps_per_hour = 0;
    std::uint64_t cost_atoms = 0;  ///< of a step, on average
};
inline constexpr std::array<GpuClass, 3> kClasses = {{
    {"rtx4090", 24 * 1024, 1920, 182},  // 0.35 a GPU-hour
    {"l40s", 48 * 1024, 4320, 185},     // 0.80
    {"h100", 80 * 1024, 11880, 185},    // 2.20
}};
struct Region {
    std::string_view name;
    std::uint32_t utc_offset_h = 0;
    std::uint32_t share_percent = 0;  ///< of machines and of buyers
};
inline constexpr std::array<Region, 3> kRegions = {
    {{"us", 18, 40}, {"eu", 1, 35}, {"asia", 8, 25}}};

struct Machine {
    std::uint32_t gpu_class = 0;
    std::uint32_t region = 0;
    std::uint64_t cost_atoms = 0;  ///< of a step: what it asks for
    std::vector<Window> windows;   ///< when it takes work, in slots
};
struct Demand {
    std::uint64_t arrival_s = 0;  ///< after midnight UTC
    std::uint64_t patience_s = 0;
    std::uint32_t gpu_class = 0;          ///< the smallest with enough memory
    std::optional<std::uint32_t> region;  ///< the only one it takes
    std::uint32_t gang = 1;               ///< above 1: of just this class
    std::uint64_t steps = 0;
    std::uint64_t value_atoms = 0;  ///< of a step: what it bids
};
struct Market {
    std::uint64_t slot_s = 0;
    std::uint32_t slots = 0;
    std::vector<Machine> machines;
    std::vector<Demand> demands;  ///< in order of arrival
};

struct Shape {
    std::uint32_t machines = 0;
    std::uint32_t load_percent = 0;  ///< machine time wanted of the machine time offered
    std::uint64_t slot_s = 300;
    std::uint64_t most_value_percent = 250;  ///< of the average cost; the least is 90
    bool unit_work = false;  ///< everything lasts one slot, arrives at its beginning, alone
};
[[nodiscard]] Market make_market(std::uint64_t seed, const Shape& shape);

[[nodiscard]] bool fits(const Demand& demand, const Machine& machine);
/// How long it occupies a machine of this class.
[[nodiscard]] std::uint32_t slots_on(const Market& market, const Demand& demand,
                                     std::uint32_t gpu_class);
/// The same market for the solvers. No schedule of the market, at whatever second it starts its
/// work, is worth more than the best of this problem: everything lasts whole slots, so beginning
/// each at the start of its slot keeps it feasible.
[[nodiscard]] Problem to_problem(const Market& market);

}  // namespace welfare
