// SPDX-License-Identifier: Apache-2.0
#include "worker/model/kernels.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>

// Compiled with -O3 in every preset; each function exists per instruction set, chosen at run time.
#define MILLRACE_CLONES \
    __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#define MILLRACE_INLINE inline __attribute__((always_inline))

namespace worker::model::kernels {

namespace {

using Vector = float __attribute__((vector_size(64), aligned(4), may_alias));
constexpr std::size_t kLanes = 16;

MILLRACE_INLINE const Vector& lanes_at(const float* p) {
    return *reinterpret_cast<const Vector*>(p);
}
MILLRACE_INLINE Vector& lanes_at(float* p) {
    return *reinterpret_cast<Vector*>(p);
}

/// `Rows` rows against one panel: each output is one chain over k, in order.
template <std::size_t Rows>
MILLRACE_INLINE void panel_product(const float* a, std::size_t k, const float* panel, float* sums) {
    Vector low[Rows];   // NOLINT(modernize-avoid-c-arrays): registers
    Vector high[Rows];  // NOLINT(modernize-avoid-c-arrays)
    for (std::size_t r = 0; r < Rows; ++r) {
        low[r] = Vector{};
        high[r] = Vector{};
    }
    for (std::size_t i = 0; i < k; ++i) {
        const Vector b0 = lanes_at(panel + i * PackedMatrix::kPanel);
        const Vector b1 = lanes_at(panel + i * PackedMatrix::kPanel + kLanes);
        for (std::size_t r = 0; r < Rows; ++r) {
            low[r] += a[r * k + i] * b0;
            high[r] += a[r * k + i] * b1;
        }
    }
    for (std::size_t r = 0; r < Rows; ++r) {
        lanes_at(sums + r * PackedMatrix::kPanel) = low[r];
        lanes_at(sums + r * PackedMatrix::kPanel + kLanes) = high[r];
    }
}

/// e^x for x ≤ 0 (softmax) and moderate x, relative error below 2e-7 (Cephes' polynomial).
MILLRACE_INLINE float exponential(float x) {
    const float clamped = std::max(x, -87.0F);
    const float n = std::floor(clamped * 1.44269504088896341F + 0.5F);
    const float r = (clamped - n * 0.693359375F) + n * 2.12194440e-4F;
    float p = 1.9875691500e-4F;
    p = p * r + 1.3981999507e-3F;
    p = p * r + 8.3334519073e-3F;
    p = p * r + 4.1665795894e-2F;
    p = p * r + 1.6666665459e-1F;
    p = p * r + 5.0000001201e-1F;
    p = p * r * r + r + 1.0F;
    const auto power = static_cast<std::uint32_t>(static_cast<std::int32_t>(n) + 127) << 23U;
    return p * std::bit_cast<float>(power);
}

MILLRACE_INLINE float sum_of(const Vector& v) {
    std::array<float, kLanes> lanes{};
    for (std::size_t i = 0; i < kLanes; ++i)
        lanes[i] = v[i];
    for (std::size_t half = kLanes / 2; half > 0; half /= 2)
        for (std::size_t i = 0; i < half; ++i)
            lanes[i] += lanes[i + half];
    return lanes[0];
}

MILLRACE_INLINE float dot(const float* a, const float* b, std::size_t size) {
    Vector sums{};
    std::size_t i = 0;
    for (; i + kLanes <= size; i += kLanes)
        sums += lanes_at(a + i) * lanes_at(b + i);
    float total = sum_of(sums);
    for (; i < size; ++i)
        total += a[i] * b[i];
    return total;
}

}  // namespace

PackedMatrix::PackedMatrix(std::size_t k, std::size_t n)
    : k_(k), n_(n), panels_((n + kPanel - 1) / kPanel * kPanel * k) {}

float& PackedMatrix::at(std::size_t row, std::size_t column) {
    return panels_[(column / kPanel * k_ + row) * kPanel + column % kPanel];
}

PackedMatrix PackedMatrix::from_rows(const float* values, std::size_t k, std::size_t n) {
    PackedMatrix out(k, n);
    for (std::size_t row = 0; row < k; ++row)
        for (std::size_t column = 0; column < n; ++column)
            out.at(row, column) = values[row * n + column];
    return out;
}

PackedMatrix PackedMatrix::from_columns(const float* values, std::size_t k, std::size_t n) {
    PackedMatrix out(k, n);
    for (std::size_t column = 0; column < n; ++column)
        for (std::size_t row = 0; row < k; ++row)
            out.at(row, column) = values[column * k + row];
    return out;
}

MILLRACE_CLONES void matmul(const float* a, std::size_t rows, const PackedMatrix& b,
                            const float* bias, float* out) {
    constexpr std::size_t kBlock = 4;
    constexpr std::size_t kPanel = PackedMatrix::kPanel;
    const std::size_t k = b.k();
    const std::size_t n = b.n();
    std::array<float, kBlock * kPanel> sums;
    for (std::size_t column = 0; column < n; column += kPanel) {
        const float* panel = b.panels() + column * k;
        const std::size_t width = std::min(kPanel, n - column);
        for (std::size_t row = 0; row < rows;) {
            const std::size_t block = rows - row >= kBlock ? kBlock : 1;
            if (block == kBlock) {
                panel_product<kBlock>(a + row * k, k, panel, sums.data());
            } else {
                panel_product<1>(a + row * k, k, panel, sums.data());
            }
            for (std::size_t r = 0; r < block; ++r) {
                float* to = out + (row + r) * n + column;
                const float* from = sums.data() + r * kPanel;
                for (std::size_t j = 0; j < width; ++j)
                    to[j] = bias != nullptr ? from[j] + bias[column + j] : from[j];
            }
            row += block;
        }
    }
}

MILLRACE_CLONES void layer_norm(const float* x, const float* weight, const float* bias,
                                std::size_t size, float* out) {
    double sum = 0;
    for (std::size_t i = 0; i < size; ++i)
        sum += static_cast<double>(x[i]);
    const double mean = sum / static_cast<double>(size);
    double squares = 0;
    for (std::size_t i = 0; i < size; ++i) {
        const double d = static_cast<double>(x[i]) - mean;
        squares += d * d;
    }
    const auto scale =
        static_cast<float>(1.0 / std::sqrt(squares / static_cast<double>(size) + 1e-5));
    const auto centre = static_cast<float>(mean);
    for (std::size_t i = 0; i < size; ++i)
        out[i] = (x[i] - centre) * scale * weight[i] + bias[i];
}

MILLRACE_CLONES void gelu(float* x, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
        // erf by Abramowitz and Stegun 7.1.26, error below 1.5e-7.
        const float v = x[i] * 0.70710678118654752F;
        const float magnitude = std::fabs(v);
        const float t = 1.0F / (1.0F + 0.3275911F * magnitude);
        float p = 1.061405429F;
        p = p * t - 1.453152027F;
        p = p * t + 1.421413741F;
        p = p * t - 0.284496736F;
        p = p * t + 0.254829592F;
        const float tail = p * t * exponential(-magnitude * magnitude);
        const float erf = v < 0.0F ? tail - 1.0F : 1.0F - tail;
        x[i] = 0.5F * x[i] * (1.0F + erf);
    }
}

MILLRACE_CLONES void add(float* to, const float* x, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i)
        to[i] += x[i];
}

MILLRACE_CLONES void attend(const float* query, const AttentionView& view, float* scores,
                            float* out) {
    const auto scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(view.size)));
    float highest = -INFINITY;
    for (std::size_t t = 0; t < view.count; ++t) {
        scores[t] = scale * dot(query, view.keys + t * view.stride, view.size);
        highest = std::max(highest, scores[t]);
    }
    for (std::size_t t = 0; t < view.count; ++t)
        scores[t] = exponential(scores[t] - highest);
    float total = 0;
    for (std::size_t t = 0; t < view.count; ++t)
        total += scores[t];
    const float share = 1.0F / total;
    std::fill(out, out + view.size, 0.0F);
    for (std::size_t t = 0; t < view.count; ++t) {
        const float weight = scores[t] * share;
        const float* value = view.values + t * view.stride;
        for (std::size_t i = 0; i < view.size; ++i)
            out[i] += weight * value[i];
    }
}

}  // namespace worker::model::kernels
