// SPDX-License-Identifier: Apache-2.0
#include "worker/model/loop_spec.hpp"

#include "ledger/base/limits.hpp"
#include "worker/model/json_reader.hpp"

#include <limits>
#include <string>

namespace worker::model {

namespace limits = ledger::base::limits;
using ledger::base::Result;

Result<LoopSpec> read_loop_spec(const FieldReader& in) {
    LoopSpec loop;
    TRY_ASSIGN(loop.steps, in.integer("steps", 1, limits::kMaxTrainingSteps));
    TRY_ASSIGN(loop.segment_steps, in.integer("segment_steps", 1, loop.steps));
    TRY_ASSIGN(const auto batch, in.integer("batch", 1, 65536));
    TRY_ASSIGN(const auto evals, in.integer_or("eval_batches", 0, 10'000, 8));
    TRY_ASSIGN(loop.learning_rate, in.decimal("learning_rate", 1e-9, 1.0));
    TRY_ASSIGN(loop.warmup_steps, in.integer_or("warmup_steps", 0, loop.steps, 0));
    if (in.has("weight_decay")) {
        TRY_ASSIGN(loop.weight_decay, in.decimal("weight_decay", 0.0, 1.0));
    }
    TRY_ASSIGN(loop.seed, in.integer("seed", 0, std::numeric_limits<std::uint64_t>::max()));
    if (in.has("precision")) {
        TRY_ASSIGN(const std::string precision, in.text("precision", 8));
        if (precision != "fp32" && precision != "bf16")
            return in.refuse("precision", "must be \"fp32\" or \"bf16\"");
        loop.precision = precision == "bf16" ? Precision::kBf16 : Precision::kFp32;
    }
    loop.batch = static_cast<std::uint32_t>(batch);
    loop.eval_batches = static_cast<std::uint32_t>(evals);
    return loop;
}

}  // namespace worker::model
