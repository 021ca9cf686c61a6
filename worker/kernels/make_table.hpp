// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/kernels/attention_kernels.hpp"
#include "worker/kernels/kernel_table.hpp"
#include "worker/kernels/linear_kernels.hpp"
#include "worker/kernels/pack_kernels.hpp"
#include "worker/kernels/row_kernels.hpp"
#include "worker/kernels/training_kernels.hpp"

namespace worker::kernels {

/// A constant expression: filling a table runs no code of an instruction set the processor lacks.
template <class V>
consteval KernelTable make_table() {
    KernelTable out{};
    out.quad_bytes_int8 = V::kQuadBytesInt8;
    out.quad_bytes_int4 = V::kQuadBytesInt4;
    out.quantise = LinearKernels<V>::quantise;
    out.linear = LinearKernels<V>::linear;
    out.attention = AttentionKernels<V>::attention;
    out.int8_row = PackKernels<V>::int8_row;
    out.int4_panel = PackKernels<V>::int4_panel;
    out.rms_norm = RowKernels<V>::rms_norm;
    out.layer_norm = RowKernels<V>::layer_norm;
    out.add = RowKernels<V>::add;
    out.silu_mul = RowKernels<V>::silu_mul;
    out.gelu = RowKernels<V>::gelu;
    out.gelu_gradient = RowKernels<V>::gelu_gradient;
    out.gelu_tanh = RowKernels<V>::gelu_tanh;
    out.softmax = RowKernels<V>::softmax;
    out.self_attention = TrainingKernels<V>::self_attention;
    out.self_attention_gradient = TrainingKernels<V>::self_attention_gradient;
    return out;
}

}  // namespace worker::kernels
