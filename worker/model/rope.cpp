// SPDX-License-Identifier: Apache-2.0
#include "worker/model/rope.hpp"

#include "worker/kernels/row_ops.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numbers>

namespace worker::model {

namespace {

/// Long waves are slowed by the factor, short ones kept, those between blended (Llama 3.1).
double llama3_frequency(double frequency, const RopeConfig& c) {
    const double wave = 2.0 * std::numbers::pi / frequency;
    const auto trained = static_cast<double>(c.trained_context);
    if (wave < trained / c.high_frequency) return frequency;
    if (wave > trained / c.low_frequency) return frequency / c.factor;
    const double kept = (trained / wave - c.low_frequency) / (c.high_frequency - c.low_frequency);
    return (1.0 - kept) * frequency / c.factor + kept * frequency;
}

/// The dimension whose wave turns `turns` times in the trained context.
double yarn_dimension(double turns, const RopeConfig& c) {
    return c.dims * std::log(c.trained_context / (turns * 2.0 * std::numbers::pi)) /
           (2.0 * std::log(c.theta));
}

/// Share of the interpolated frequency in dimension pair `i` (YaRN, equation 23).
double yarn_slowed(std::size_t i, const RopeConfig& c) {
    double low = yarn_dimension(c.beta_fast, c);
    double high = yarn_dimension(c.beta_slow, c);
    if (c.truncate) {
        low = std::floor(low);
        high = std::ceil(high);
    }
    low = std::max(low, 0.0);
    high = std::min(high, c.dims - 1.0);
    if (low == high) high += 0.001;
    return std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
}

}  // namespace

Rope::Rope(const RopeConfig& config)
    : config_(config), frequencies_(frequencies_at(config.theta)) {}

std::vector<double> Rope::frequencies_at(double theta) const {
    std::vector<double> out(size());
    for (std::size_t i = 0; i < out.size(); ++i) {
        double frequency = std::pow(theta, -2.0 * static_cast<double>(i) / config_.dims);
        if (config_.scaling == RopeScaling::kLinear) frequency /= config_.factor;
        if (config_.scaling == RopeScaling::kLlama3)
            frequency = llama3_frequency(frequency, config_);
        if (config_.scaling == RopeScaling::kYarn) {
            const double slowed = yarn_slowed(i, config_);
            frequency = frequency / config_.factor * slowed + frequency * (1.0 - slowed);
        }
        out[i] = frequency;
    }
    return out;
}

void Rope::angles(std::uint32_t position, float* cosines, float* sines) const {
    const double length = position + 1.0;
    if (config_.scaling != RopeScaling::kDynamic || length <= config_.trained_context) {
        kernels::rope_angles(position, frequencies_, config_.magnitude, cosines, sines);
        return;
    }
    const double stretch =
        config_.factor * length / config_.trained_context - (config_.factor - 1.0);
    const double dims = config_.dims;
    const auto slower = frequencies_at(config_.theta * std::pow(stretch, dims / (dims - 2.0)));
    kernels::rope_angles(position, slower, config_.magnitude, cosines, sines);
}

}  // namespace worker::model
