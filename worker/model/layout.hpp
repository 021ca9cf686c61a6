// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/model/model_spec.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace worker::model {

/// How a parameter is first filled.
enum class InitKind : std::uint8_t { kZero, kOne, kNormal };

/// One parameter of a model, in the order of the flat buffer and of the file.
struct ParameterSlot {
    std::string name;
    std::vector<std::int64_t> shape;
    std::uint64_t offset = 0;  // elements
    std::uint64_t size = 0;    // elements
    InitKind init = InitKind::kZero;
    double scale = 0;    // standard deviation for kNormal
    bool decay = false;  // weight decay applies
};

/// The parameters of a model. A "gpt" has the names and shapes of GPT-2's published weights (linear
/// layers are [in, out]), so that its files open in the tools people have.
[[nodiscard]] std::vector<ParameterSlot> parameter_layout(const ModelSpec& model);

/// Fills `values` from the seed by Philox, in integers up to one last product: the same bits on any
/// machine. The normal is a sum of eight uniforms.
void fill_initial(const std::vector<ParameterSlot>& layout, std::uint64_t seed, float* values);

}  // namespace worker::model
