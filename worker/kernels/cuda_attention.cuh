// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/kernels/cuda_rows.cuh"

/// Attention over paged keys and values on tensor cores, for one row or many.
///
/// The 16-row side of `mma.m16n8k16` holds the query heads that share keys, of as many neighbouring
/// rows of a sequence as fit. A warp takes 64 tokens: scores, their maximum, weights, weighted
/// values. Results of such tiles are joined one after the other within a split of 512 tokens, then
/// splits are, so a row's bits do not depend on its neighbours. (After FlashAttention-2, Dao 2023,
/// and Flash-Decoding.)
namespace worker::kernels::cuda {

constexpr unsigned kAttentionWarps = 4;
constexpr unsigned kAttentionThreads = kAttentionWarps * 32;
constexpr unsigned kTileTokens = 64;  // a warp's
constexpr unsigned kSplit = 512;      // a block's: a multiple of the warps' tiles
constexpr unsigned kSide = 16;        // rows of the instruction

/// Neighbouring rows of one sequence whose positions follow each other.
struct RowTile {
    std::uint32_t first = 0;
    std::uint32_t count = 0;
};

struct AttentionCall {
    const float* qkv = nullptr;
    const __nv_bfloat16* cache = nullptr;
    const std::uint32_t* places = nullptr;
    const std::uint32_t* tables = nullptr;
    const std::uint32_t* table_begins = nullptr;
    const RowTile* tiles = nullptr;
    __nv_bfloat16* out = nullptr;  // activations
    float* parts = nullptr;        // [rows][heads][splits][head_size + 2]
    unsigned* arrived = nullptr;   // [tiles][groups], all zero
    unsigned window = 0;
    unsigned deep_out = 0;
    float scale = 0;  // of scores, times log2(e)
    CacheShape shape;
};

/// Query heads that a block serves: a power of two up to 8; more heads of a key take more blocks.
[[nodiscard]] constexpr unsigned group_size(const CacheShape& shape) {
    const unsigned each = shape.heads / shape.kv_heads;
    unsigned size = 1;
    while (size < each && size < 8)
        size *= 2;
    return size;
}
[[nodiscard]] constexpr unsigned attention_groups(const CacheShape& shape) {
    const unsigned each = shape.heads / shape.kv_heads;
    return shape.kv_heads * ((each + group_size(shape) - 1) / group_size(shape));
}
/// Rows of a tile, at most.
[[nodiscard]] constexpr unsigned tile_rows(const CacheShape& shape) {
    return kSide / group_size(shape);
}

#if defined(__CUDACC__)

/// A sum of weighted values under way: of its row, the largest score, the sum of weights, and some
/// of the dimensions.
template <unsigned kValues>
struct Mix {
    float largest = -INFINITY;
    float total = 0;
    float values[kValues] = {};
};
/// How much of what was summed under `from` counts under `to`. Nothing was summed under -infinity.
__device__ __forceinline__ float share_of(float from, float to) {
    return from == -INFINITY ? 0.0F : exp2f(from - to);
}

__device__ __forceinline__ unsigned pack_bf16(float low, float high) {
    const __nv_bfloat162 both = __floats2bfloat162_rn(low, high);
    return *reinterpret_cast<const unsigned*>(&both);
}

/// kDims: head size / 32, rounded up. kGroup: query heads a block serves.
template <unsigned kDims, unsigned kGroup>
__global__ void __launch_bounds__(kAttentionThreads)
    attention_kernel(const __grid_constant__ AttentionCall call) {
    constexpr unsigned kSize = kDims * 32;
    constexpr unsigned kStride = kSize + 8;  // keeps the four rows of a warp in different banks
    constexpr unsigned kEach = kSize / 8;    // dimensions of a row that a thread joins
    extern __shared__ float shared[];
    float* values = shared;                                       // [warps][16][kStride]
    float* largest = values + kAttentionWarps * kSide * kStride;  // [warps][16]
    float* totals = largest + kAttentionWarps * kSide;            // [warps][16]
    __shared__ bool last;
    let_next_begin();
    // What is read before wait_for_inputs() came with the call, before its first kernel.
    const CacheShape& s = call.shape;
    const RowTile rows = call.tiles[blockIdx.x];
    const unsigned each = s.heads / s.kv_heads;
    const unsigned pieces = (each + kGroup - 1) / kGroup;
    const unsigned kv = blockIdx.y / pieces;
    const unsigned head_begin = blockIdx.y % pieces * kGroup;
    const unsigned head_first = kv * each + head_begin;
    const unsigned head_count = min(kGroup, each - head_begin);
    const unsigned place_first = call.places[rows.first];
    const unsigned end_all = place_first + rows.count;
    const unsigned begin_all =
        call.window > 0 && place_first + 1 > call.window ? place_first + 1 - call.window : 0;
    const unsigned split_first = begin_all / kSplit;
    const unsigned split_end = (end_all + kSplit - 1) / kSplit;
    const unsigned split = blockIdx.z;
    if (split < split_first || split >= split_end) return;
    const std::uint32_t* table = call.tables + call.table_begins[rows.first];
    const unsigned page_last = (end_all - 1) / kPageTokens;

    const unsigned lane = threadIdx.x % 32;
    const unsigned warp = threadIdx.x / 32;
    const unsigned upper = lane / 4;  // this lane's two rows of the instruction: upper, upper + 8
    const unsigned quarter = lane % 4;
    const std::size_t row_size = std::size_t{s.heads + 2 * s.kv_heads} * s.head_size;

    wait_for_inputs();
    // Queries in the order of the keys: a lane has 8 neighbouring dimensions of each 32.
    unsigned query[kDims][2][4];
    unsigned begins[2];
    unsigned ends[2];
#pragma unroll
    for (unsigned half = 0; half < 2; ++half) {
        const unsigned index = upper + 8 * half;
        const unsigned row = index / kGroup;
        const unsigned head = index % kGroup;
        const bool real = row < rows.count && head < head_count;
        const unsigned place = place_first + row;
        ends[half] = real ? place + 1 : 0;
        begins[half] = call.window > 0 && place + 1 > call.window ? place + 1 - call.window : 0;
        const float* q =
            call.qkv + (rows.first + row) * row_size + std::size_t{head_first + head} * s.head_size;
#pragma unroll
        for (unsigned d = 0; d < kDims; ++d)
#pragma unroll
            for (unsigned pair = 0; pair < 4; ++pair) {
                const unsigned dim = d * 32 + quarter * 8 + pair * 2;
                const float low = real && dim < s.head_size ? q[dim] : 0.0F;
                const float high = real && dim + 1 < s.head_size ? q[dim + 1] : 0.0F;
                query[d][pair / 2][pair % 2 * 2 + half] = pack_bf16(low, high);
            }
    }

    Mix<kEach> run;
    const unsigned my_row = threadIdx.x / 8;  // when tiles are joined
    const unsigned tile_first = max(begin_all, split * kSplit) / kTileTokens;
    const unsigned tile_end = (min(end_all, (split + 1) * kSplit) + kTileTokens - 1) / kTileTokens;
    for (unsigned round = tile_first / kAttentionWarps * kAttentionWarps; round < tile_end;
         round += kAttentionWarps) {
        const unsigned tile = round + warp;
        const bool mine = tile >= tile_first && tile < tile_end;
        if (mine) {
            const unsigned token_first = tile * kTileTokens;
            const uint4* pages[4];
#pragma unroll
            for (unsigned p = 0; p < 4; ++p)
                pages[p] =
                    reinterpret_cast<const uint4*>(
                        call.cache +
                        cache_place(s, table[min(token_first / kPageTokens + p, page_last)], kv)) +
                    lane;
            // Values are on their way while scores are made, where registers allow it.
            constexpr unsigned kEarly = kDims <= 2 ? kDims * 2 : 1;
            uint4 early[kEarly][4];
            if constexpr (kDims <= 2)
#pragma unroll
                for (unsigned d = 0; d < kEarly; ++d)
#pragma unroll
                    for (unsigned p = 0; p < 4; ++p)
                        early[d][p] = pages[p][kDims * 64 + d * 32];
            // Scores [page][half of it][4]: the instruction's columns are tokens 4c/2 … of a page
            // in an order that makes each lane's four weights neighbours (see key_place).
            float scores[4][2][4] = {};
#pragma unroll
            for (unsigned p = 0; p < 4; ++p)
#pragma unroll
                for (unsigned d = 0; d < kDims; ++d)
#pragma unroll
                    for (unsigned n = 0; n < 2; ++n) {
                        const uint4 key = pages[p][(d * 2 + n) * 32];
                        const unsigned(&q)[2][4] = query[d];
                        multiply_add(scores[p][n], {q[0][0], q[0][1], q[0][2], q[0][3]}, key.x,
                                     key.y);
                        multiply_add(scores[p][n], {q[1][0], q[1][1], q[1][2], q[1][3]}, key.z,
                                     key.w);
                    }
            float most[2] = {-INFINITY, -INFINITY};
#pragma unroll
            for (unsigned p = 0; p < 4; ++p)
#pragma unroll
                for (unsigned n = 0; n < 2; ++n)
#pragma unroll
                    for (unsigned i = 0; i < 4; ++i) {
                        const unsigned half = i / 2;
                        const unsigned token =
                            token_first + p * kPageTokens + quarter * 4 + n * 2 + i % 2;
                        const bool seen = token >= begins[half] && token < ends[half];
                        float& score = scores[p][n][i];
                        score = seen ? score * call.scale : -INFINITY;
                        most[half] = fmaxf(most[half], score);
                    }
            float sum[2] = {};
            unsigned weights[4][4];
#pragma unroll
            for (unsigned half = 0; half < 2; ++half) {
                most[half] = fmaxf(most[half], __shfl_xor_sync(0xFFFFFFFFU, most[half], 1));
                most[half] = fmaxf(most[half], __shfl_xor_sync(0xFFFFFFFFU, most[half], 2));
            }
#pragma unroll
            for (unsigned p = 0; p < 4; ++p)
#pragma unroll
                for (unsigned n = 0; n < 2; ++n)
#pragma unroll
                    for (unsigned half = 0; half < 2; ++half) {
                        const float low = share_of(scores[p][n][half * 2], most[half]);
                        const float high = share_of(scores[p][n][half * 2 + 1], most[half]);
                        sum[half] += low + high;
                        weights[p][n * 2 + half] = pack_bf16(low, high);
                    }
#pragma unroll
            for (unsigned half = 0; half < 2; ++half) {
                sum[half] += __shfl_xor_sync(0xFFFFFFFFU, sum[half], 1);
                sum[half] += __shfl_xor_sync(0xFFFFFFFFU, sum[half], 2);
                if (quarter == 0) {
                    largest[warp * kSide + upper + 8 * half] = most[half];
                    totals[warp * kSide + upper + 8 * half] = sum[half];
                }
            }
            float* to = values + (warp * kSide + upper) * kStride + quarter * 2;
#pragma unroll
            for (unsigned d = 0; d < kDims * 2; ++d) {
                float mixed[2][4] = {};
#pragma unroll
                for (unsigned p = 0; p < 4; ++p) {
                    uint4 value;
                    if constexpr (kDims <= 2) {
                        value = early[d][p];
                    } else {
                        value = pages[p][kDims * 64 + d * 32];
                    }
                    const uint4 weight{weights[p][0], weights[p][1], weights[p][2], weights[p][3]};
                    multiply_add(mixed[0], weight, value.x, value.y);
                    multiply_add(mixed[1], weight, value.z, value.w);
                }
#pragma unroll
                for (unsigned n = 0; n < 2; ++n) {
                    *reinterpret_cast<float2*>(to + d * 16 + n * 8) = {mixed[n][0], mixed[n][1]};
                    *reinterpret_cast<float2*>(to + 8 * kStride + d * 16 + n * 8) = {mixed[n][2],
                                                                                     mixed[n][3]};
                }
            }
        }
        __syncthreads();
#pragma unroll
        for (unsigned w = 0; w < kAttentionWarps; ++w) {
            if (round + w < tile_first || round + w >= tile_end) continue;
            const float theirs = largest[w * kSide + my_row];
            const float most = fmaxf(run.largest, theirs);
            const float keep = share_of(run.largest, most);
            const float add = share_of(theirs, most);
            run.largest = most;
            run.total = run.total * keep + totals[w * kSide + my_row] * add;
            const float* from = values + (w * kSide + my_row) * kStride + threadIdx.x % 8;
#pragma unroll
            for (unsigned i = 0; i < kEach; ++i)
                run.values[i] = run.values[i] * keep + from[i * 8] * add;
        }
        __syncthreads();
    }

    const unsigned row = rows.first + my_row / kGroup;
    const unsigned head = my_row % kGroup;
    const bool real = my_row / kGroup < rows.count && head < head_count;
    const auto put = [&](const Mix<kEach>& mix) {
#pragma unroll
        for (unsigned i = 0; i < kEach; ++i) {
            const unsigned dim = threadIdx.x % 8 + i * 8;
            if (!real || dim >= s.head_size) continue;
            const std::size_t place = std::size_t{head_first + head} * s.head_size + dim;
            call.out[input_place(row, place, call.deep_out)] =
                __float2bfloat16(mix.values[i] / mix.total);
        }
    };
    if (split_end - split_first == 1) return put(run);

    const auto part_of = [&](unsigned which) {
        return call.parts + ((std::size_t{row} * s.heads + head_first + head) * gridDim.z + which) *
                                (s.head_size + 2);
    };
    if (real) {
        float* part = part_of(split);
#pragma unroll
        for (unsigned i = 0; i < kEach; ++i) {
            const unsigned dim = threadIdx.x % 8 + i * 8;
            if (dim < s.head_size) part[dim] = run.values[i];
        }
        if (threadIdx.x % 8 == 0) {
            part[s.head_size] = run.largest;
            part[s.head_size + 1] = run.total;
        }
    }
    __threadfence();
    __syncthreads();
    unsigned* arrived = call.arrived + std::size_t{blockIdx.x} * gridDim.y + blockIdx.y;
    if (threadIdx.x == 0) last = atomicAdd(arrived, 1U) + 1 == split_end - split_first;
    __syncthreads();
    if (!last) return;
    __threadfence();
    if (threadIdx.x == 0) *arrived = 0;
    Mix<kEach> all;
    for (unsigned p = split_first; real && p < split_end; ++p) {
        const float* part = part_of(p);
        const float theirs = __ldcg(part + s.head_size);
        const float most = fmaxf(all.largest, theirs);
        const float keep = share_of(all.largest, most);
        const float add = share_of(theirs, most);
        all.largest = most;
        all.total = all.total * keep + __ldcg(part + s.head_size + 1) * add;
#pragma unroll
        for (unsigned i = 0; i < kEach; ++i) {
            const unsigned dim = threadIdx.x % 8 + i * 8;
            if (dim < s.head_size) all.values[i] = all.values[i] * keep + __ldcg(part + dim) * add;
        }
    }
    put(all);
}

/// `splits`: of the longest row.
inline void attention(const AttentionCall& call, unsigned tiles, unsigned splits,
                      cudaStream_t stream) {
    const dim3 grid(tiles, attention_groups(call.shape), splits);
    const auto go = [&](auto kernel, unsigned size) {
        const std::size_t floats = kAttentionWarps * kSide * (size + 8 + 2);
        allow_shared(kernel, floats * sizeof(float));
        launch(kernel, grid, kAttentionThreads, floats * sizeof(float), stream, call);
    };
    const auto with_group = [&]<unsigned kDims>() {
        switch (group_size(call.shape)) {
            case 1:
                return go(attention_kernel<kDims, 1>, kDims * 32);
            case 2:
                return go(attention_kernel<kDims, 2>, kDims * 32);
            case 4:
                return go(attention_kernel<kDims, 4>, kDims * 32);
            default:
                return go(attention_kernel<kDims, 8>, kDims * 32);
        }
    };
    switch (cache_dims(call.shape.head_size)) {
        case 1:
            return with_group.template operator()<1>();
        case 2:
            return with_group.template operator()<2>();
        case 3:
            return with_group.template operator()<3>();
        case 4:
            return with_group.template operator()<4>();
        default:
            return with_group.template operator()<8>();
    }
}

#endif  // __CUDACC__

}  // namespace worker::kernels::cuda
