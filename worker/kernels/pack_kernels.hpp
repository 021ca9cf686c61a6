// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/kernels/inlining.hpp"
#include "worker/kernels/weight_matrix.hpp"

#include <cstddef>
#include <cstdint>

/// Rounding weights to int8 and int4, for any vector type V. Every copy gives the same bits.
// NOLINTBEGIN(modernize-avoid-c-arrays): registers
namespace worker::kernels {

template <class V>
struct PackKernels {
    static constexpr std::size_t kPanel = WeightMatrix::kPanel;
    static constexpr std::size_t kGroup = WeightMatrix::kGroup;
    using Floats = typename V::Floats;
    /// Added and taken off, it leaves the nearest whole number, ties to even, of ±8 388 607.
    static constexpr float kRounder = 12582912.0F;  // 1.5 · 2^23

    MILLRACE_INLINE static std::uint32_t magnitude(float value) {
        return __builtin_bit_cast(std::uint32_t, value) & 0x7FFF'FFFFU;
    }
    /// Of a finite number: nearest, ties to even.
    MILLRACE_INLINE static std::uint16_t to_bf16(float value) {
        const auto bits = __builtin_bit_cast(std::uint32_t, value);
        return static_cast<std::uint16_t>((bits + 0x7FFFU + ((bits >> 16U) & 1U)) >> 16U);
    }
    MILLRACE_INLINE static float from_bf16(std::uint16_t bits) {
        return __builtin_bit_cast(float, static_cast<std::uint32_t>(bits) << 16U);
    }
    MILLRACE_INLINE static float between(float value, float low, float high) {
        const float capped = value > high ? high : value;
        return capped < low ? low : capped;
    }

    /// One output's weights, each to its level plus 128. False when one is not finite.
    static bool int8_row(const float* values, std::size_t count, std::uint8_t* levels,
                         float* scale) {
        // The bits of magnitudes are in the order of their values, infinity and NaN above all.
        std::uint32_t largest = 0;
        for (std::size_t i = 0; i < count; ++i)
            largest = magnitude(values[i]) > largest ? magnitude(values[i]) : largest;
        if (largest >= 0x7F80'0000U) return false;
        const float step = __builtin_bit_cast(float, largest) / 127.0F;
        if (step < 0x1p-126F) {  // weights below the normal numbers are zero
            __builtin_memset(levels, 128, count);
            *scale = 0;
            return true;
        }
        for (std::size_t i = 0; i < count; ++i) {
            const float level = between(values[i] / step + kRounder - kRounder, -127.0F, 127.0F);
            levels[i] = static_cast<std::uint8_t>(static_cast<std::int32_t>(level) + 128);
        }
        *scale = step;
        return true;
    }

    /// One group of a panel: [input][output], a lane an output.
    using Group = float[kGroup][kPanel];

    /// Each output's value of the largest magnitude, the first of several.
    MILLRACE_INLINE static void extremes(const Group& values, float* to) {
        for (std::size_t j = 0; j < kPanel; j += V::kLanes) {
            Floats high = V::load(values[0] + j);
            Floats low = high;
            for (std::size_t i = 1; i < kGroup; ++i) {
                const Floats value = V::load(values[i] + j);
                high = V::max(high, value);
                low = V::min(low, value);
            }
            float highs[V::kLanes];
            float lows[V::kLanes];
            V::store(highs, high);
            V::store(lows, low);
            for (std::size_t l = 0; l < V::kLanes; ++l) {
                to[j + l] = highs[l] > -lows[l] ? highs[l] : lows[l];
                for (std::size_t i = kGroup; highs[l] == -lows[l] && i-- > 0;)
                    if (magnitude(values[i][j + l]) == magnitude(highs[l]))
                        to[j + l] = values[i][j + l];
            }
        }
    }

    /// Whole numbers -8 … 7 nearest to `exact`.
    MILLRACE_INLINE static Floats int4_level(Floats exact) {
        const Floats rounder = V::all(kRounder);
        const Floats whole = V::sub(V::add(exact, rounder), rounder);
        return V::max(V::min(whole, V::all(7.0F)), V::all(-8.0F));
    }

    /// Each output's squared error, in steps, when its values are multiplied by `inverse`.
    MILLRACE_INLINE static void int4_errors(const Group& values, const float* inverse, float* to) {
        for (std::size_t j = 0; j < kPanel; j += V::kLanes) {
            const Floats factor = V::load(inverse + j);
            Floats sum = V::all(0.0F);
            for (std::size_t i = 0; i < kGroup; ++i) {
                const Floats exact = V::mul(V::load(values[i] + j), factor);
                const Floats miss = V::sub(int4_level(exact), exact);
                sum = V::add(sum, V::mul(miss, miss));
            }
            V::store(to + j, sum);
        }
    }

    /// The group's scales [16] and steps [4][16][4]. An output's largest value lies on -8, the
    /// level that has no opposite, or a little beside it where that serves the others better.
    MILLRACE_INLINE static void int4_group(const Group& values, std::byte* to) {
        constexpr float kPlaces[] = {-8.0F, -7.3F, -8.6F, -9.2F};
        float largest[kPanel];
        extremes(values, largest);
        std::uint16_t scales[kPanel] = {};
        float inverses[kPanel] = {};
        float least[kPanel];
        for (float& error : least)
            error = __builtin_inff();
        for (const float place : kPlaces) {
            std::uint16_t scale[kPanel];
            float inverse[kPanel];
            float errors[kPanel];
            for (std::size_t j = 0; j < kPanel; ++j) {
                const bool nothing = largest[j] < 1e-18F && largest[j] > -1e-18F;
                scale[j] = nothing ? std::uint16_t{0} : to_bf16(largest[j] / place);
                inverse[j] = nothing ? 0.0F : 1.0F / from_bf16(scale[j]);
            }
            int4_errors(values, inverse, errors);
            for (std::size_t j = 0; j < kPanel; ++j) {
                const float error = errors[j] * from_bf16(scale[j]) * from_bf16(scale[j]);
                const bool better = error < least[j];
                least[j] = better ? error : least[j];
                scales[j] = better ? scale[j] : scales[j];
                inverses[j] = better ? inverse[j] : inverses[j];
            }
        }
        __builtin_memcpy(to, scales, sizeof scales);
        std::uint32_t levels[kGroup][kPanel];
        for (std::size_t i = 0; i < kGroup; ++i)
            for (std::size_t j = 0; j < kPanel; j += V::kLanes) {
                float level[V::kLanes];
                V::store(level, int4_level(V::mul(V::load(values[i] + j), V::load(inverses + j))));
                for (std::size_t l = 0; l < V::kLanes; ++l)
                    levels[i][j + l] =
                        static_cast<std::uint32_t>(static_cast<std::int32_t>(level[l]) + 8);
            }
        for (std::size_t step = 0; step < 4; ++step) {
            std::uint32_t lanes[kPanel] = {};
            for (std::size_t b = 0; b < 4; ++b)
                for (std::size_t j = 0; j < kPanel; ++j)
                    lanes[j] |= (levels[8 * step + b][j] | levels[8 * step + 4 + b][j] << 4U)
                                << (8 * b);
            __builtin_memcpy(to + 2 * kPanel + step * sizeof lanes, lanes, sizeof lanes);
        }
    }

    /// Sixteen rows of `stride` finite floats into a panel.
    static void int4_panel(const float* rows, std::size_t stride, std::byte* panel) {
        Group values;
        for (std::size_t from = 0; from < stride; from += kGroup) {
            for (std::size_t j = 0; j < kPanel; ++j)
                for (std::size_t i = 0; i < kGroup; ++i)
                    values[i][j] = rows[j * stride + from + i];
            int4_group(values, panel);
            panel += 2 * kPanel + kPanel * kGroup / 2;
        }
    }
};

}  // namespace worker::kernels
// NOLINTEND(modernize-avoid-c-arrays)
