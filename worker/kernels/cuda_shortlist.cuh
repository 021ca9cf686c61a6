// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/kernels/cuda_device.cuh"
#include "worker/kernels/shortlist.hpp"

/// The likeliest tokens of each row of logits, for who draws on the host.
namespace worker::kernels::cuda {

constexpr unsigned kListThreads = 1024;
constexpr unsigned kListLeast = 256;  // of a row that is longer than kListMost
constexpr unsigned kListMost = 512;

/// What is asked of a row.
struct ListOrder {
    double inverse_temperature = 0;  // of `elsewhere`; 0: it is not asked for
    std::uint32_t with_plain = 0;
    std::uint32_t named_begin = 0;
    std::uint32_t named_count = 0;
};

/// Tokens with a logit of `floor` or more, and sums of exp((logit - floor) / temperature) over the
/// others. count 0: no list, of a row that has more equals than places, or a logit that is not
/// finite.
struct ListRow {
    double elsewhere = 0;
    double elsewhere_plain = 0;  // temperature 1
    float floor = 0;
    std::uint32_t count = 0;
    ListedLogit listed[kListMost];
};

struct ListCall {
    const float* logits = nullptr;  // [rows][vocab]
    const ListOrder* orders = nullptr;
    const std::uint32_t* named = nullptr;  // tokens of all rows
    float* named_logits = nullptr;
    ListRow* out = nullptr;
    unsigned vocab = 0;
};

/// Unsigned numbers in the order of the floats; -0 is 0.
__device__ __forceinline__ unsigned sortable(float value) {
    const unsigned bits = __float_as_uint(value == 0.0F ? 0.0F : value);
    return (bits >> 31U) != 0 ? ~bits : bits | 0x80000000U;
}
__device__ __forceinline__ float from_sortable(unsigned key) {
    return __uint_as_float((key >> 31U) != 0 ? key & 0x7FFFFFFFU : ~key);
}

__device__ __forceinline__ double warp_sum(double value) {
    for (int offset = 16; offset > 0; offset /= 2)
        value += __shfl_xor_sync(0xFFFFFFFFU, value, offset);
    return value;
}

/// What the threads before have, and in `total` what all have. `shared` has 32 places.
__device__ __forceinline__ unsigned block_places(unsigned count, unsigned* shared,
                                                 unsigned& total) {
    const unsigned lane = threadIdx.x % 32;
    const unsigned warp = threadIdx.x / 32;
    unsigned upto = count;
    for (unsigned offset = 1; offset < 32; offset *= 2) {
        const unsigned before = __shfl_up_sync(0xFFFFFFFFU, upto, offset);
        if (lane >= offset) upto += before;
    }
    if (lane == 31) shared[warp] = upto;
    __syncthreads();
    unsigned begin = 0;
    total = 0;
    for (unsigned i = 0; i < blockDim.x / 32; ++i) {
        if (i < warp) begin += shared[i];
        total += shared[i];
    }
    return begin + upto - count;
}

/// A block a row. The floor is the 256th of the threads' largest logits: at least so many tokens
/// reach it, and hardly more, since neighbours go to different threads. All sums run in one order.
__global__ void __launch_bounds__(kListThreads) list_kernel(const __grid_constant__ ListCall call) {
    __shared__ unsigned counts[32];
    __shared__ double sums[2][32];
    let_next_begin();
    const std::size_t row = blockIdx.x;
    const ListOrder order = call.orders[row];
    ListRow& out = call.out[row];
    const float* logits = call.logits + row * call.vocab;
    wait_for_inputs();
    for (unsigned i = threadIdx.x; i < order.named_count; i += kListThreads)
        call.named_logits[order.named_begin + i] = logits[call.named[order.named_begin + i]];
    unsigned own = 0;
    bool good = true;
    for (unsigned i = threadIdx.x; i < call.vocab; i += kListThreads) {
        const float logit = logits[i];
        good = good && isfinite(logit);
        own = max(own, sortable(logit));
    }
    const bool all_good = __syncthreads_and(good ? 1 : 0) != 0;
    unsigned floor = 0;
    if (call.vocab > kListMost)
        for (unsigned bit = 1U << 31U; bit != 0; bit /= 2)
            if (__syncthreads_count(own >= (floor | bit) ? 1 : 0) >= kListLeast) floor |= bit;

    const double base = static_cast<double>(from_sortable(floor));
    unsigned count = 0;
    double elsewhere = 0;
    double plain = 0;
    for (unsigned i = threadIdx.x; i < call.vocab; i += kListThreads) {
        const float logit = logits[i];
        if (sortable(logit) >= floor) {
            ++count;
            continue;
        }
        const double below = static_cast<double>(logit) - base;
        if (order.inverse_temperature > 0) elsewhere += exp(below * order.inverse_temperature);
        if (order.with_plain != 0) plain += exp(below);
    }
    elsewhere = warp_sum(elsewhere);
    plain = warp_sum(plain);
    if (threadIdx.x % 32 == 0) {
        sums[0][threadIdx.x / 32] = elsewhere;
        sums[1][threadIdx.x / 32] = plain;
    }
    unsigned total = 0;
    unsigned place = block_places(count, counts, total);
    const bool listed = all_good && total <= kListMost;
    if (threadIdx.x == 0) {
        elsewhere = 0;
        plain = 0;
        for (unsigned i = 0; i < kListThreads / 32; ++i) {
            elsewhere += sums[0][i];
            plain += sums[1][i];
        }
        out.elsewhere = elsewhere;
        out.elsewhere_plain = plain;
        out.floor = call.vocab > kListMost ? from_sortable(floor) : __uint_as_float(0xFF800000U);
        out.count = listed ? total : 0;
    }
    if (!listed || count == 0) return;
    for (unsigned i = threadIdx.x; i < call.vocab; i += kListThreads)
        if (sortable(logits[i]) >= floor) out.listed[place++] = {i, logits[i]};
}

}  // namespace worker::kernels::cuda
