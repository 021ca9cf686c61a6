// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/kernels/inlining.hpp"
#include "worker/kernels/kernel_table.hpp"
#include "worker/kernels/row_kernels.hpp"

#include <cstddef>

/// One pass over the tokens with a running maximum, 64 at a time, counted from the sequence's
/// first: the steps depend on the row's own range alone.
// NOLINTBEGIN(modernize-avoid-c-arrays): registers
namespace worker::kernels {

template <class V>
struct AttentionKernels {
    using Floats = typename V::Floats;
    using Rows = RowKernels<V>;
    static constexpr std::size_t kTokens = KvShape::kPageTokens;
    static constexpr std::size_t kVectors = kTokens / V::kLanes;
    static constexpr std::size_t kPages = 4;
    static constexpr std::size_t kBlock = kPages * kTokens;

    template <KvType Type>
    MILLRACE_INLINE static Floats load(const std::byte* from, std::size_t index) {
        if constexpr (Type == KvType::kF32) {
            return V::load(reinterpret_cast<const float*>(from) + index);
        } else {
            return V::load_bf16(from + 2 * index);
        }
    }

    /// scores[h][at + token] = scale · query h · key for one page; a lane each token.
    template <KvType Type, std::size_t Heads>
    MILLRACE_INLINE static void score(const AttentionJob& job, std::size_t head,
                                      const std::byte* keys, std::size_t at,
                                      float (&scores)[Heads][kBlock]) {
        const float* query = job.query + head * job.head_size;
        Floats even[Heads][kVectors] = {};
        Floats odd[Heads][kVectors] = {};
        std::size_t i = 0;
        for (; i + 1 < job.head_size; i += 2)
            for (std::size_t v = 0; v < kVectors; ++v) {
                const Floats a = load<Type>(keys, i * kTokens + v * V::kLanes);
                const Floats b = load<Type>(keys, (i + 1) * kTokens + v * V::kLanes);
                for (std::size_t h = 0; h < Heads; ++h) {
                    const float* q = query + h * job.head_size + i;
                    even[h][v] = V::fma(a, V::all(q[0]), even[h][v]);
                    odd[h][v] = V::fma(b, V::all(q[1]), odd[h][v]);
                }
            }
        for (std::size_t h = 0; h < Heads; ++h)
            for (std::size_t v = 0; v < kVectors; ++v) {
                if (i < job.head_size)
                    even[h][v] = V::fma(load<Type>(keys, i * kTokens + v * V::kLanes),
                                        V::all(query[h * job.head_size + i]), even[h][v]);
                V::store(scores[h] + at + v * V::kLanes,
                         V::mul(V::add(even[h][v], odd[h][v]), V::all(job.scale)));
            }
    }

    /// The softmax of the scores seen so far: their maximum, and the sum of e^(score − maximum).
    struct Running {
        float highest = -__builtin_inff();
        float total = 0.0F;
    };

    /// Turns scores into weights relative to the new maximum; returns what older weights shrink by.
    MILLRACE_INLINE static float weigh(float (&scores)[kBlock], std::size_t low, std::size_t high,
                                       Running& running) {
        // Places that the row does not see hold anything.
        for (std::size_t t = 0; t < low; ++t)
            scores[t] = -__builtin_inff();
        for (std::size_t t = high; t < kBlock; ++t)
            scores[t] = -__builtin_inff();
        float highest = Rows::highest(scores, kBlock);
        if (running.highest > highest) highest = running.highest;
        const float shrink = Rows::first(Rows::exponential(V::all(running.highest - highest)));
        Floats total = V::all(0.0F);
        for (std::size_t t = 0; t < kBlock; t += V::kLanes) {
            const Floats weights = Rows::exponential(V::sub(V::load(scores + t), V::all(highest)));
            V::store(scores + t, weights);
            total = V::add(total, weights);
        }
        running.highest = highest;
        running.total = running.total * shrink + Rows::sum(total);
        return shrink;
    }

    /// sums[h] = sums[h] · shrink[h] + Σ weight · value, for Count vectors of the head.
    template <KvType Type, std::size_t Heads, std::size_t Count>
    MILLRACE_INLINE static void mix(const AttentionJob& job, const std::byte* const* pages,
                                    std::size_t at, std::size_t low, std::size_t high,
                                    const float (&weights)[Heads][kBlock],
                                    const float (&shrink)[Heads]) {
        Floats sums[Heads][Count];
        for (std::size_t h = 0; h < Heads; ++h)
            for (std::size_t c = 0; c < Count; ++c)
                sums[h][c] = V::mul(V::load(job.scratch + h * job.padded_head + at + c * V::kLanes),
                                    V::all(shrink[h]));
        for (std::size_t t = low; t < high; ++t) {
            const std::byte* values = pages[t / kTokens] + job.value_bytes;
            const std::size_t from = t % kTokens * job.padded_head + at;
            for (std::size_t c = 0; c < Count; ++c) {
                const Floats value = load<Type>(values, from + c * V::kLanes);
                for (std::size_t h = 0; h < Heads; ++h)
                    sums[h][c] = V::fma(value, V::all(weights[h][t]), sums[h][c]);
            }
        }
        for (std::size_t h = 0; h < Heads; ++h)
            for (std::size_t c = 0; c < Count; ++c)
                V::store(job.scratch + h * job.padded_head + at + c * V::kLanes, sums[h][c]);
    }

    template <KvType Type, std::size_t Heads>
    static void heads(const AttentionJob& job, std::size_t head) {
        Running running[Heads];
        for (std::size_t i = 0; i < Heads * job.padded_head; ++i)
            job.scratch[i] = 0.0F;
        for (std::size_t start = job.begin / kBlock * kBlock; start < job.end; start += kBlock) {
            const std::size_t low = job.begin > start ? job.begin - start : 0;
            const std::size_t high = job.end - start < kBlock ? job.end - start : kBlock;
            const std::byte* const* pages = job.pages + start / kTokens;
            float weights[Heads][kBlock];
            float shrink[Heads];
            for (std::size_t page = low / kTokens; page * kTokens < high; ++page)
                score<Type, Heads>(job, head, pages[page] + job.key_bytes, page * kTokens, weights);
            for (std::size_t h = 0; h < Heads; ++h)
                shrink[h] = weigh(weights[h], low, high, running[h]);
            std::size_t at = 0;
            for (; at + 2 * kTokens <= job.padded_head; at += 2 * kTokens)
                mix<Type, Heads, 2 * kVectors>(job, pages, at, low, high, weights, shrink);
            if (at < job.padded_head)
                mix<Type, Heads, kVectors>(job, pages, at, low, high, weights, shrink);
        }
        for (std::size_t h = 0; h < Heads; ++h)
            for (std::size_t i = 0; i < job.head_size; ++i)
                job.out[(head + h) * job.head_size + i] =
                    job.scratch[h * job.padded_head + i] / running[h].total;
    }

    template <KvType Type>
    MILLRACE_INLINE static void all_heads(const AttentionJob& job) {
        std::size_t head = 0;
        for (; head + 2 <= job.queries; head += 2)
            heads<Type, 2>(job, head);
        if (head < job.queries) heads<Type, 1>(job, head);
    }

    static void attention(const AttentionJob& job) {
        if (job.type == KvType::kF32) {
            all_heads<KvType::kF32>(job);
        } else {
            all_heads<KvType::kBf16>(job);
        }
    }
};

}  // namespace worker::kernels
// NOLINTEND(modernize-avoid-c-arrays)
