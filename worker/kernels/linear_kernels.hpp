// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/kernels/inlining.hpp"
#include "worker/kernels/kernel_table.hpp"

#include <cstddef>
#include <cstdint>

/// The products, for any vector type V. A tile is a few rows against one panel of 16 outputs, over
/// all of k: the sums of an output take the same steps in every tile, so a row's bits do not depend
/// on the rows beside it. (Integer sums are exact, so their order is free.)
// NOLINTBEGIN(modernize-avoid-c-arrays): registers
namespace worker::kernels {

template <class V>
struct LinearKernels {
    using Floats = typename V::Floats;
    using Ints = typename V::Ints;
    static constexpr std::size_t kPanel = WeightMatrix::kPanel;
    static constexpr std::size_t kGroup = WeightMatrix::kGroup;
    static constexpr std::size_t kVectors = kPanel / V::kLanes;
    static constexpr std::size_t kQuads = kGroup / 4;
    static constexpr std::size_t kLine = 64;
    /// The hardware's streams end at each 4 KiB; asking this far ahead carries over.
    static constexpr std::size_t kAhead = 1536;
    /// Panels that a core goes over with one tile of rows before the next; they stay in its L2.
    static constexpr std::size_t kBlockBytes = std::size_t{192} << 10U;

    MILLRACE_INLINE static void ahead(const std::byte* p) { __builtin_prefetch(p + kAhead, 0, 3); }

    /// Writes one row of a tile: the panel's last outputs may be past n.
    MILLRACE_INLINE static void finish(const LinearJob& job, std::size_t row, std::size_t panel,
                                       const Floats* sums) {
        const std::size_t column = panel * kPanel;
        float* to = job.y + row * job.n + column;
        if (column + kPanel <= job.n) {
            for (std::size_t v = 0; v < kVectors; ++v) {
                const std::size_t at = v * V::kLanes;
                V::store(to + at, job.bias == nullptr
                                      ? sums[v]
                                      : V::add(sums[v], V::load(job.bias + column + at)));
            }
            return;
        }
        float all[kPanel];
        for (std::size_t v = 0; v < kVectors; ++v)
            V::store(all + v * V::kLanes, sums[v]);
        for (std::size_t j = 0; column + j < job.n; ++j)
            to[j] = job.bias == nullptr ? all[j] : all[j] + job.bias[column + j];
    }

    template <std::size_t Rows>
    struct F32Tile {
        MILLRACE_INLINE static void run(const LinearJob& job, std::size_t row, std::size_t panel) {
            const std::byte* w = job.panels + panel * job.panel_bytes;
            const float* x = job.x + row * job.k;
            Floats sums[Rows][kVectors] = {};
            for (std::size_t i = 0; i < job.k; ++i, w += kLine) {
                ahead(w);
                for (std::size_t v = 0; v < kVectors; ++v) {
                    const Floats weights =
                        V::load(reinterpret_cast<const float*>(w) + v * V::kLanes);
                    for (std::size_t r = 0; r < Rows; ++r)
                        sums[r][v] = V::fma(weights, V::all(x[r * job.k + i]), sums[r][v]);
                }
            }
            for (std::size_t r = 0; r < Rows; ++r)
                finish(job, row + r, panel, sums[r]);
        }
    };

    /// Even and odd inputs have a sum each.
    template <std::size_t Rows>
    struct Bf16Tile {
        MILLRACE_INLINE static void run(const LinearJob& job, std::size_t row, std::size_t panel) {
            const std::byte* w = job.panels + panel * job.panel_bytes;
            const float* x = job.x + row * job.k;
            const Ints high = V::all_ints(static_cast<std::int32_t>(0xFFFF'0000U));
            Floats even[Rows][kVectors] = {};
            Floats odd[Rows][kVectors] = {};
            for (std::size_t i = 0; i + 1 < job.k; i += 2, w += kLine) {
                ahead(w);
                Ints pairs[kVectors];
                for (std::size_t v = 0; v < kVectors; ++v)
                    pairs[v] = V::load_ints(w + v * 4 * V::kLanes);
                for (std::size_t r = 0; r < Rows; ++r)
                    for (std::size_t v = 0; v < kVectors; ++v)
                        even[r][v] = V::fma(V::floats(V::template shift_left<16>(pairs[v])),
                                            V::all(x[r * job.k + i]), even[r][v]);
                for (std::size_t r = 0; r < Rows; ++r)
                    for (std::size_t v = 0; v < kVectors; ++v)
                        odd[r][v] = V::fma(V::floats(V::and_bits(pairs[v], high)),
                                           V::all(x[r * job.k + i + 1]), odd[r][v]);
            }
            for (std::size_t r = 0; r < Rows; ++r) {
                for (std::size_t v = 0; v < kVectors; ++v) {
                    if (job.k % 2 == 1) {
                        const Ints pairs = V::load_ints(w + v * 4 * V::kLanes);
                        even[r][v] = V::fma(V::floats(V::template shift_left<16>(pairs)),
                                            V::all(x[r * job.k + job.k - 1]), even[r][v]);
                    }
                    even[r][v] = V::add(even[r][v], odd[r][v]);
                }
                finish(job, row + r, panel, even[r]);
            }
        }
    };

    template <std::size_t Rows>
    struct Int8Tile {
        MILLRACE_INLINE static void run(const LinearJob& job, std::size_t row, std::size_t panel) {
            // One row alone needs two chains of sums to hide the latency of the products.
            constexpr std::size_t kChains = Rows == 1 ? 2 : 1;
            const QuantisedRows& in = job.quantised;
            const std::byte* w = job.panels + panel * job.panel_bytes;
            const std::byte* x = in.quads + row * in.groups * kQuads * V::kQuadBytesInt8;
            const std::size_t stride = in.groups * kQuads * V::kQuadBytesInt8;
            Floats sums[Rows][kVectors] = {};
            for (std::size_t g = 0; g < in.groups; ++g) {
                Ints dots[Rows][kVectors][kChains] = {};
                for (std::size_t r = 0; r < Rows; ++r)
                    for (std::size_t v = 0; v < kVectors; ++v)
                        dots[r][v][0] = V::all_ints(in.corrections[(row + r) * in.groups + g]);
                for (std::size_t q = 0; q < kQuads; ++q, w += kLine, x += V::kQuadBytesInt8) {
                    ahead(w);
                    typename V::Weights8 weights[kVectors];
                    for (std::size_t v = 0; v < kVectors; ++v)
                        weights[v] = V::weights8(w + v * 4 * V::kLanes);
                    for (std::size_t r = 0; r < Rows; ++r) {
                        const auto inputs = V::inputs8(x + r * stride);
                        for (std::size_t v = 0; v < kVectors; ++v) {
                            Ints& dot = dots[r][v][q % kChains];
                            dot = V::dot8(dot, weights[v], inputs);
                        }
                    }
                }
                for (std::size_t r = 0; r < Rows; ++r) {
                    const Floats scale = V::all(in.scales[(row + r) * in.groups + g]);
                    for (std::size_t v = 0; v < kVectors; ++v) {
                        Ints dot = dots[r][v][0];
                        if (kChains == 2) dot = V::add_ints(dot, dots[r][v][kChains - 1]);
                        sums[r][v] = V::fma(V::to_floats(dot), scale, sums[r][v]);
                    }
                }
            }
            for (std::size_t r = 0; r < Rows; ++r) {
                for (std::size_t v = 0; v < kVectors; ++v)
                    sums[r][v] = V::mul(
                        sums[r][v], V::load(job.weight_scales + panel * kPanel + v * V::kLanes));
                finish(job, row + r, panel, sums[r]);
            }
        }
    };

    template <std::size_t Rows>
    struct Int4Tile {
        MILLRACE_INLINE static void run(const LinearJob& job, std::size_t row, std::size_t panel) {
            const QuantisedRows& in = job.quantised;
            const std::byte* w = job.panels + panel * job.panel_bytes;
            const std::byte* x = in.quads + row * in.groups * kQuads * V::kQuadBytesInt4;
            const std::size_t stride = in.groups * kQuads * V::kQuadBytesInt4;
            Floats sums[Rows][kVectors] = {};
            for (std::size_t g = 0; g < in.groups; ++g) {
                Floats weight_scales[kVectors];
                for (std::size_t v = 0; v < kVectors; ++v)
                    weight_scales[v] = V::load_bf16(w + v * 2 * V::kLanes);
                w += 2 * kPanel;
                Ints dots[Rows][kVectors][2] = {};
                for (std::size_t s = 0; s < kQuads / 2; ++s, w += kLine) {
                    ahead(w);
                    typename V::Weights4 weights[kVectors];
                    for (std::size_t v = 0; v < kVectors; ++v)
                        weights[v] = V::weights4(w + v * 4 * V::kLanes);
                    for (std::size_t r = 0; r < Rows; ++r) {
                        const auto low = V::inputs4(x + r * stride);
                        const auto high = V::inputs4(x + r * stride + V::kQuadBytesInt4);
                        for (std::size_t v = 0; v < kVectors; ++v) {
                            // A lone row has two chains, as above.
                            Ints& second = dots[r][v][Rows == 1 ? 1 : 0];
                            dots[r][v][0] = V::dot4(dots[r][v][0], weights[v].low, low);
                            second = V::dot4(second, weights[v].high, high);
                        }
                    }
                    x += 2 * V::kQuadBytesInt4;
                }
                for (std::size_t r = 0; r < Rows; ++r) {
                    const std::size_t at = (row + r) * in.groups + g;
                    const Floats scale = V::all(in.scales[at]);
                    const Ints correction = V::all_ints(in.corrections[at]);
                    for (std::size_t v = 0; v < kVectors; ++v) {
                        Ints dot = V::add_ints(V::total4(dots[r][v][0]), correction);
                        if (Rows == 1) dot = V::add_ints(dot, V::total4(dots[r][v][1]));
                        sums[r][v] =
                            V::fma(V::mul(V::to_floats(dot), weight_scales[v]), scale, sums[r][v]);
                    }
                }
            }
            for (std::size_t r = 0; r < Rows; ++r)
                finish(job, row + r, panel, sums[r]);
        }
    };

    /// `rows` rows, at most Rows, from `row` on, against the panels [begin, end).
    template <template <std::size_t> class Tile, std::size_t Rows>
    MILLRACE_INLINE static void tiles(const LinearJob& job, std::size_t row, std::size_t rows,
                                      std::size_t begin, std::size_t end) {
        if constexpr (Rows > 1) {
            if (rows < Rows) return tiles<Tile, Rows - 1>(job, row, rows, begin, end);
        }
        for (std::size_t panel = begin; panel < end; ++panel)
            Tile<Rows>::run(job, row, panel);
    }

    template <template <std::size_t> class Tile, std::size_t Rows>
    static void blocks(const LinearJob& job, std::size_t begin, std::size_t end) {
        std::size_t block = kBlockBytes / job.panel_bytes;
        if (block == 0) block = 1;
        for (std::size_t from = begin; from < end; from += block) {
            const std::size_t to = end - from < block ? end : from + block;
            for (std::size_t row = 0; row < job.rows; row += Rows) {
                const std::size_t left = job.rows - row;
                tiles<Tile, Rows>(job, row, left < Rows ? left : Rows, from, to);
            }
        }
    }

    static void linear(const LinearJob& job, std::size_t begin, std::size_t end) {
        switch (job.format) {
            case WeightFormat::kF32:
                return blocks<F32Tile, V::kRowsFloat>(job, begin, end);
            case WeightFormat::kBf16:
                return blocks<Bf16Tile, V::kRowsBf16>(job, begin, end);
            case WeightFormat::kInt8:
                return blocks<Int8Tile, V::kRowsInt>(job, begin, end);
            case WeightFormat::kInt4:
                return blocks<Int4Tile, V::kRowsInt>(job, begin, end);
        }
    }

    /// 32 inputs: nearest of 127 steps either way of the largest magnitude; returns their sum.
    MILLRACE_INLINE static std::int32_t quantise_group(const float* x, float* scale,
                                                       std::int32_t* levels) {
        std::uint32_t largest = 0;
        for (std::size_t i = 0; i < kGroup; ++i) {
            const std::uint32_t magnitude = __builtin_bit_cast(std::uint32_t, x[i]) & 0x7FFF'FFFFU;
            largest = magnitude > largest ? magnitude : largest;
        }
        // The bits of magnitudes are in the order of their values, infinity and NaN above all.
        const bool finite = largest < 0x7F80'0000U;
        const float magnitude = __builtin_bit_cast(float, largest);
        const bool usable = finite && magnitude > 1e-30F;
        const float steps = usable ? 127.0F / magnitude : 0.0F;
        *scale = usable ? magnitude / 127.0F : (finite ? 0.0F : __builtin_nanf(""));
        constexpr float kRounder = 12582912.0F;  // 1.5 · 2^23: leaves whole numbers
        std::int32_t sum = 0;
        for (std::size_t i = 0; i < kGroup; ++i) {
            const float rounded = x[i] * steps + kRounder;
            const std::int32_t level = __builtin_bit_cast(std::int32_t, rounded) - 0x4B40'0000;
            levels[i] = usable ? level : 0;
            sum += levels[i];
        }
        return sum;
    }

    static void quantise(const float* x, std::size_t row, std::size_t k, WeightFormat format,
                         const QuantisedRows& to) {
        const bool int8 = format == WeightFormat::kInt8;
        std::byte* quads = to.quads + row * to.groups * kQuads * to.quad_bytes;
        float* scales = to.scales + row * to.groups;
        std::int32_t* corrections = to.corrections + row * to.groups;
        for (std::size_t g = 0; g < to.groups; ++g) {
            float rest[kGroup] = {};
            const float* from = x + g * kGroup;
            if ((g + 1) * kGroup > k) {
                __builtin_memcpy(rest, from, (k - g * kGroup) * sizeof(float));
                from = rest;
            }
            std::int32_t levels[kGroup];
            const std::int32_t sum = quantise_group(from, scales + g, levels);
            corrections[g] = (int8 ? -128 : -8) * sum;
            for (std::size_t q = 0; q < kQuads; ++q, quads += to.quad_bytes) {
                if (int8) {
                    V::put_quad8(levels + 4 * q, quads);
                } else {
                    for (std::size_t i = 0; i < 4; ++i)
                        quads[i] = static_cast<std::byte>(levels[4 * q + i]);
                }
            }
        }
    }
};

}  // namespace worker::kernels
// NOLINTEND(modernize-avoid-c-arrays)
