// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/kernels/self_attention.hpp"

#include <cstdint>

namespace at {
class Tensor;
}

/// Operations with gradients that are one pass through memory where torch takes many: on the CPU in
/// fp32 by `worker/kernels`, otherwise by torch. The same bits with any number of threads.
namespace worker::model {

struct AttentionSize {
    std::int64_t batch;
    std::int64_t tokens;
    std::int64_t heads;
    std::int64_t width;
};

/// qkv is [batch · tokens, 3 · width], contiguous; gives [batch · tokens, width].
[[nodiscard]] at::Tensor self_attention(const at::Tensor& qkv, const AttentionSize& size,
                                        kernels::Sight sight);

/// x/2 · (1 + erf(x/√2)).
[[nodiscard]] at::Tensor exact_gelu(const at::Tensor& x);

}  // namespace worker::model
