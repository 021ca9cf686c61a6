// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/model/safetensors.hpp"

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace worker::model::test {

struct RandomTensor {
    std::vector<std::int64_t> shape;
    std::vector<float> values;
};

/// A model as a publisher has it: the text of config.json and tensors by name.
struct RandomModel {
    std::string config;
    std::map<std::string, RandomTensor> tensors;
};

/// Random weights for a config of any family, under the family's names. What the tensors are is
/// written down here once more, apart from the loader. Values are rounded to `dtype`; `gain` is
/// what a linear layer does to the size of its input.
RandomModel make_random_model(std::string_view config, std::uint64_t seed,
                              Dtype dtype = Dtype::kF32, double gain = 1.3);

/// Writes config.json and one safetensors file, or `shards` of them and their index.
void write_model(const RandomModel& model, const std::filesystem::path& folder,
                 Dtype dtype = Dtype::kF32, std::size_t shards = 1);

}  // namespace worker::model::test
