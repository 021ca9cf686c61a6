// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/bytes.hpp"
#include "ledger/base/result.hpp"

#include <cstdint>
#include <optional>

namespace worker::model {

class FieldReader;

enum class Precision : std::uint8_t { kFp32, kBf16 };

enum class OptimizerKind : std::uint8_t { kAdamW, kSgd };

/// How gradients change the parameters. Weight decay is LoopSpec's and concerns matrices alone:
/// decoupled in AdamW, part of the gradient in SGD, as each was published.
struct OptimizerSpec {
    OptimizerKind kind = OptimizerKind::kAdamW;
    float beta1 = 0.9F;  // adamw
    float beta2 = 0.95F;
    float epsilon = 1e-8F;
    float momentum = 0;  // sgd
    bool nesterov = false;
};

/// What the rate does after its warm-up: falls to `min_rate_share` of its peak, or stays.
enum class Schedule : std::uint8_t { kCosine, kLinear, kConstant };

/// Training ends when this many evaluations in a row have not lowered the best held-out loss by
/// more than `min_delta`.
struct EarlyStop {
    std::uint32_t patience = 1;
    double min_delta = 0;
};

/// What a job spec says of its training loop, whatever it trains.
struct LoopSpec {
    std::uint32_t batch = 0;          // rows a step
    std::uint64_t steps = 0;          // of the whole job
    std::uint64_t segment_steps = 0;  // between two checkpoints
    std::uint32_t eval_batches = 0;   // most that an evaluation takes; 0: none
    double learning_rate = 0;         // at its peak
    std::uint64_t warmup_steps = 0;
    double weight_decay = 0;
    std::uint64_t seed = 0;
    Precision precision = Precision::kFp32;
    OptimizerSpec optimizer;
    Schedule schedule = Schedule::kCosine;
    double min_rate_share = 0.1;
    double clip_norm = 1.0;        // of the whole gradient; 0: no clipping
    std::uint32_t ranks = 1;       // equal parts of a batch, whose gradients add up in their order
    std::uint32_t accumulate = 1;  // of a rank's part, for memory: equal pieces one after another
    std::optional<EarlyStop> early_stop;
    /// The job's data, initial weights and checkpoints are sealed blobs; the salt is their context.
    std::optional<ledger::base::Hash32> sealed;
};

/// Rows that are in memory at a time; `read_loop_spec` makes sure that it divides the batch.
[[nodiscard]] constexpr std::uint32_t micro_batch(const LoopSpec& loop) noexcept {
    return loop.batch / (loop.ranks * loop.accumulate);
}

/// Whether the loop evaluates once `step` steps are done: at the end, and at about ten ends of
/// segments, or at each of them where the job may stop early.
[[nodiscard]] bool evaluation_due(const LoopSpec& loop, std::uint64_t step) noexcept;

/// Reads the fields of LoopSpec from a job spec. job_spec_invalid names the field that is wrong.
[[nodiscard]] ledger::base::Result<LoopSpec> read_loop_spec(const FieldReader& in);

}  // namespace worker::model
