// SPDX-License-Identifier: Apache-2.0
// Gas of the market's transactions on a fresh chain, as contracts/test/gas/gas.mjs measures it. Run
// from the top folder.
#include "ledger/rpc/json.hpp"
#include "tests/bench/report.hpp"

#include <fmt/core.h>

#include <array>
#include <cstdio>
#include <memory>
#include <string>

namespace {

struct Goal {
    const char* name;
    double goal;
    const char* unit;
};
constexpr std::array<Goal, 8> kGoals = {{
    {"open_20", 70'000, "gas per lease"},
    {"open_20_of_one_ask", 70'000, "gas per lease"},
    {"claim_50", 20'000, "gas per claim"},
    {"claim_1", 55'000, "gas"},
    {"receipt_of_10000", 11, "gas per receipt"},
    {"anchor_2000", 35'000, "gas"},
    {"anchor_5000", 35'000, "gas"},
    {"anchor_100000", 35'000, "gas"},
}};

/// What others need for the like, published or measured with their own tests (performance.md 6.2).
struct Anchor {
    const char* name;
    double gas;
};
constexpr std::array<Anchor, 5> kAnchors = {{
    {"iexec_match_orders", 767'000},
    {"iexec_least_task", 1'460'000},
    {"boundless_job", 266'000},
    {"livepeer_winning_ticket", 350'000},
    {"raiden_funded_claim", 103'600},
}};

/// What a command prints; empty when it fails.
std::string output_of(const char* command) {
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> pipe(::popen(command, "r"), ::pclose);
    std::string text;
    std::array<char, 4096> part;
    while (pipe != nullptr) {
        const std::size_t read = std::fread(part.data(), 1, part.size(), pipe.get());
        if (read == 0) break;
        text.append(part.data(), read);
    }
    return text;
}

}  // namespace

int main() {
    const auto figures =
        ledger::rpc::parse_json(output_of("node contracts/test/gas/gas.mjs </dev/null"));
    if (!figures || !figures->is_object()) {
        fmt::print(stderr, "gas: contracts/test/gas/gas.mjs gave no figures\n");
        return 1;
    }
    bench::Report report("gas");
    for (const auto& [name, value] : figures->items()) {
        fmt::print("{:28} {:>12.1f}\n", name, value.get<double>());
        report.metric(name, value.get<double>());
    }
    for (const Anchor& anchor : kAnchors)
        report.metric(anchor.name, anchor.gas);
    for (const Goal& goal : kGoals) {
        if (!figures->contains(goal.name)) {
            fmt::print(stderr, "gas: no figure {}\n", goal.name);
            return 1;
        }
        report.goal(goal.name, (*figures)[goal.name].get<double>(), goal.goal, goal.unit,
                    bench::Better::kLower);
    }
    fmt::print("{}\n", report.json());
    return 0;
}
