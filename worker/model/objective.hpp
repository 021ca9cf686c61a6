// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"
#include "worker/model/checkpoint.hpp"
#include "worker/model/layout.hpp"

#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

// Torch stays behind this declaration: its headers cost 14 s per file that includes them.
namespace at {
class Tensor;
}

namespace worker::model {

/// Rows [begin, begin + count) of the batch of a step, which is counted from 0.
struct RowRange {
    std::uint64_t step = 0;
    std::uint32_t begin = 0;
    std::uint32_t count = 0;
};

/// Sums over the held-out samples that an evaluation took.
struct EvalSums {
    double loss = 0;
    std::uint64_t right = 0;  // samples predicted right
    std::uint64_t samples = 0;
};

/// What a training run lowers: a network with its data. The run owns the trained parameters, the
/// optimiser, the schedule and the checkpoints; whatever else a network needs (frozen weights), its
/// objective holds. May throw what torch throws. One thread.
class Objective {
 public:
    virtual ~Objective() = default;

    /// The trained parameters, in the order of the flat buffer and of the checkpoint; at least one.
    [[nodiscard]] virtual const std::vector<ParameterSlot>& layout() const = 0;

    /// Fills the values that the trained parameters start from, in the layout's order.
    [[nodiscard]] virtual ledger::base::Result<void> fill_start(std::uint64_t seed,
                                                                float* values) const {
        fill_initial(layout(), seed, values);
        return {};
    }

    /// Writes what the job leaves at its end, which nothing resumes from. May be called on another
    /// thread than the rest, while no other method runs.
    [[nodiscard]] virtual ledger::base::Result<CheckpointInfo> write_result(
        const std::filesystem::path& path, const StateBuffer& state) const {
        return write_checkpoint(path, layout(), state);
    }

    /// This many rows' share of the step's mean loss: a scalar in fp32 with its graph. The shares
    /// of all rows of a step add up to its mean loss, and follow from the step alone, so that a
    /// resumed run sees the same data. `parameters` has the layout's order, on the run's device, in
    /// bf16 when the run's precision is; tokens are drawn by `rows.step` and the row's number.
    [[nodiscard]] virtual at::Tensor loss(std::span<const at::Tensor> parameters,
                                          const RowRange& rows) = 0;

    /// Over the held-out data; changes nothing that `loss` depends on. Called without gradients.
    [[nodiscard]] virtual ledger::base::Result<EvalSums> evaluate(
        std::span<const at::Tensor> parameters) = 0;
};

}  // namespace worker::model
