// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/bytes.hpp"
#include "ledger/base/result.hpp"
#include "worker/model/layout.hpp"

#include <cstdint>
#include <filesystem>
#include <vector>

namespace worker::model {

struct CheckpointInfo {
    std::uint64_t step = 0;
    ledger::base::Hash32 sha256;  // of the file
    std::uint64_t bytes = 0;
};

/// The whole state of a training run. There is no generator state to keep: every random number and
/// the data position follow from the seed and the step.
struct StateBuffer {
    std::vector<float> values;
    std::vector<float> first;  // AdamW's moments
    std::vector<float> second;
    std::uint64_t step = 0;

    void resize(std::uint64_t count) {
        values.resize(count);
        first.resize(count);
        second.resize(count);
    }
};

/// Parameters under their own names, moments as `adam.first.NAME` and `adam.second.NAME`, the step
/// in the metadata.
[[nodiscard]] ledger::base::Result<CheckpointInfo> write_checkpoint(
    const std::filesystem::path& path, const std::vector<ParameterSlot>& layout,
    const StateBuffer& state);

/// Fills `state`, whose vectors have the layout's size. data_invalid when a tensor is missing, has
/// another shape or type, or holds a number that is not finite.
[[nodiscard]] ledger::base::Result<void> read_checkpoint(const std::filesystem::path& path,
                                                         const std::vector<ParameterSlot>& layout,
                                                         StateBuffer& state);

/// Only the parameters, from a checkpoint or a weights file.
[[nodiscard]] ledger::base::Result<void> read_weights(const std::filesystem::path& path,
                                                      const std::vector<ParameterSlot>& layout,
                                                      std::vector<float>& values);

/// Drops the optimiser state: a weights file that can be served and, for "gpt", read by GPT-2
/// tools.
[[nodiscard]] ledger::base::Result<CheckpointInfo> export_weights(
    const std::filesystem::path& checkpoint, const std::filesystem::path& weights);

}  // namespace worker::model
