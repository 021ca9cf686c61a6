// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/kernels/inlining.hpp"
#include "worker/kernels/row_kernels.hpp"
#include "worker/kernels/self_attention.hpp"

#include <cstddef>

/// Attention with its gradient. A head's numbers are first copied side by side, rows filled up
/// with zeros to whole vectors and tiles, so that one product serves all seven.
// NOLINTBEGIN(modernize-avoid-c-arrays): registers
namespace worker::kernels {

/// Rows and columns of the copies are multiples of this, whatever the vectors.
inline constexpr std::size_t kLanesMax = 16;
/// Rows of scores that the way back holds at a time.
inline constexpr std::size_t kAttentionRows = 64;

MILLRACE_INLINE constexpr std::size_t padded_to_lanes(std::size_t count) {
    return (count + kLanesMax - 1) / kLanesMax * kLanesMax;
}

template <class V>
struct TrainingKernels {
    using Floats = typename V::Floats;
    using Rows = RowKernels<V>;
    static constexpr std::size_t kTile = V::kRowsFloat;
    static constexpr std::size_t kVectors = 3;

    /// The left factor: element (row, step) is at[row · row_stride + step · step_stride].
    struct Left {
        const float* at;
        std::size_t row_stride;
        std::size_t step_stride;
    };
    /// The right factor and the result: rows of whole vectors.
    struct Right {
        const float* at;
        std::size_t row_stride;
    };
    struct Out {
        float* at;
        std::size_t row_stride;
    };

    template <std::size_t Count, bool Add>
    MILLRACE_INLINE static void tile(const Left& a, const Right& b, std::size_t steps,
                                     const Out& c) {
        Floats sums[kTile][Count];
        for (std::size_t r = 0; r < kTile; ++r)
            for (std::size_t v = 0; v < Count; ++v)
                sums[r][v] = Add ? V::load(c.at + r * c.row_stride + v * V::kLanes) : V::all(0.0F);
        const float* left = a.at;
        const float* right = b.at;
        for (std::size_t p = 0; p < steps; ++p, left += a.step_stride, right += b.row_stride) {
            Floats columns[Count];
            for (std::size_t v = 0; v < Count; ++v)
                columns[v] = V::load(right + v * V::kLanes);
            for (std::size_t r = 0; r < kTile; ++r) {
                const Floats factor = V::all(left[r * a.row_stride]);
                for (std::size_t v = 0; v < Count; ++v)
                    sums[r][v] = V::fma(factor, columns[v], sums[r][v]);
            }
        }
        for (std::size_t r = 0; r < kTile; ++r)
            for (std::size_t v = 0; v < Count; ++v)
                V::store(c.at + r * c.row_stride + v * V::kLanes, sums[r][v]);
    }

    /// kTile rows of c = a · b, or c += a · b; `columns` is a multiple of the lanes.
    template <bool Add>
    MILLRACE_INLINE static void product(const Left& a, const Right& b, std::size_t steps,
                                        const Out& c, std::size_t columns) {
        std::size_t at = 0;
        for (; at + kVectors * V::kLanes <= columns; at += kVectors * V::kLanes)
            tile<kVectors, Add>(a, {b.at + at, b.row_stride}, steps, {c.at + at, c.row_stride});
        if (at + 2 * V::kLanes <= columns) {
            tile<2, Add>(a, {b.at + at, b.row_stride}, steps, {c.at + at, c.row_stride});
        } else if (at < columns) {
            tile<1, Add>(a, {b.at + at, b.row_stride}, steps, {c.at + at, c.row_stride});
        }
    }

    /// The padded sizes of a head's copies.
    struct Padded {
        explicit Padded(const HeadShape& shape)
            : tokens(padded_to_lanes(shape.tokens)),
              size((shape.head_size + V::kLanes - 1) / V::kLanes * V::kLanes) {}
        std::size_t tokens;
        std::size_t size;
    };

    /// Hands out pieces of the scratch.
    struct Scratch {
        float* next;
        MILLRACE_INLINE float* take(std::size_t count) {
            float* out = next;
            next += count;
            return out;
        }
    };

    /// [tokens][size]
    MILLRACE_INLINE static float* rows(const float* from, std::size_t stride,
                                       const HeadShape& shape, const Padded& padded,
                                       Scratch& scratch) {
        float* out = scratch.take(padded.tokens * padded.size);
        for (std::size_t t = 0; t < padded.tokens; ++t) {
            float* row = out + t * padded.size;
            std::size_t i = 0;
            if (t < shape.tokens)
                for (; i < shape.head_size; ++i)
                    row[i] = from[t * stride + i];
            for (; i < padded.size; ++i)
                row[i] = 0.0F;
        }
        return out;
    }

    /// [head_size][tokens]
    MILLRACE_INLINE static float* columns(const float* from, std::size_t stride,
                                          const HeadShape& shape, const Padded& padded,
                                          Scratch& scratch) {
        float* out = scratch.take(padded.tokens * padded.size);
        for (std::size_t i = 0; i < shape.head_size; ++i) {
            float* row = out + i * padded.tokens;
            for (std::size_t t = 0; t < shape.tokens; ++t)
                row[t] = from[t * stride + i];
            for (std::size_t t = shape.tokens; t < padded.tokens; ++t)
                row[t] = 0.0F;
        }
        return out;
    }

    /// Tokens that token `t` sees.
    MILLRACE_INLINE static std::size_t seen(const HeadShape& shape, std::size_t t) {
        return shape.sight == Sight::kBackward && t < shape.tokens ? t + 1 : shape.tokens;
    }
    /// Columns of scores that the tile of rows up to `last` needs, in whole vectors.
    MILLRACE_INLINE static std::size_t score_columns(const HeadShape& shape, std::size_t last) {
        return (seen(shape, last) + V::kLanes - 1) / V::kLanes * V::kLanes;
    }

    /// scores[0, count) become e^(scale · score − largest), then zeros up to `columns`; gives their
    /// sum.
    MILLRACE_INLINE static float weigh(float* scores, std::size_t count, std::size_t columns,
                                       float scale, float largest) {
        for (std::size_t i = count; i < columns; ++i)
            scores[i] = -__builtin_inff();
        Floats total = V::all(0.0F);
        const Floats shift = V::all(-largest);
        for (std::size_t i = 0; i < columns; i += V::kLanes) {
            const Floats weight =
                Rows::exponential(V::fma(V::load(scores + i), V::all(scale), shift));
            V::store(scores + i, weight);
            total = V::add(total, weight);
        }
        return Rows::sum(total);
    }

    static void self_attention(const HeadShape& shape, const HeadInputs& in, float* out,
                               float* statistics, float* scratch_memory) {
        const Padded padded(shape);
        Scratch scratch{scratch_memory};
        const float* q = rows(in.query, shape.row, shape, padded, scratch);
        const float* k = columns(in.key, shape.row, shape, padded, scratch);
        const float* v = rows(in.value, shape.row, shape, padded, scratch);
        float* scores = scratch.take(kTile * padded.tokens);
        float* mixed = scratch.take(kTile * padded.size);
        for (std::size_t begin = 0; begin < shape.tokens; begin += kTile) {
            const std::size_t width = score_columns(shape, begin + kTile - 1);
            product<false>({q + begin * padded.size, padded.size, 1}, {k, padded.tokens},
                           shape.head_size, {scores, padded.tokens}, width);
            float shares[kTile];
            for (std::size_t r = 0; r < kTile; ++r) {
                float* row = scores + r * padded.tokens;
                const std::size_t count = seen(shape, begin + r);
                const float largest = shape.scale * Rows::highest(row, count);
                shares[r] = 1.0F / weigh(row, count, width, shape.scale, largest);
                if (begin + r >= shape.tokens) continue;
                statistics[begin + r] = largest;
                statistics[shape.tokens + begin + r] = shares[r];
            }
            product<false>({scores, padded.tokens, 1}, {v, padded.size},
                           seen(shape, begin + kTile - 1), {mixed, padded.size}, padded.size);
            for (std::size_t r = 0; r < kTile && begin + r < shape.tokens; ++r)
                for (std::size_t i = 0; i < shape.head_size; ++i)
                    out[(begin + r) * shape.out_row + i] = mixed[r * padded.size + i] * shares[r];
        }
    }

    /// What the way back reads of a head.
    struct Back {
        const float* q;
        const float* k;
        const float* keys;    // transposed
        const float* values;  // transposed
        const float* g;       // the output's gradient
        float* weights;       // [kAttentionRows][tokens]
        float* slopes;        // [kAttentionRows][tokens]: gradients of the scores
    };

    /// Weights and slopes of the rows [begin, begin + kTile); `place` is where in the block.
    MILLRACE_INLINE static void slopes_of(const HeadShape& shape, const Padded& padded,
                                          const Back& b, const float* statistics, std::size_t begin,
                                          std::size_t place) {
        const std::size_t width = score_columns(shape, begin + kTile - 1);
        float* weights = b.weights + place * padded.tokens;
        float* slopes = b.slopes + place * padded.tokens;
        product<false>({b.q + begin * padded.size, padded.size, 1}, {b.keys, padded.tokens},
                       shape.head_size, {weights, padded.tokens}, width);
        product<false>({b.g + begin * padded.size, padded.size, 1}, {b.values, padded.tokens},
                       shape.head_size, {slopes, padded.tokens}, width);
        for (std::size_t r = 0; r < kTile; ++r) {
            float* weight = weights + r * padded.tokens;
            float* slope = slopes + r * padded.tokens;
            const std::size_t t = begin + r;
            const bool real = t < shape.tokens;
            weigh(weight, real ? seen(shape, t) : 0, width, shape.scale,
                  real ? statistics[t] : 0.0F);
            const Floats share = V::all(real ? statistics[shape.tokens + t] : 0.0F);
            Floats pulls = V::all(0.0F);
            for (std::size_t i = 0; i < width; i += V::kLanes) {
                const Floats w = V::mul(V::load(weight + i), share);
                V::store(weight + i, w);
                pulls = V::fma(w, V::load(slope + i), pulls);
            }
            const Floats pull = V::all(Rows::sum(pulls));
            const Floats scale = V::all(shape.scale);
            for (std::size_t i = 0; i < width; i += V::kLanes)
                V::store(slope + i, V::mul(V::mul(V::load(weight + i), scale),
                                           V::sub(V::load(slope + i), pull)));
        }
    }

    /// key_sums += slopesᵀ · q and value_sums += weightsᵀ · g over the block's rows.
    MILLRACE_INLINE static void gather(const HeadShape& shape, const Padded& padded, const Back& b,
                                       std::size_t begin, std::size_t end, float* key_sums,
                                       float* value_sums) {
        const std::size_t last = seen(shape, end - 1);
        for (std::size_t t = 0; t < last; t += kTile) {
            // Rows before t do not see it.
            const std::size_t first = shape.sight == Sight::kBackward && t > begin ? t : begin;
            const std::size_t from = (first - begin) * padded.tokens + t;
            const std::size_t steps = end - first;
            product<true>({b.slopes + from, 1, padded.tokens},
                          {b.q + first * padded.size, padded.size}, steps,
                          {key_sums + t * padded.size, padded.size}, padded.size);
            product<true>({b.weights + from, 1, padded.tokens},
                          {b.g + first * padded.size, padded.size}, steps,
                          {value_sums + t * padded.size, padded.size}, padded.size);
        }
    }

    MILLRACE_INLINE static void write(const float* from, std::size_t count, float* to,
                                      const HeadShape& shape, const Padded& padded) {
        for (std::size_t t = 0; t < count; ++t)
            for (std::size_t i = 0; i < shape.head_size; ++i)
                to[t * shape.row + i] = from[t * padded.size + i];
    }

    static void self_attention_gradient(const HeadShape& shape, const HeadInputs& in,
                                        const float* statistics, const float* out_gradient,
                                        const HeadGradients& gradients, float* scratch_memory) {
        const Padded padded(shape);
        Scratch scratch{scratch_memory};
        Back b{};
        b.q = rows(in.query, shape.row, shape, padded, scratch);
        b.k = rows(in.key, shape.row, shape, padded, scratch);
        b.keys = columns(in.key, shape.row, shape, padded, scratch);
        b.values = columns(in.value, shape.row, shape, padded, scratch);
        b.g = rows(out_gradient, shape.out_row, shape, padded, scratch);
        b.weights = scratch.take(kAttentionRows * padded.tokens);
        b.slopes = scratch.take(kAttentionRows * padded.tokens);
        float* query_rows = scratch.take(kTile * padded.size);
        float* key_sums = scratch.take(padded.tokens * padded.size);
        float* value_sums = scratch.take(padded.tokens * padded.size);
        for (std::size_t i = 0; i < padded.tokens * padded.size; ++i)
            key_sums[i] = value_sums[i] = 0.0F;
        for (std::size_t begin = 0; begin < shape.tokens; begin += kAttentionRows) {
            const std::size_t end =
                shape.tokens - begin < kAttentionRows ? shape.tokens : begin + kAttentionRows;
            for (std::size_t t = begin; t < end; t += kTile) {
                slopes_of(shape, padded, b, statistics, t, t - begin);
                product<false>({b.slopes + (t - begin) * padded.tokens, padded.tokens, 1},
                               {b.k, padded.size}, seen(shape, t + kTile - 1),
                               {query_rows, padded.size}, padded.size);
                write(query_rows, end - t < kTile ? end - t : kTile,
                      gradients.query + t * shape.row, shape, padded);
            }
            gather(shape, padded, b, begin, end, key_sums, value_sums);
        }
        write(key_sums, shape.tokens, gradients.key, shape, padded);
        write(value_sums, shape.tokens, gradients.value, shape, padded);
    }
};

}  // namespace worker::kernels
// NOLINTEND(modernize-avoid-c-arrays)
