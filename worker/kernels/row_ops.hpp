// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

/// Operations on one row at a time; every sum runs in one fixed order. In and out may be the same
/// memory unless said otherwise. Callable from any thread.
namespace worker::kernels {

/// out = x / √(mean(x²) + epsilon) · weight.
void rms_norm(const float* x, const float* weight, std::size_t size, float epsilon, float* out);

/// out = (x − mean) / √(variance + epsilon) · weight + bias; `bias` may be null.
void layer_norm(const float* x, const float* weight, const float* bias, std::size_t size,
                float epsilon, float* out);

/// to += x.
void add(float* to, const float* x, std::size_t count);

/// out = gate · sigmoid(gate) · up.
void silu_mul(const float* gate, const float* up, std::size_t count, float* out);

/// In place: x/2 · (1 + erf(x/√2)).
void gelu(float* x, std::size_t count);
void gelu(const float* x, std::size_t count, float* out);

/// out = gradient · the slope of gelu at x.
void gelu_gradient(const float* x, const float* gradient, std::size_t count, float* out);

/// In place: x/2 · (1 + tanh(√(2/π) · (x + 0.044715 x³))), "gelu_new".
void gelu_tanh(float* x, std::size_t count);

/// In place: eˣ over its sum. A NaN anywhere makes all NaN.
void softmax(float* x, std::size_t count);

/// Which two numbers of a head turn together.
enum class RopeForm : std::uint8_t {
    kHalves = 0,  ///< i and i + rotary/2 ("rotate_half")
    kPairs = 1,   ///< 2i and 2i + 1
};

/// cosines[i], sines[i] = magnitude · cos, sin(position · frequencies[i]), in double inside.
void rope_angles(std::size_t position, std::span<const double> frequencies, double magnitude,
                 float* cosines, float* sines);

/// In place, on `heads` heads of `head_size` numbers each: turns the first `rotary` numbers (even,
/// at most head_size) of each by rotary/2 angles; the rest stays.
void rope(float* x, std::size_t heads, std::size_t head_size, std::size_t rotary,
          const float* cosines, const float* sines, RopeForm form);

}  // namespace worker::kernels
