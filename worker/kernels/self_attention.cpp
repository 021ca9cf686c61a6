// SPDX-License-Identifier: Apache-2.0
#include "worker/kernels/self_attention.hpp"

#include "worker/kernels/kernel_table.hpp"
#include "worker/kernels/training_kernels.hpp"

namespace worker::kernels {

std::size_t self_attention_scratch(std::size_t tokens, std::size_t head_size) noexcept {
    const std::size_t n = padded_to_lanes(tokens);
    const std::size_t d = padded_to_lanes(head_size);
    // Eight packed matrices, weights and their gradients for a block of rows, one row tile.
    return 8 * n * d + (2 * n + d) * kAttentionRows + n;
}

void self_attention(const HeadShape& shape, const HeadInputs& in, float* out, float* statistics,
                    float* scratch) {
    kernels().self_attention(shape, in, out, statistics, scratch);
}

void self_attention_gradient(const HeadShape& shape, const HeadInputs& in, const float* statistics,
                             const float* out_gradient, const HeadGradients& gradients,
                             float* scratch) {
    kernels().self_attention_gradient(shape, in, statistics, out_gradient, gradients, scratch);
}

}  // namespace worker::kernels
