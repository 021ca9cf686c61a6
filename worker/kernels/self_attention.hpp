// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

/// Attention of a whole row of tokens to itself, with its gradient, for training. Scores are made
/// tile by tile and never kept: the way back makes them again from two numbers a token. Every sum
/// of a head runs in one order, so its bits depend on that head alone. Callable from any thread.
namespace worker::kernels {

/// What a token sees.
enum class Sight : std::uint8_t {
    kBackward = 0,    ///< itself and the tokens before it
    kEverything = 1,  ///< all tokens
};

/// One head of one row of a batch.
struct HeadShape {
    std::size_t tokens = 0;
    std::size_t head_size = 0;
    std::size_t row = 0;      ///< floats from a token to the next in queries, keys and values
    std::size_t out_row = 0;  ///< the same in outputs
    float scale = 1.0F;       ///< of query · key; above zero
    Sight sight = Sight::kBackward;
};

struct HeadInputs {
    const float* query;
    const float* key;
    const float* value;
};

/// Gradients; rows as those of the inputs.
struct HeadGradients {
    float* query;
    float* key;
    float* value;
};

/// Floats of `scratch` that both directions need at most.
[[nodiscard]] std::size_t self_attention_scratch(std::size_t tokens,
                                                 std::size_t head_size) noexcept;

/// out [tokens][head_size] = softmax(scale · query · keyᵀ) · value. `statistics` [2][tokens] keeps
/// each token's largest score and one over its sum of e^(score − largest), for the way back.
void self_attention(const HeadShape& shape, const HeadInputs& in, float* out, float* statistics,
                    float* scratch);

/// Overwrites `gradients` from those of the output. `statistics` are what self_attention gave.
void self_attention_gradient(const HeadShape& shape, const HeadInputs& in, const float* statistics,
                             const float* out_gradient, const HeadGradients& gradients,
                             float* scratch);

}  // namespace worker::kernels
