// SPDX-License-Identifier: Apache-2.0
#include "worker/model/optimizer.hpp"

#include <array>
#include <bit>
#include <cmath>
#include <numbers>

// Compiled with -O3 and -ffp-contract=off in every preset: one clone per instruction set, chosen at
// run time, each with the same bits.
#define MILLRACE_CLONES \
    __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))

namespace worker::model {

namespace {

constexpr std::size_t kLanes = 64;

struct Factors {
    float decay;
    float step_size;
    float root_correction;
    float beta1;
    float rest1;
    float beta2;
    float rest2;
    float epsilon;
    float scale;
};

Factors factors_of(const AdamWSettings& s) {
    const double t = static_cast<double>(s.step);
    const double correction1 = 1.0 - std::pow(static_cast<double>(s.beta1), t);
    const double correction2 = 1.0 - std::pow(static_cast<double>(s.beta2), t);
    Factors f{};
    f.decay = static_cast<float>(1.0 - static_cast<double>(s.learning_rate) *
                                           static_cast<double>(s.weight_decay));
    f.step_size = static_cast<float>(static_cast<double>(s.learning_rate) / correction1);
    f.root_correction = static_cast<float>(1.0 / std::sqrt(correction2));
    f.beta1 = s.beta1;
    f.rest1 = 1.0F - s.beta1;
    f.beta2 = s.beta2;
    f.rest2 = 1.0F - s.beta2;
    f.epsilon = s.epsilon;
    f.scale = s.gradient_scale;
    return f;
}

inline float widen(std::uint16_t half) {
    return std::bit_cast<float>(std::uint32_t{half} << 16U);
}

inline std::uint16_t narrow(float value) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    const std::uint32_t rounded = (bits + 0x7FFFU + ((bits >> 16U) & 1U)) >> 16U;
    const bool nan = (bits & 0x7FFFFFFFU) > 0x7F800000U;
    return static_cast<std::uint16_t>(nan ? 0x7FC0U : rounded);
}

inline float update(float value, float& first, float& second, float gradient, const Factors& f) {
    const float g = gradient * f.scale;
    first = f.beta1 * first + f.rest1 * g;
    second = f.beta2 * second + f.rest2 * g * g;
    const float denominator = std::sqrt(second) * f.root_correction + f.epsilon;
    return value * f.decay - f.step_size * (first / denominator);
}

inline float sgd_update(float value, float& velocity, float gradient, const SgdSettings& s) {
    float g = gradient * s.gradient_scale + s.weight_decay * value;
    velocity = s.momentum * velocity + g;
    g = s.nesterov ? g + s.momentum * velocity : velocity;
    return value - s.learning_rate * g;
}

double fold(std::array<float, kLanes>& lanes) {
    double total = 0;
    for (const float lane : lanes)
        total += static_cast<double>(lane);
    return total;
}

constexpr std::size_t kBlock = 4096;  // fp32 partial sums stay short

}  // namespace

MILLRACE_CLONES void adamw(float* __restrict value, float* __restrict first,
                           float* __restrict second, const float* __restrict gradient,
                           std::size_t count, const AdamWSettings& settings) {
    const Factors f = factors_of(settings);
    for (std::size_t i = 0; i < count; ++i)
        value[i] = update(value[i], first[i], second[i], gradient[i], f);
}

MILLRACE_CLONES void adamw_bf16(float* __restrict value, float* __restrict first,
                                float* __restrict second, const std::uint16_t* __restrict gradient,
                                std::uint16_t* __restrict rounded, std::size_t count,
                                const AdamWSettings& settings) {
    const Factors f = factors_of(settings);
    for (std::size_t i = 0; i < count; ++i) {
        value[i] = update(value[i], first[i], second[i], widen(gradient[i]), f);
        rounded[i] = narrow(value[i]);
    }
}

MILLRACE_CLONES void sgd(float* __restrict value, float* __restrict velocity,
                         const float* __restrict gradient, std::size_t count,
                         const SgdSettings& settings) {
    const SgdSettings s = settings;
    float none = 0;  // without momentum the velocity is the gradient
    if (velocity == nullptr) {
        for (std::size_t i = 0; i < count; ++i)
            value[i] = sgd_update(value[i], none, gradient[i], s);
    } else {
        for (std::size_t i = 0; i < count; ++i)
            value[i] = sgd_update(value[i], velocity[i], gradient[i], s);
    }
}

MILLRACE_CLONES void sgd_bf16(float* __restrict value, float* __restrict velocity,
                              const std::uint16_t* __restrict gradient,
                              std::uint16_t* __restrict rounded, std::size_t count,
                              const SgdSettings& settings) {
    const SgdSettings s = settings;
    float none = 0;
    for (std::size_t i = 0; i < count; ++i) {
        float& v = velocity == nullptr ? none : velocity[i];
        value[i] = sgd_update(value[i], v, widen(gradient[i]), s);
        rounded[i] = narrow(value[i]);
    }
}

MILLRACE_CLONES double sum_of_squares(const float* values, std::size_t count) {
    double total = 0;
    for (std::size_t begin = 0; begin < count; begin += kBlock) {
        const std::size_t size = count - begin < kBlock ? count - begin : kBlock;
        std::array<float, kLanes> lanes{};
        std::size_t i = 0;
        for (; i + kLanes <= size; i += kLanes)
            for (std::size_t j = 0; j < kLanes; ++j)
                lanes[j] += values[begin + i + j] * values[begin + i + j];
        for (std::size_t j = 0; i < size; ++i, ++j)
            lanes[j] += values[begin + i] * values[begin + i];
        total += fold(lanes);
    }
    return total;
}

MILLRACE_CLONES double sum_of_squares_bf16(const std::uint16_t* values, std::size_t count) {
    double total = 0;
    for (std::size_t begin = 0; begin < count; begin += kBlock) {
        const std::size_t size = count - begin < kBlock ? count - begin : kBlock;
        std::array<float, kLanes> lanes{};
        std::size_t i = 0;
        for (; i + kLanes <= size; i += kLanes)
            for (std::size_t j = 0; j < kLanes; ++j) {
                const float v = widen(values[begin + i + j]);
                lanes[j] += v * v;
            }
        for (std::size_t j = 0; i < size; ++i, ++j) {
            const float v = widen(values[begin + i]);
            lanes[j] += v * v;
        }
        total += fold(lanes);
    }
    return total;
}

MILLRACE_CLONES void round_to_bf16(const float* __restrict values,
                                   std::uint16_t* __restrict rounded, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i)
        rounded[i] = narrow(values[i]);
}

double learning_rate_at(const LoopSpec& loop, std::uint64_t step) {
    const double peak = loop.learning_rate;
    if (step < loop.warmup_steps)
        return peak * static_cast<double>(step + 1) / static_cast<double>(loop.warmup_steps);
    if (loop.steps <= loop.warmup_steps || loop.schedule == Schedule::kConstant) return peak;
    const double done = static_cast<double>(step - loop.warmup_steps) /
                        static_cast<double>(loop.steps - loop.warmup_steps);
    const double least = loop.min_rate_share;
    if (loop.schedule == Schedule::kLinear) return peak * (1.0 - (1.0 - least) * done);
    return peak * (least + (1.0 - least) / 2.0 * (1.0 + std::cos(std::numbers::pi * done)));
}

}  // namespace worker::model
