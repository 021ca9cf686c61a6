// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/kernels/cuda_device.cuh"

#include <cstddef>
#include <cstdint>

/// Linear layers of bf16 weights on tensor cores, from one row to thousands.
///
/// Weights are the 16-row side of `mma.m16n8k16`, tokens its 8-column side, so a single token
/// wastes no memory traffic. Both operands lie in memory in the order in which a warp's lanes hold
/// them: every load is 16 bytes a lane, side by side. The inputs are dealt to eight shares; an
/// output is the sum of its shares' sums, in their order, whatever the number of tokens: a row's
/// bits do not depend on its batch.
namespace worker::kernels::cuda {

constexpr std::size_t kTile = 16;  // outputs
constexpr std::size_t kDeep = 32;  // inputs: two steps of the instruction
constexpr std::size_t kToken = 8;  // rows in a tile of activations
constexpr unsigned kShares = 8;    // step s of kDeep inputs belongs to share s mod 8
constexpr std::size_t kInputsPad = kDeep * kShares;  // inputs are padded to this
constexpr std::size_t kRowsPad = 128;                // and rows to this

[[nodiscard]] constexpr std::size_t padded(std::size_t count, std::size_t to) {
    return (count + to - 1) / to * to;
}

/// Place of weight (output, input) among `deep` = padded inputs / kDeep.
[[nodiscard]] constexpr std::size_t weight_place(std::size_t output, std::size_t input,
                                                 std::size_t deep) {
    const std::size_t k = input % kTile;
    const std::size_t lane = (output % 8) * 4 + (k % 8) / 2;
    const std::size_t part = (k / 8) * 2 + (output % kTile) / 8;
    const std::size_t tile = output / kTile * deep * 2 + input / kTile;
    return (tile * 32 + lane) * 8 + part * 2 + k % 2;
}

/// Place of activation (row, input).
[[nodiscard]] CUDA_BOTH constexpr std::size_t input_place(std::size_t row, std::size_t input,
                                                          std::size_t deep) {
    const std::size_t k = input % kTile;
    const std::size_t lane = (row % kToken) * 4 + (k % 8) / 2;
    const std::size_t half = input % kDeep / kTile;
    return ((row / kToken * deep + input / kDeep) * 32 + lane) * 8 + half * 4 + (k / 8) * 2 + k % 2;
}

/// What becomes of the products.
enum class Then : std::uint8_t {
    kStore,  // out[row][output], fp32
    kAdd,    // out[row][output] += …
    kPlain,  // activated, as activations for the next layer
    kGated   // tiles of 8 gates and their 8 values: activated(gate) · value, likewise
};
enum class Curve : std::uint8_t { kSilu, kGelu, kGeluTanh };

struct LinearCall {
    const uint4* weights = nullptr;
    const float* bias = nullptr;  // in the order of the weights' outputs; null: none
    const uint4* input = nullptr;
    float* out = nullptr;                // kStore, kAdd: [rows][outputs]
    __nv_bfloat16* activated = nullptr;  // kPlain, kGated: as `input`
    unsigned outputs = 0;                // without padding
    unsigned deep = 0;                   // padded inputs / kDeep
    unsigned rows = 0;
    unsigned deep_out = 0;  // kPlain, kGated
    Curve curve = Curve::kSilu;
};

#if defined(__CUDACC__)

__device__ __forceinline__ void multiply_add(float (&sum)[4], const uint4& a, unsigned b0,
                                             unsigned b1) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
        "{%8,%9}, {%0,%1,%2,%3};"
        : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
        : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b0), "r"(b1));
}

__device__ __forceinline__ float bend(float x, Curve curve) {
    if (curve == Curve::kSilu) return x / (1.0F + __expf(-x));
    if (curve == Curve::kGelu) return 0.5F * x * (1.0F + erff(x * 0.70710678F));
    return 0.5F * x * (1.0F + tanhf(0.79788456F * (x + 0.044715F * x * x * x)));
}

template <Then kThen>
__device__ __forceinline__ void finish_tile(const LinearCall& call, const float (&sum)[4],
                                            unsigned first_output, unsigned first_row) {
    const unsigned lane = threadIdx.x % 32;
    const unsigned top = first_output + lane / 4;
    for (unsigned i = 0; i < 2; ++i) {
        const unsigned row = first_row + lane % 4 * 2 + i;
        if (row >= call.rows) continue;
        float upper = sum[i];
        float lower = sum[2 + i];
        if (call.bias != nullptr) {
            upper += call.bias[top];
            lower += call.bias[top + 8];
        }
        if constexpr (kThen == Then::kGated) {
            const unsigned place = first_output / 2 + lane / 4;
            call.activated[input_place(row, place, call.deep_out)] =
                __float2bfloat16(bend(upper, call.curve) * lower);
        } else {
            for (unsigned half = 0; half < 2; ++half) {
                const unsigned output = top + 8 * half;
                const float value = half == 0 ? upper : lower;
                if (output >= call.outputs) continue;
                if constexpr (kThen == Then::kPlain) {
                    call.activated[input_place(row, output, call.deep_out)] =
                        __float2bfloat16(bend(value, call.curve));
                } else {
                    float* to = call.out + std::size_t{row} * call.outputs + output;
                    *to = kThen == Then::kAdd ? *to + value : value;
                }
            }
        }
    }
}

constexpr unsigned kNarrowBlocks = 2;  // on a processor

/// Few rows: block (x, y) has the tiles of 16 outputs x, x + blocks, … and rows y · 8 · kColumns
/// and on; a warp takes a share. Weights are always on their way: the first before the inputs are
/// there, a tile's while the tile before is finished.
template <unsigned kColumns, Then kThen>
__global__ void __launch_bounds__(kShares * 32, kNarrowBlocks)
    narrow_kernel(const __grid_constant__ LinearCall call) {
    constexpr unsigned kAhead = kColumns <= 2 ? 4 : kColumns == 4 ? 2 : 1;  // steps in a group
    constexpr unsigned kValues = kColumns * 4;
    __shared__ float shared[kShares][kValues][32];
    let_next_begin();
    const unsigned lane = threadIdx.x % 32;
    const unsigned share = threadIdx.x / 32;
    const unsigned steps = call.deep / kShares;
    const unsigned tiles = (call.outputs + static_cast<unsigned>(kTile) - 1) / kTile;
    const uint4* weights = call.weights + std::size_t{share} * 64 + lane;
    const uint4* input =
        call.input + (std::size_t{blockIdx.y} * kColumns * call.deep + share) * 32 + lane;
    float sum[kColumns][4] = {};
    uint4 a[2][kAhead][2];
    uint4 b[2][kAhead][kColumns];
    unsigned tile_next = blockIdx.x;  // of the group to load
    unsigned first_next = 0;
    // Steps past the end are zeros, which change no bit.
    const auto load_a = [&](auto& to) {
#pragma unroll
        for (unsigned i = 0; i < kAhead; ++i) {
            to[i][0] = to[i][1] = uint4{0, 0, 0, 0};
            if (tile_next < tiles && first_next + i < steps) {
                const uint4* from =
                    weights +
                    (std::size_t{tile_next} * call.deep + (first_next + i) * kShares) * 64;
                to[i][0] = load_weights(from);
                to[i][1] = load_weights(from + 32);
            }
        }
    };
    const auto load_b = [&](auto& to) {
#pragma unroll
        for (unsigned i = 0; i < kAhead; ++i) {
            const std::size_t step = min(first_next + i, steps - 1) * kShares;
#pragma unroll
            for (unsigned c = 0; c < kColumns; ++c)
                to[i][c] = input[(std::size_t{c} * call.deep + step) * 32];
        }
        first_next += kAhead;
        if (first_next >= steps) {
            first_next = 0;
            tile_next += gridDim.x;
        }
    };
    const auto multiply = [&](const auto& left, const auto& right) {
#pragma unroll
        for (unsigned i = 0; i < kAhead; ++i)
#pragma unroll
            for (unsigned c = 0; c < kColumns; ++c) {
                multiply_add(sum[c], left[i][0], right[i][c].x, right[i][c].y);
                multiply_add(sum[c], left[i][1], right[i][c].z, right[i][c].w);
            }
    };
    unsigned tile = blockIdx.x;  // of the group to multiply
    unsigned first = 0;
    const auto finish = [&] {
        first += kAhead;
        if (first < steps) return;
        __syncthreads();
#pragma unroll
        for (unsigned v = 0; v < kValues; ++v) {
            shared[share][v][lane] = sum[v / 4][v % 4];
            sum[v / 4][v % 4] = 0;
        }
        __syncthreads();
        for (unsigned c = share; c < kColumns; c += kShares) {
            float all[4] = {};
#pragma unroll
            for (unsigned w = 0; w < kShares; ++w)
#pragma unroll
                for (unsigned v = 0; v < 4; ++v)
                    all[v] += shared[w][c * 4 + v][lane];
            finish_tile<kThen>(call, all, tile * static_cast<unsigned>(kTile),
                               (blockIdx.y * kColumns + c) * static_cast<unsigned>(kToken));
        }
        first = 0;
        tile += gridDim.x;
    };
    load_a(a[0]);
    wait_for_inputs();
    load_b(b[0]);
    while (true) {
        load_a(a[1]);
        load_b(b[1]);
        multiply(a[0], b[0]);
        finish();
        if (tile >= tiles) return;
        load_a(a[0]);
        load_b(b[0]);
        multiply(a[1], b[1]);
        finish();
        if (tile >= tiles) return;
    }
}

constexpr unsigned kWideSide = 128;  // outputs and rows of a block
constexpr unsigned kStages = 4;
constexpr unsigned kStageVectors = 2 * 8 * 64;  // 8 tiles of weights, 16 of activations

__device__ __forceinline__ void copy_async(uint4* to, const uint4* from) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(
                     static_cast<unsigned>(__cvta_generic_to_shared(to))),
                 "l"(from));
}

/// Many rows: block (x, y) has 128 outputs and 128 rows, a warp 64 outputs and 32 rows of them; the
/// steps go through shared memory, share after share.
template <Then kThen>
__global__ void __launch_bounds__(256, 1) wide_kernel(const __grid_constant__ LinearCall call) {
    constexpr unsigned kTiles = 4;
    constexpr unsigned kColumns = 4;
    extern __shared__ uint4 stages[];  // [kStages][kStageVectors]
    let_next_begin();
    wait_for_inputs();
    const unsigned lane = threadIdx.x % 32;
    const unsigned warp = threadIdx.x / 32;
    const unsigned tiles = (call.outputs + static_cast<unsigned>(kTile) - 1) / kTile;
    const unsigned steps = call.deep / kShares;
    const unsigned tile_first = blockIdx.x * 8;
    const unsigned column_first = blockIdx.y * 16;
    const auto fetch = [&](unsigned index) {
        if (index < call.deep) {
            const unsigned step = index % steps * kShares + index / steps;
            uint4* stage = stages + index % kStages * kStageVectors;
#pragma unroll
            for (unsigned i = threadIdx.x; i < 512; i += 256) {
                // A tile past the end repeats the last; what it gives is dropped.
                const unsigned tile = min(tile_first + i / 64, tiles - 1);
                copy_async(stage + i,
                           call.weights + (std::size_t{tile} * call.deep + step) * 64 + i % 64);
                const unsigned column = column_first + i / 32;
                copy_async(stage + 512 + i,
                           call.input + (std::size_t{column} * call.deep + step) * 32 + i % 32);
            }
        }
        asm volatile("cp.async.commit_group;");
    };
    for (unsigned i = 0; i + 1 < kStages; ++i)
        fetch(i);
    float sum[kTiles][kColumns][4] = {};
    float all[kTiles][kColumns][4] = {};
    unsigned left = steps;
    for (unsigned index = 0; index < call.deep; ++index) {
        asm volatile("cp.async.wait_group %0;" ::"n"(kStages - 2));
        __syncthreads();
        fetch(index + kStages - 1);
        const uint4* stage = stages + index % kStages * kStageVectors;
        uint4 b[kColumns];
#pragma unroll
        for (unsigned c = 0; c < kColumns; ++c)
            b[c] = stage[512 + (warp / 2 * kColumns + c) * 32 + lane];
#pragma unroll
        for (unsigned t = 0; t < kTiles; ++t) {
            const uint4* from = stage + (warp % 2 * kTiles + t) * 64 + lane;
            const uint4 first = from[0];
            const uint4 second = from[32];
#pragma unroll
            for (unsigned c = 0; c < kColumns; ++c) {
                multiply_add(sum[t][c], first, b[c].x, b[c].y);
                multiply_add(sum[t][c], second, b[c].z, b[c].w);
            }
        }
        if (--left > 0) continue;
        left = steps;
#pragma unroll
        for (unsigned t = 0; t < kTiles; ++t)
#pragma unroll
            for (unsigned c = 0; c < kColumns; ++c)
#pragma unroll
                for (unsigned v = 0; v < 4; ++v) {
                    all[t][c][v] += sum[t][c][v];
                    sum[t][c][v] = 0;
                }
    }
#pragma unroll
    for (unsigned t = 0; t < kTiles; ++t) {
        const unsigned tile = tile_first + warp % 2 * kTiles + t;
        if (tile >= tiles) continue;
#pragma unroll
        for (unsigned c = 0; c < kColumns; ++c)
            finish_tile<kThen>(
                call, all[t][c], tile * static_cast<unsigned>(kTile),
                (column_first + warp / 2 * kColumns + c) * static_cast<unsigned>(kToken));
    }
}

template <Then kThen>
void linear(const LinearCall& call, unsigned processors, cudaStream_t stream) {
    const unsigned tiles = static_cast<unsigned>((call.outputs + kTile - 1) / kTile);
    const dim3 wide((tiles + 7) / 8, (call.rows + kWideSide - 1) / kWideSide);
    if (call.rows > 64 && 2 * wide.x * wide.y >= processors) {
        constexpr std::size_t kBytes = kStages * kStageVectors * sizeof(uint4);
        allow_shared(wide_kernel<kThen>, kBytes);
        return launch(wide_kernel<kThen>, wide, 256, kBytes, stream, call);
    }
    const auto go = [&](auto kernel, unsigned columns) {
        // Equal numbers of tiles for all blocks.
        const unsigned each =
            (tiles + kNarrowBlocks * processors - 1) / (kNarrowBlocks * processors);
        const dim3 grid((tiles + each - 1) / each, (call.rows + columns * 8 - 1) / (columns * 8));
        launch(kernel, grid, kShares * 32, 0, stream, call);
    };
    if (call.rows <= 8) return go(narrow_kernel<1, kThen>, 1);
    if (call.rows <= 16) return go(narrow_kernel<2, kThen>, 2);
    if (call.rows <= 32) return go(narrow_kernel<4, kThen>, 4);
    return go(narrow_kernel<8, kThen>, 8);
}

#endif  // __CUDACC__

}  // namespace worker::kernels::cuda
