// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/kernels/cuda_linear.cuh"

/// What happens to each row between the linear layers.
namespace worker::kernels::cuda {

struct EmbedCall {
    const __nv_bfloat16* table = nullptr;  // [vocab][width]
    const float* positions = nullptr;      // [context][width]; null: rotary
    const std::uint32_t* tokens = nullptr;
    const std::uint32_t* places = nullptr;
    float* out = nullptr;  // [rows][width]
    unsigned width = 0;
};
__global__ void embed_kernel(EmbedCall call) {
    let_next_begin();
    wait_for_inputs();
    const std::size_t row = blockIdx.x;
    const std::size_t token = call.tokens[row];
    const std::size_t place = call.places[row];
    for (unsigned i = threadIdx.x; i < call.width; i += blockDim.x) {
        float value = __bfloat162float(call.table[token * call.width + i]);
        if (call.positions != nullptr) value += call.positions[place * call.width + i];
        call.out[row * call.width + i] = value;
    }
}

struct NormCall {
    const float* in = nullptr;              // [rows][width]
    const std::uint32_t* wanted = nullptr;  // rows of `in`; null: all
    const float* weight = nullptr;
    const float* bias = nullptr;   // null: RMS norm
    __nv_bfloat16* out = nullptr;  // activations
    float* plain = nullptr;        // [rows][width] as well, when not null
    unsigned width = 0;
    unsigned deep = 0;
    float epsilon = 0;
};
constexpr unsigned kNormThreads = 512;
constexpr unsigned kNormWidthMax = kNormThreads * 4 * 8;
/// A block a row; a thread keeps its numbers, four neighbours at a time.
__global__ void __launch_bounds__(kNormThreads) norm_kernel(const __grid_constant__ NormCall call) {
    __shared__ float shared[32];
    constexpr unsigned kEach = kNormWidthMax / kNormThreads / 4;
    let_next_begin();
    const unsigned fours = call.width / 4;
    const auto* weights = reinterpret_cast<const float4*>(call.weight);
    const float4 first = threadIdx.x < fours ? weights[threadIdx.x] : float4{};
    wait_for_inputs();
    const std::size_t row = blockIdx.x;
    const std::size_t from = call.wanted == nullptr ? row : call.wanted[row];
    const auto* in = reinterpret_cast<const float4*>(call.in + from * call.width);
    const auto width = static_cast<float>(call.width);
    float4 x[kEach];
    float mean = 0;
#pragma unroll
    for (unsigned i = 0; i < kEach; ++i) {
        const unsigned place = threadIdx.x + i * kNormThreads;
        x[i] = place < fours ? in[place] : float4{};
        mean += (x[i].x + x[i].y) + (x[i].z + x[i].w);
    }
    mean = call.bias == nullptr ? 0.0F : block_sum(mean, shared) / width;
    float squares = 0;
#pragma unroll
    for (unsigned i = 0; i < kEach; ++i) {
        if (threadIdx.x + i * kNormThreads >= fours) break;
        x[i] = {x[i].x - mean, x[i].y - mean, x[i].z - mean, x[i].w - mean};
        squares += (x[i].x * x[i].x + x[i].y * x[i].y) + (x[i].z * x[i].z + x[i].w * x[i].w);
    }
    const float scale = rsqrtf(block_sum(squares, shared) / width + call.epsilon);
#pragma unroll
    for (unsigned i = 0; i < kEach; ++i) {
        const unsigned place = threadIdx.x + i * kNormThreads;
        if (place >= fours) break;
        const float4 w = i == 0 ? first : weights[place];
        float4 b{};
        if (call.bias != nullptr) b = reinterpret_cast<const float4*>(call.bias)[place];
        const float4 y{x[i].x * scale * w.x + b.x, x[i].y * scale * w.y + b.y,
                       x[i].z * scale * w.z + b.z, x[i].w * scale * w.w + b.w};
        // Neighbours in pairs, as input_place has them.
        *reinterpret_cast<__nv_bfloat162*>(call.out + input_place(row, 4 * place, call.deep)) =
            __floats2bfloat162_rn(y.x, y.y);
        *reinterpret_cast<__nv_bfloat162*>(call.out + input_place(row, 4 * place + 2, call.deep)) =
            __floats2bfloat162_rn(y.z, y.w);
        if (call.plain != nullptr)
            reinterpret_cast<float4*>(call.plain + row * call.width)[place] = y;
    }
}

/// The cache: block (page, key-value head) is the keys and then the values of 16 tokens in bf16,
/// each in the order in which attention's lanes hold them. A head is padded to whole kDims of 32.
struct CacheShape {
    unsigned heads = 0;
    unsigned kv_heads = 0;
    unsigned head_size = 0;
};
constexpr unsigned kPageTokens = 16;
constexpr unsigned kHeadSizeMax = 256;
/// Head size in units of 32, for which there are kernels: 1 to 4, or 8.
[[nodiscard]] CUDA_BOTH constexpr unsigned cache_dims(unsigned head_size) {
    const unsigned dims = (head_size + 31) / 32;
    return dims <= 4 ? dims : 8;
}
/// bf16 numbers of a block.
[[nodiscard]] CUDA_BOTH constexpr std::size_t cache_block(const CacheShape& shape) {
    return std::size_t{2} * kPageTokens * 32 * cache_dims(shape.head_size);
}
[[nodiscard]] CUDA_BOTH constexpr std::size_t cache_place(const CacheShape& shape, std::size_t page,
                                                          unsigned head) {
    return (page * shape.kv_heads + head) * cache_block(shape);
}
/// Within a block: the instruction's 8 columns are the tokens 0 1 4 5 8 9 12 13, then the others,
/// so that the four scores a lane gets are of neighbouring tokens, as the values want them.
[[nodiscard]] CUDA_BOTH constexpr std::size_t key_place(unsigned token, unsigned dim) {
    const unsigned column = token / 4 * 2 + token % 2;
    const unsigned lane = column * 4 + dim % 32 / 8;
    return std::size_t{((dim / 32 * 2 + token % 4 / 2) * 32 + lane) * 8 + dim % 8};
}
/// From the middle of a block on.
[[nodiscard]] CUDA_BOTH constexpr std::size_t value_place(unsigned token, unsigned dim) {
    const unsigned lane = dim % 8 * 4 + token / 4;
    return std::size_t{(dim / 16 * 32 + lane) * 8 + dim % 16 / 8 * 4 + token % 4};
}

struct TurnCall {
    float* qkv = nullptr;  // [rows][(heads + 2 kv_heads) head_size]; queries turn in place
    __nv_bfloat16* cache = nullptr;
    const std::uint32_t* places = nullptr;
    const std::uint32_t* tables = nullptr;        // page numbers
    const std::uint32_t* table_begins = nullptr;  // [rows]
    const float* query_norm = nullptr;            // [head_size]; null: none
    const float* key_norm = nullptr;
    const float* cosines = nullptr;  // [context][turned / 2]
    const float* sines = nullptr;
    unsigned turned = 0;
    float epsilon = 0;
    CacheShape shape;
};
/// Block (row, head of q, k or v): norms and turns it; keys and values go into the cache. One warp.
__global__ void turn_kernel(TurnCall call) {
    extern __shared__ float head[];
    let_next_begin();
    // What is read before wait_for_inputs() came with the call, before its first kernel.
    const CacheShape& s = call.shape;
    const std::size_t row = blockIdx.x;
    const unsigned place = call.places[row];
    const std::size_t page = call.tables[call.table_begins[row] + place / kPageTokens];
    wait_for_inputs();
    const unsigned index = blockIdx.y;
    const unsigned size = s.head_size;
    const bool query = index < s.heads;
    const bool value = index >= s.heads + s.kv_heads;
    float* x = call.qkv + (row * (s.heads + 2 * s.kv_heads) + index) * size;
    for (unsigned i = threadIdx.x; i < size; i += 32)
        head[i] = x[i];
    __syncwarp();
    const float* norm = query ? call.query_norm : call.key_norm;
    if (!value && norm != nullptr) {
        float squares = 0;
        for (unsigned i = threadIdx.x; i < size; i += 32)
            squares += head[i] * head[i];
        const float scale = rsqrtf(warp_sum(squares) / static_cast<float>(size) + call.epsilon);
        for (unsigned i = threadIdx.x; i < size; i += 32)
            head[i] *= scale * norm[i];
        __syncwarp();
    }
    if (!value) {
        const unsigned half = call.turned / 2;
        const std::size_t angles = std::size_t{place} * half;
        for (unsigned i = threadIdx.x; i < half; i += 32) {
            const float a = head[i];
            const float b = head[half + i];
            const float c = call.cosines[angles + i];
            const float d = call.sines[angles + i];
            head[i] = a * c - b * d;
            head[half + i] = b * c + a * d;
        }
        __syncwarp();
    }
    if (query) {
        for (unsigned i = threadIdx.x; i < size; i += 32)
            x[i] = head[i];
        return;
    }
    const unsigned kv = value ? index - s.heads - s.kv_heads : index - s.heads;
    __nv_bfloat16* to = call.cache + cache_place(s, page, kv);
    if (value) to += cache_block(s) / 2;
    const unsigned token = place % kPageTokens;
    for (unsigned i = threadIdx.x; i < size; i += 32)
        to[value ? value_place(token, i) : key_place(token, i)] = __float2bfloat16(head[i]);
}

}  // namespace worker::kernels::cuda
