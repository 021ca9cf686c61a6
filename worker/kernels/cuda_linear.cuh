// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/kernels/cuda_device.cuh"

#include <cstddef>
#include <cstdint>

/// Linear layers of bf16 weights on tensor cores, from one row to thousands.
///
/// Weights are the 16-row side of `mma.m16n8k16`, tokens its 8-column side, so a single token wastes
/// no memory traffic. Both operands lie in memory in the order in which a warp's lanes hold them:
/// every load is 16 bytes a lane, side by side. Each output is summed in one order whatever the
/// number of tokens, so a row's bits do not depend on its batch.
namespace worker::kernels::cuda {

constexpr std::size_t kTile = 16;   // outputs
constexpr std::size_t kDeep = 32;   // inputs: two steps of the instruction
constexpr std::size_t kToken = 8;   // rows in a tile of activations
constexpr int kLinearWarps = 8;     // share the inputs of a tile
constexpr std::size_t kRowsPad = 64;  // rows are padded to this

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
#if defined(__CUDACC__)
__host__ __device__
#endif
    [[nodiscard]] constexpr std::size_t
    input_place(std::size_t row, std::size_t input, std::size_t deep) {
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

/// Block (x, y): outputs x · 16 · kTiles and on, rows y · 8 · kColumns and on. Its warps take the
/// inputs in turn; their sums are added as a tree.
template <int kColumns, int kTiles, Then kThen>
__global__ void __launch_bounds__(kLinearWarps * 32)
    linear_kernel(const __grid_constant__ LinearCall call) {
    constexpr int kHalf = kLinearWarps / 2;
    constexpr int kValues = kColumns * 4;
    // Few columns leave registers for more weights on their way.
    constexpr unsigned kAhead = kColumns * kTiles <= 2 ? 4 : kColumns * kTiles <= 8 ? 2 : 1;
    __shared__ float shared[kHalf][kValues][32];
    let_next_begin();
    const unsigned lane = threadIdx.x % 32;
    const unsigned warp = threadIdx.x / 32;
    const unsigned tile = blockIdx.x * kTiles;
    const unsigned tiles = (call.outputs + kTile - 1) / kTile;
    const uint4* weights = call.weights + lane;
    const uint4* input = call.input + std::size_t{blockIdx.y} * kColumns * call.deep * 32 + lane;
    float sum[kTiles][kColumns][4] = {};
    uint4 a[kAhead][kTiles][2];
    const auto load = [&](unsigned slot, unsigned step) {
        for (int t = 0; t < kTiles; ++t) {
            // A tile past the end repeats the last; what it gives is dropped.
            const unsigned which = min(tile + t, tiles - 1);
            const uint4* from = weights + (std::size_t{which} * call.deep + step) * 64;
            a[slot][t][0] = load_weights(from);
            a[slot][t][1] = load_weights(from + 32);
        }
    };
#pragma unroll
    for (unsigned i = 0; i < kAhead; ++i)
        if (warp + i * kLinearWarps < call.deep) load(i, warp + i * kLinearWarps);
    wait_for_inputs();
    for (unsigned first = warp; first < call.deep; first += kAhead * kLinearWarps) {
#pragma unroll
        for (unsigned i = 0; i < kAhead; ++i) {
            const unsigned step = first + i * kLinearWarps;
            if (step >= call.deep) break;
            uint4 b[kColumns];
#pragma unroll
            for (int c = 0; c < kColumns; ++c)
                b[c] = input[(std::size_t{static_cast<unsigned>(c)} * call.deep + step) * 32];
#pragma unroll
            for (int c = 0; c < kColumns; ++c)
#pragma unroll
                for (int t = 0; t < kTiles; ++t) {
                    multiply_add(sum[t][c], a[i][t][0], b[c].x, b[c].y);
                    multiply_add(sum[t][c], a[i][t][1], b[c].z, b[c].w);
                }
            const unsigned next = step + kAhead * kLinearWarps;
            if (next < call.deep) load(i, next);
        }
    }
#pragma unroll
    for (int t = 0; t < kTiles; ++t) {
        float* mine = &sum[t][0][0];
#pragma unroll
        for (unsigned half = kHalf; half > 0; half /= 2) {
            if (warp >= half && warp < 2 * half)
#pragma unroll
                for (int v = 0; v < kValues; ++v)
                    shared[warp - half][v][lane] = mine[v];
            __syncthreads();
            if (warp < half)
#pragma unroll
                for (int v = 0; v < kValues; ++v)
                    mine[v] += shared[warp][v][lane];
            __syncthreads();
        }
        if (warp > 0 || tile + t >= tiles) continue;
#pragma unroll
        for (int c = 0; c < kColumns; ++c)
            finish_tile<kThen>(call, sum[t][c], (tile + t) * kTile,
                               (blockIdx.y * kColumns + c) * kToken);
    }
}

template <Then kThen>
void linear(const LinearCall& call, unsigned processors, cudaStream_t stream) {
    const unsigned tiles = static_cast<unsigned>((call.outputs + kTile - 1) / kTile);
    const auto go = [&](auto kernel, unsigned columns, unsigned tiles_a_block) {
        const dim3 grid((tiles + tiles_a_block - 1) / tiles_a_block,
                        (call.rows + columns * 8 - 1) / (columns * 8));
        launch(kernel, grid, kLinearWarps * 32, 0, stream, call);
    };
    if (call.rows <= 8) return go(linear_kernel<1, 1, kThen>, 1, 1);
    if (call.rows <= 16) return go(linear_kernel<2, 1, kThen>, 2, 1);
    if (call.rows <= 32) return go(linear_kernel<4, 1, kThen>, 4, 1);
    // Larger blocks read each operand less often, as long as there is one for every processor.
    const unsigned groups = (call.rows + 63) / 64;
    if (tiles * groups >= 4 * processors) return go(linear_kernel<8, 4, kThen>, 8, 4);
    if (tiles * groups >= 2 * processors) return go(linear_kernel<8, 2, kThen>, 8, 2);
    return go(linear_kernel<8, 1, kThen>, 8, 1);
}

#endif  // __CUDACC__

}  // namespace worker::kernels::cuda
