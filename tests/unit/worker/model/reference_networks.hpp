// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/model/model_spec.hpp"

#include <cstdint>
#include <span>

namespace worker::model::test {

/// Cross entropy of one image ([colors][height][width] bytes) under a "resnet", "vit" or "mlp",
/// written down as plainly as possible, in double, from a flat parameter vector.
double reference_image_loss(const ModelSpec& model, std::span<const double> parameters,
                            std::span<const std::uint8_t> pixels, std::uint32_t label);

}  // namespace worker::model::test
