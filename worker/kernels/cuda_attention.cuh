// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/kernels/cuda_rows.cuh"

/// Attention over paged keys and values, for one row or many.
namespace worker::kernels::cuda {

constexpr unsigned kAttentionThreads = 128;
constexpr unsigned kSplit = 512;  // tokens of a sequence that one block takes
constexpr unsigned kGroupMax = 8;  // query heads that one block serves

struct AttentionCall {
    const float* qkv = nullptr;
    const __nv_bfloat16* cache = nullptr;
    const std::uint32_t* places = nullptr;
    const std::uint32_t* tables = nullptr;
    const std::uint32_t* table_begins = nullptr;
    __nv_bfloat16* out = nullptr;  // activations
    float* parts = nullptr;        // [rows][heads][splits][head_size + 2]
    unsigned* arrived = nullptr;   // [rows][groups], all zero
    unsigned window = 0;
    unsigned deep_out = 0;
    float scale = 0;
    CacheShape shape;
};

#if defined(__CUDACC__)

/// Query heads h0 … h0 + count of one key-value head: its pieces of at most kGroupMax.
struct HeadGroup {
    unsigned kv = 0;
    unsigned first = 0;
    unsigned count = 0;
};
__device__ __forceinline__ HeadGroup head_group(const CacheShape& shape, unsigned index) {
    const unsigned each = shape.heads / shape.kv_heads;
    const unsigned pieces = (each + kGroupMax - 1) / kGroupMax;
    HeadGroup out;
    out.kv = index / pieces;
    const unsigned begin = index % pieces * kGroupMax;
    out.first = out.kv * each + begin;
    out.count = min(kGroupMax, each - begin);
    return out;
}

/// Block (row, group, split). Tiles of kAttentionThreads tokens: a thread scores one token for all
/// heads, a warp takes each head's maximum and sum, then threads own dimensions and add values.
/// Where a row has several splits, the block that ends last joins them in their order.
template <unsigned kGroup>
__global__ void __launch_bounds__(kAttentionThreads)
    attention_kernel(const __grid_constant__ AttentionCall call) {
    extern __shared__ float shared[];
    const CacheShape& s = call.shape;
    const unsigned size = s.head_size;
    float* queries = shared;                                  // [kGroup][size]
    float* scores = queries + kGroup * size;                  // [kGroup][threads]
    float* largest = scores + kGroup * kAttentionThreads;     // [kGroup]
    float* total = largest + kGroup;                          // [kGroup]
    float* shrink = total + kGroup;                           // [kGroup]
    __shared__ bool last;
    let_next_begin();
    wait_for_inputs();
    const std::size_t row = blockIdx.x;
    const HeadGroup group = head_group(s, blockIdx.y);
    const unsigned end_all = call.places[row] + 1;
    const unsigned begin_all =
        call.window > 0 && end_all > call.window ? end_all - call.window : 0;
    const unsigned split_first = begin_all / kSplit;
    const unsigned split_end = (end_all + kSplit - 1) / kSplit;
    const unsigned split = blockIdx.z;
    if (split < split_first || split >= split_end) return;
    const unsigned begin = max(begin_all, split * kSplit);
    const unsigned end = min(end_all, (split + 1) * kSplit);
    const std::uint32_t* table = call.tables + call.table_begins[row];

    const float* q = call.qkv + (row * (s.heads + 2 * s.kv_heads) + group.first) * size;
    for (unsigned i = threadIdx.x; i < kGroup * size; i += kAttentionThreads)
        queries[i] = i < group.count * size ? q[i] * call.scale : 0.0F;
    if (threadIdx.x < kGroup) {
        largest[threadIdx.x] = -INFINITY;
        total[threadIdx.x] = 0;
    }
    __syncthreads();

    // Threads own pairs of dimensions; spare threads share the heads.
    const unsigned pairs = size / 2;
    const unsigned owners = kAttentionThreads / pairs;
    const unsigned pair = threadIdx.x % pairs;
    const unsigned owner = threadIdx.x / pairs;
    float2 mixed[kGroup] = {};
    for (unsigned tile = begin; tile < end; tile += kAttentionThreads) {
        const unsigned token = tile + threadIdx.x;
        float dots[kGroup] = {};
        if (token < end) {
            const auto* key = reinterpret_cast<const __nv_bfloat162*>(
                call.cache + cache_place(s, table[token / kPageTokens], group.kv) +
                token % kPageTokens * size);
            for (unsigned d = 0; d < pairs; ++d) {
                const float2 k = __bfloat1622float2(key[d]);
#pragma unroll
                for (unsigned g = 0; g < kGroup; ++g) {
                    const float2 wanted = *reinterpret_cast<const float2*>(queries + g * size + 2 * d);
                    dots[g] += wanted.x * k.x + wanted.y * k.y;
                }
            }
        }
#pragma unroll
        for (unsigned g = 0; g < kGroup; ++g)
            scores[g * kAttentionThreads + threadIdx.x] = token < end ? dots[g] : -INFINITY;
        __syncthreads();
        const unsigned lane = threadIdx.x % 32;
        for (unsigned g = threadIdx.x / 32; g < kGroup; g += kAttentionThreads / 32) {
            float* of_head = scores + g * kAttentionThreads;
            float most = largest[g];
            for (unsigned i = lane; i < kAttentionThreads; i += 32)
                most = fmaxf(most, of_head[i]);
            most = warp_max(most);
            float sum = 0;
            for (unsigned i = lane; i < kAttentionThreads; i += 32) {
                const float weight = __expf(of_head[i] - most);
                of_head[i] = weight;
                sum += weight;
            }
            sum = warp_sum(sum);
            if (lane == 0) {
                shrink[g] = __expf(largest[g] - most);
                total[g] = total[g] * shrink[g] + sum;
                largest[g] = most;
            }
        }
        __syncthreads();
        if (owner < owners) {
#pragma unroll
            for (unsigned i = 0; i < kGroup; ++i) {
                const unsigned g = owner + i * owners;
                if (g >= kGroup) break;
                mixed[i].x *= shrink[g];
                mixed[i].y *= shrink[g];
            }
            const unsigned count = min(kAttentionThreads, end - tile);
            for (unsigned t = 0; t < count; ++t) {
                const unsigned at = tile + t;
                const auto* values = reinterpret_cast<const __nv_bfloat162*>(
                    call.cache + cache_place(s, table[at / kPageTokens], group.kv) +
                    (kPageTokens + at % kPageTokens) * size);
                const float2 v = __bfloat1622float2(values[pair]);
#pragma unroll
                for (unsigned i = 0; i < kGroup; ++i) {
                    const unsigned g = owner + i * owners;
                    if (g >= kGroup) break;
                    const float weight = scores[g * kAttentionThreads + t];
                    mixed[i].x += weight * v.x;
                    mixed[i].y += weight * v.y;
                }
            }
        }
        __syncthreads();
    }

    const bool alone = split_end - split_first == 1;
    const std::size_t part_size = size + 2;
    const auto part_of = [&](unsigned g, unsigned which) {
        return call.parts + ((row * s.heads + group.first + g) * gridDim.z + which) * part_size;
    };
    if (owner < owners) {
        for (unsigned i = 0; i < kGroup; ++i) {
            const unsigned g = owner + i * owners;
            if (g >= group.count) break;
            if (alone) {
                const std::size_t place = std::size_t{group.first + g} * size + 2 * pair;
                call.out[input_place(row, place, call.deep_out)] =
                    __float2bfloat16(mixed[i].x / total[g]);
                call.out[input_place(row, place + 1, call.deep_out)] =
                    __float2bfloat16(mixed[i].y / total[g]);
            } else {
                float* part = part_of(g, split);
                part[2 * pair] = mixed[i].x;
                part[2 * pair + 1] = mixed[i].y;
                if (pair == 0) {
                    part[size] = largest[g];
                    part[size + 1] = total[g];
                }
            }
        }
    }
    if (alone) return;
    __threadfence();
    __syncthreads();
    unsigned* arrived = call.arrived + row * gridDim.y + blockIdx.y;
    if (threadIdx.x == 0) last = atomicAdd(arrived, 1U) + 1 == split_end - split_first;
    __syncthreads();
    if (!last) return;
    __threadfence();
    if (threadIdx.x == 0) *arrived = 0;
    for (unsigned i = threadIdx.x; i < group.count * size; i += kAttentionThreads) {
        const unsigned g = i / size;
        float most = -INFINITY;
        for (unsigned p = split_first; p < split_end; ++p)
            most = fmaxf(most, __ldcg(part_of(g, p) + size));
        float sum = 0;
        float value = 0;
        for (unsigned p = split_first; p < split_end; ++p) {
            const float share = __expf(__ldcg(part_of(g, p) + size) - most);
            sum += share * __ldcg(part_of(g, p) + size + 1);
            value += share * __ldcg(part_of(g, p) + i % size);
        }
        const std::size_t place = std::size_t{group.first} * size + i;
        call.out[input_place(row, place, call.deep_out)] = __float2bfloat16(value / sum);
    }
}

#endif  // __CUDACC__

[[nodiscard]] inline unsigned attention_groups(const CacheShape& shape) {
    const unsigned each = shape.heads / shape.kv_heads;
    return shape.kv_heads * ((each + kGroupMax - 1) / kGroupMax);
}

#if defined(__CUDACC__)
/// `splits`: of the longest row.
inline void attention(const AttentionCall& call, unsigned rows, unsigned splits,
                      cudaStream_t stream) {
    const unsigned each = call.shape.heads / call.shape.kv_heads;
    const dim3 grid(rows, attention_groups(call.shape), splits);
    const auto go = [&](auto kernel, unsigned group) {
        const std::size_t floats = group * (call.shape.head_size + kAttentionThreads + 3);
        launch(kernel, grid, kAttentionThreads, floats * sizeof(float), stream, call);
    };
    if (each == 1) return go(attention_kernel<1>, 1);
    if (each == 2) return go(attention_kernel<2>, 2);
    if (each <= 4) return go(attention_kernel<4>, 4);
    return go(attention_kernel<8>, 8);
}
#endif

}  // namespace worker::kernels::cuda
