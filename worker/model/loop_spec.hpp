// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"

#include <cstdint>

namespace worker::model {

class FieldReader;

enum class Precision : std::uint8_t { kFp32, kBf16 };

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
};

/// Reads the fields of LoopSpec from a job spec. job_spec_invalid names the field that is wrong.
[[nodiscard]] ledger::base::Result<LoopSpec> read_loop_spec(const FieldReader& in);

}  // namespace worker::model
