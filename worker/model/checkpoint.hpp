// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/bytes.hpp"
#include "ledger/base/result.hpp"
#include "worker/model/layout.hpp"

#include <cstdint>
#include <filesystem>
#include <limits>
#include <optional>
#include <vector>

namespace worker::model {

struct CheckpointInfo {
    std::uint64_t step = 0;
    ledger::base::Hash32 sha256;  // of the file
    std::uint64_t bytes = 0;
};

/// How the held-out loss went, for a job that may stop early.
struct Patience {
    double best_loss = std::numeric_limits<double>::infinity();
    std::uint32_t stale = 0;  // evaluations since the best one
    friend bool operator==(const Patience&, const Patience&) = default;
};

/// The whole state of a training run. There is no generator state to keep: every random number and
/// the data position follow from the seed and the step.
struct StateBuffer {
    std::vector<float> values;
    std::vector<float> first;   // AdamW's first moment or SGD's velocity; empty without momentum
    std::vector<float> second;  // AdamW's
    std::uint64_t step = 0;
    std::optional<Patience> patience;  // of a job that may stop early

    void resize(std::uint64_t count, const LoopSpec& loop = {}) {
        const bool adam = loop.optimizer.kind == OptimizerKind::kAdamW;
        values.resize(count);
        first.resize(adam || loop.optimizer.momentum > 0.0F ? count : 0);
        second.resize(adam ? count : 0);
        patience = loop.early_stop ? std::optional<Patience>(Patience{}) : std::nullopt;
    }
};

/// Parameters under their own names, moments as `adam.first.NAME` and `adam.second.NAME` or
/// `sgd.velocity.NAME`, the step and the patience in the metadata.
[[nodiscard]] ledger::base::Result<CheckpointInfo> write_checkpoint(
    const std::filesystem::path& path, const std::vector<ParameterSlot>& layout,
    const StateBuffer& state);

/// Fills `state`, which has the size that its job needs. data_invalid when a tensor is missing, has
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
