// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

/// What every bench closes with: one JSON line that `scripts/bench` passes on.
namespace bench {

enum class Better : std::uint8_t { kHigher = 0, kLower = 1 };

class Report {
 public:
    explicit Report(std::string name) : name_(std::move(name)) {}

    void metric(const std::string& name, double value) { metrics_.emplace_back(name, value); }

    /// A goal with its measured value; `unit` "ratio" is against the limit program of this run.
    void goal(const std::string& name, double value, double goal, const std::string& unit,
              Better better) {
        const bool met = better == Better::kHigher ? value >= goal : value <= goal;
        goals_.push_back(fmt::format(
            R"({{"name":"{}","value":{:.4g},"goal":{:.4g},"unit":"{}","better":"{}","met":{}}})",
            name, value, goal, unit, better == Better::kHigher ? "higher" : "lower", met));
    }

    [[nodiscard]] std::string json() const {
        std::vector<std::string> metrics;
        for (const auto& [name, value] : metrics_)
            metrics.push_back(fmt::format(R"("{}":{:.6g})", name, value));
        return fmt::format(R"({{"bench":"{}","metrics":{{{}}},"goals":[{}]}})", name_,
                           fmt::join(metrics, ","), fmt::join(goals_, ","));
    }

 private:
    std::string name_;
    std::vector<std::pair<std::string, double>> metrics_;
    std::vector<std::string> goals_;
};

/// Times per second that `work` ran when done `count` times.
template <typename Work>
[[nodiscard]] double rate(std::uint64_t count, Work&& work) {
    const auto start = std::chrono::steady_clock::now();
    for (std::uint64_t i = 0; i < count; ++i)
        work(i);
    const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - start;
    return static_cast<double>(count) / passed.count();
}

[[nodiscard]] inline double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    return values.empty() ? 0 : values[values.size() / 2];
}

/// Ours and the limit program in turns, so that a busy machine slows both alike.
struct Compared {
    double ours = 0;   ///< median rate
    double limit = 0;  ///< median rate
    double ratio = 0;  ///< median of the rounds' ratios
};
template <typename Ours, typename Limit>
[[nodiscard]] Compared compare(int rounds, Ours&& ours, Limit&& limit) {
    std::vector<double> our_rates;
    std::vector<double> limit_rates;
    std::vector<double> ratios;
    for (int round = 0; round < rounds; ++round) {
        limit_rates.push_back(limit());
        our_rates.push_back(ours());
        ratios.push_back(our_rates.back() / limit_rates.back());
    }
    return {median(our_rates), median(limit_rates), median(ratios)};
}

}  // namespace bench
