// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/model/loop_spec.hpp"

#include <cstddef>
#include <cstdint>

namespace worker::model {

struct AdamWSettings {
    float learning_rate = 0;
    float weight_decay = 0;
    float beta1 = 0.9F;
    float beta2 = 0.95F;
    float epsilon = 1e-8F;
    std::uint64_t step = 1;       // counted from 1
    float gradient_scale = 1.0F;  // from clipping
};

/// One AdamW step (Loshchilov and Hutter) over `count` values in one pass through memory.
/// Every value is computed alone, so the result does not depend on blocks or threads.
void adamw(float* value, float* first, float* second, const float* gradient, std::size_t count,
           const AdamWSettings& settings);

/// The same with gradients in bf16, which also writes the rounded values.
void adamw_bf16(float* value, float* first, float* second, const std::uint16_t* gradient,
                std::uint16_t* rounded, std::size_t count, const AdamWSettings& settings);

struct SgdSettings {
    float learning_rate = 0;
    float weight_decay = 0;
    float momentum = 0;
    bool nesterov = false;
    float gradient_scale = 1.0F;  // from clipping
};

/// One step of SGD. `velocity` may be null when there is no momentum.
void sgd(float* value, float* velocity, const float* gradient, std::size_t count,
         const SgdSettings& settings);

/// The same with gradients in bf16, which also writes the rounded values.
void sgd_bf16(float* value, float* velocity, const std::uint16_t* gradient, std::uint16_t* rounded,
              std::size_t count, const SgdSettings& settings);

/// Sum of squares in a fixed order (64 lanes, then a tree), so that it is the same on any machine.
[[nodiscard]] double sum_of_squares(const float* values, std::size_t count);
[[nodiscard]] double sum_of_squares_bf16(const std::uint16_t* values, std::size_t count);

/// Round to nearest even, as torch does.
void round_to_bf16(const float* values, std::uint16_t* rounded, std::size_t count);

/// Learning rate of a step (from 0): linear warm-up, then by the spec's schedule.
[[nodiscard]] double learning_rate_at(const LoopSpec& loop, std::uint64_t step);

}  // namespace worker::model
