// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/kernels/attention.hpp"
#include "worker/kernels/self_attention.hpp"
#include "worker/kernels/weight_matrix.hpp"

#include <cstddef>
#include <cstdint>

/// What exists once per instruction set. The structs are plain, and the files that fill the tables
/// use no inline function of the standard library: the linker would be free to take that copy for
/// the whole program.
namespace worker::kernels {

/// Rows of x, each group of 32 inputs as int8 with one scale. `quads` holds four inputs at a time
/// in the form that the instruction set multiplies with.
struct QuantisedRows {
    float* scales;  ///< [rows][groups]
    std::int32_t*
        corrections;   ///< [rows][groups]: -offset · sum, the weights being stored plus offset
    std::byte* quads;  ///< [rows][groups][8][quad_bytes]
    std::size_t groups;
    std::size_t quad_bytes;
};

/// One product, shared by the threads.
struct LinearJob {
    WeightFormat format;
    std::size_t rows;
    std::size_t n;
    std::size_t k;
    const std::byte* panels;
    std::size_t panel_bytes;
    const float* weight_scales;  ///< kInt8
    const float* bias;           ///< or null
    const float* x;              ///< kF32 and kBf16
    QuantisedRows quantised;     ///< kInt8 and kInt4
    float* y;
};

/// One key-value head of one row, with the query heads that share it.
struct AttentionJob {
    KvType type;
    std::size_t head_size;
    std::size_t padded_head;  ///< the head's numbers in a block
    std::size_t key_bytes;    ///< offset of the head's keys in a page
    std::size_t value_bytes;  ///< offset of its values in a page
    std::size_t queries;      ///< query heads
    const float* query;       ///< [queries][head_size]
    float* out;               ///< [queries][head_size]
    const std::byte* const* pages;
    std::size_t begin;
    std::size_t end;
    float scale;
    float* scratch;  ///< [2][padded_head]
};

struct KernelTable {
    std::size_t quad_bytes_int8;
    std::size_t quad_bytes_int4;
    void (*quantise)(const float* x, std::size_t row, std::size_t k, WeightFormat format,
                     const QuantisedRows& to);
    /// Panels [begin, end) for all rows.
    void (*linear)(const LinearJob& job, std::size_t begin, std::size_t end);
    void (*attention)(const AttentionJob& job);
    bool (*int8_row)(const float* values, std::size_t count, std::uint8_t* levels, float* scale);
    void (*int4_panel)(const float* rows, std::size_t stride, std::byte* panel);
    void (*rms_norm)(const float* x, const float* weight, std::size_t size, float epsilon,
                     float* out);
    void (*layer_norm)(const float* x, const float* weight, const float* bias, std::size_t size,
                       float epsilon, float* out);
    void (*add)(float* to, const float* x, std::size_t count);
    void (*silu_mul)(const float* gate, const float* up, std::size_t count, float* out);
    void (*gelu)(const float* x, std::size_t count, float* out);
    void (*gelu_gradient)(const float* x, const float* gradient, std::size_t count, float* out);
    void (*gelu_tanh)(float* x, std::size_t count);
    void (*softmax)(float* x, std::size_t count);
    void (*self_attention)(const HeadShape& shape, const HeadInputs& in, float* out,
                           float* statistics, float* scratch);
    void (*self_attention_gradient)(const HeadShape& shape, const HeadInputs& in,
                                    const float* statistics, const float* out_gradient,
                                    const HeadGradients& gradients, float* scratch);
};

extern const KernelTable kPortableKernels;
#if defined(__x86_64__)
extern const KernelTable kAvx2Kernels;
extern const KernelTable kAvx512Kernels;
#endif

/// The table of instruction_set().
[[nodiscard]] const KernelTable& kernels() noexcept;

}  // namespace worker::kernels
