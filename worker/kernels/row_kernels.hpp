// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/kernels/inlining.hpp"

#include <cstddef>
#include <cstdint>

/// Norms and pointwise functions, for any vector type V.
// NOLINTBEGIN(modernize-avoid-c-arrays): registers
namespace worker::kernels {

template <class V>
struct RowKernels {
    using Floats = typename V::Floats;

    /// eˣ within 2e-7 (Cephes' polynomial); zero below e^-87.3, at most e^88; NaN stays.
    MILLRACE_INLINE static Floats exponential(Floats x) {
        const Floats low = V::all(-87.33F);
        const Floats rounder = V::all(12582912.0F);  // 1.5 · 2^23: leaves whole numbers
        const Floats clamped = V::min(V::all(88.0F), V::max(low, x));
        const Floats shifted = V::fma(clamped, V::all(1.44269504088896341F), rounder);
        const Floats n = V::sub(shifted, rounder);
        Floats r = V::fma(n, V::all(-0.693359375F), clamped);
        r = V::fma(n, V::all(2.12194440e-4F), r);
        Floats p = V::all(1.9875691500e-4F);
        p = V::fma(p, r, V::all(1.3981999507e-3F));
        p = V::fma(p, r, V::all(8.3334519073e-3F));
        p = V::fma(p, r, V::all(4.1665795894e-2F));
        p = V::fma(p, r, V::all(1.6666665459e-1F));
        p = V::fma(p, r, V::all(5.0000001201e-1F));
        p = V::add(V::fma(p, V::mul(r, r), r), V::all(1.0F));
        // The low bits of `shifted` are n; 127 more is the exponent field of 2^n.
        const auto power =
            V::add_ints(V::template shift_left<23>(V::bits(shifted)), V::all_ints(127 << 23));
        return V::zero_below(V::mul(p, V::floats(power)), x, low);
    }

    MILLRACE_INLINE static float first(Floats v) {
        float lanes[V::kLanes];
        V::store(lanes, v);
        return lanes[0];
    }
    MILLRACE_INLINE static float sum(Floats v) {
        float lanes[V::kLanes];
        V::store(lanes, v);
        for (std::size_t half = V::kLanes / 2; half > 0; half /= 2)
            for (std::size_t i = 0; i < half; ++i)
                lanes[i] += lanes[i + half];
        return lanes[0];
    }

    /// out[i] = f(a[i], b[i]); the last few go through the same instructions.
    template <class Function>
    MILLRACE_INLINE static void map(const float* a, const float* b, std::size_t count, float* out,
                                    Function f) {
        std::size_t i = 0;
        for (; i + V::kLanes <= count; i += V::kLanes)
            V::store(out + i, f(V::load(a + i), V::load(b + i)));
        if (i == count) return;
        float in_a[V::kLanes] = {};
        float in_b[V::kLanes] = {};
        __builtin_memcpy(in_a, a + i, (count - i) * sizeof(float));
        __builtin_memcpy(in_b, b + i, (count - i) * sizeof(float));
        V::store(in_a, f(V::load(in_a), V::load(in_b)));
        __builtin_memcpy(out + i, in_a, (count - i) * sizeof(float));
    }

    static void add(float* to, const float* x, std::size_t count) {
        map(to, x, count, to, [](Floats a, Floats b) MILLRACE_INLINED { return V::add(a, b); });
    }

    /// x · sigmoid(y)
    MILLRACE_INLINE static Floats gated(Floats x, Floats y) {
        const Floats one = V::all(1.0F);
        const Floats e = exponential(V::sub(V::all(0.0F), y));
        const Floats share = V::div(one, V::add(one, e));
        // e stops at e^88, which a large x would show.
        return V::mul(x, V::zero_below(share, y, V::all(-88.0F)));
    }

    static void silu_mul(const float* gate, const float* up, std::size_t count, float* out) {
        map(gate, up, count, out,
            [](Floats g, Floats u) MILLRACE_INLINED { return V::mul(gated(g, g), u); });
    }

    /// What GELU and its gradient are made of.
    struct Normal {
        Floats share;    ///< Φ(x): (1 + erf(x/√2)) / 2
        Floats density;  ///< e^(−x²/2)
    };

    MILLRACE_INLINE static Normal normal(Floats value) {
        // erf by Abramowitz and Stegun 7.1.26, error below 1.5e-7; erf is odd.
        const Floats v = V::mul(value, V::all(0.70710678118654752F));
        const auto sign = V::and_bits(V::bits(v), V::all_ints(INT32_MIN));
        const Floats magnitude = V::floats(V::and_bits(V::bits(v), V::all_ints(INT32_MAX)));
        const Floats one = V::all(1.0F);
        const Floats t = V::div(one, V::fma(V::all(0.3275911F), magnitude, one));
        Floats p = V::all(1.061405429F);
        p = V::fma(p, t, V::all(-1.453152027F));
        p = V::fma(p, t, V::all(1.421413741F));
        p = V::fma(p, t, V::all(-0.284496736F));
        p = V::fma(p, t, V::all(0.254829592F));
        const Floats square = V::mul(magnitude, magnitude);
        const Floats density = exponential(V::sub(V::all(0.0F), square));
        const Floats tail = V::mul(V::mul(p, t), density);
        const Floats erf = V::floats(V::or_bits(V::bits(V::sub(one, tail)), sign));
        return {V::mul(V::all(0.5F), V::add(one, erf)), density};
    }

    static void gelu(const float* x, std::size_t count, float* out) {
        map(x, x, count, out, [](Floats value, Floats) MILLRACE_INLINED {
            return V::mul(value, normal(value).share);
        });
    }

    static void gelu_gradient(const float* x, const float* gradient, std::size_t count,
                              float* out) {
        map(x, gradient, count, out, [](Floats value, Floats slope) MILLRACE_INLINED {
            const Normal parts = normal(value);
            // 1/√(2π)
            const Floats bend = V::mul(V::mul(value, V::all(0.39894228040143268F)), parts.density);
            return V::mul(slope, V::add(parts.share, bend));
        });
    }

    static void gelu_tanh(float* x, std::size_t count) {
        map(x, x, count, x, [](Floats value, Floats) MILLRACE_INLINED {
            // (1 + tanh u) / 2 = sigmoid(2u)
            const Floats cube = V::mul(V::mul(value, value), value);
            const Floats u = V::fma(V::all(0.044715F), cube, value);
            return gated(value, V::mul(V::all(1.5957691216057308F), u));
        });
    }

    static void softmax(float* x, std::size_t count) {
        const Floats top = V::all(highest(x, count));
        map(x, x, count, x, [top](Floats value, Floats) MILLRACE_INLINED {
            return exponential(V::sub(value, top));
        });
        const Floats total = V::all(sum_all(x, count));
        map(x, x, count, x,
            [total](Floats value, Floats) MILLRACE_INLINED { return V::div(value, total); });
    }

    /// The largest number; NaN is passed over.
    MILLRACE_INLINE static float highest(const float* x, std::size_t count) {
        Floats tops = V::all(-__builtin_inff());
        std::size_t i = 0;
        for (; i + V::kLanes <= count; i += V::kLanes)
            tops = V::max(V::load(x + i), tops);
        float lanes[V::kLanes];
        V::store(lanes, tops);
        float out = lanes[0];
        for (std::size_t j = 1; j < V::kLanes; ++j)
            out = lanes[j] > out ? lanes[j] : out;
        for (; i < count; ++i)
            out = x[i] > out ? x[i] : out;
        return out;
    }

    MILLRACE_INLINE static float sum_all(const float* x, std::size_t count) {
        Floats sums = V::all(0.0F);
        std::size_t i = 0;
        for (; i + V::kLanes <= count; i += V::kLanes)
            sums = V::add(sums, V::load(x + i));
        float total = sum(sums);
        for (; i < count; ++i)
            total += x[i];
        return total;
    }

    /// Sum of (x − centre)ᵖ, p 1 or 2, in double, eight sums side by side.
    template <int Power>
    MILLRACE_INLINE static double moment(const float* x, std::size_t size, double centre) {
        constexpr std::size_t kSums = 8;
        double sums[kSums] = {};
        std::size_t i = 0;
        for (; i + kSums <= size; i += kSums)
            for (std::size_t j = 0; j < kSums; ++j) {
                const double d = static_cast<double>(x[i + j]) - centre;
                sums[j] += Power == 1 ? d : d * d;
            }
        for (std::size_t j = 0; i + j < size; ++j) {
            const double d = static_cast<double>(x[i + j]) - centre;
            sums[j] += Power == 1 ? d : d * d;
        }
        for (std::size_t half = kSums / 2; half > 0; half /= 2)
            for (std::size_t j = 0; j < half; ++j)
                sums[j] += sums[j + half];
        return sums[0];
    }

    static void rms_norm(const float* x, const float* weight, std::size_t size, float epsilon,
                         float* out) {
        const double mean = moment<2>(x, size, 0.0) / static_cast<double>(size);
        const auto scale =
            static_cast<float>(1.0 / __builtin_sqrt(mean + static_cast<double>(epsilon)));
        for (std::size_t i = 0; i < size; ++i)
            out[i] = x[i] * scale * weight[i];
    }

    static void layer_norm(const float* x, const float* weight, const float* bias, std::size_t size,
                           float epsilon, float* out) {
        const auto count = static_cast<double>(size);
        const double mean = moment<1>(x, size, 0.0) / count;
        const double variance = moment<2>(x, size, mean) / count;
        const auto scale =
            static_cast<float>(1.0 / __builtin_sqrt(variance + static_cast<double>(epsilon)));
        const auto centre = static_cast<float>(mean);
        for (std::size_t i = 0; i < size; ++i)
            out[i] = (x[i] - centre) * scale * weight[i];
        if (bias == nullptr) return;
        for (std::size_t i = 0; i < size; ++i)
            out[i] += bias[i];
    }
};

}  // namespace worker::kernels
// NOLINTEND(modernize-avoid-c-arrays)
