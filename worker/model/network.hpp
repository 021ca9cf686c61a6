// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/model/model_spec.hpp"

#include <cstdint>
#include <span>

// Torch stays behind this declaration: its headers cost 14 s per file that includes them.
namespace at {
class Tensor;
}

namespace worker::model {

/// Logits in fp32, one row per predicted symbol, of the parameters in layout order. `input` is
/// int64 [batch, context] for "gpt" and [batch, colors, height, width] for a model of images. The
/// products run in the parameters' type.
[[nodiscard]] at::Tensor network_logits(const ModelSpec& model,
                                        std::span<const at::Tensor> parameters,
                                        const at::Tensor& input);

}  // namespace worker::model
