// SPDX-License-Identifier: Apache-2.0
#include "worker/model/loop_spec.hpp"

#include "ledger/base/hex.hpp"
#include "ledger/base/limits.hpp"
#include "worker/model/json_reader.hpp"

#include <limits>
#include <string>
#include <string_view>

namespace worker::model {

namespace limits = ledger::base::limits;
using ledger::base::Result;

namespace {

constexpr std::uint64_t kRanksMax = 16;
constexpr std::uint64_t kAccumulateMax = 65536;

Result<void> read_decimal(const FieldReader& in, std::string_view name, double min, double max,
                          float& value) {
    if (!in.has(name)) return {};
    TRY_ASSIGN(const double number, in.decimal(name, min, max));
    value = static_cast<float>(number);
    return {};
}

Result<OptimizerSpec> read_optimizer(const FieldReader& job) {
    OptimizerSpec out;
    if (!job.has("optimizer")) return out;
    TRY_ASSIGN(const FieldReader in, job.object("optimizer"));
    TRY_ASSIGN(const std::string name, in.text("name", 16));
    if (name == "adamw") {
        TRY(in.only({"name", "beta1", "beta2", "epsilon"}));
        TRY(read_decimal(in, "beta1", 0.0, 0.9999, out.beta1));
        TRY(read_decimal(in, "beta2", 0.0, 0.999999, out.beta2));
        TRY(read_decimal(in, "epsilon", 1e-12, 1.0, out.epsilon));
        return out;
    }
    if (name != "sgd") return in.refuse("name", "must be \"adamw\" or \"sgd\"");
    TRY(in.only({"name", "momentum", "nesterov"}));
    out.kind = OptimizerKind::kSgd;
    TRY(read_decimal(in, "momentum", 0.0, 0.9999, out.momentum));
    if (in.has("nesterov")) {
        TRY_ASSIGN(out.nesterov, in.flag("nesterov"));
    }
    if (out.nesterov && out.momentum == 0.0F)
        return in.refuse("nesterov", "needs a momentum above 0");
    return out;
}

Result<void> read_schedule(const FieldReader& in, LoopSpec& loop) {
    if (in.has("schedule")) {
        TRY_ASSIGN(const std::string name, in.text("schedule", 16));
        if (name != "cosine" && name != "linear" && name != "constant")
            return in.refuse("schedule", "must be \"cosine\", \"linear\" or \"constant\"");
        loop.schedule = name == "cosine"   ? Schedule::kCosine
                        : name == "linear" ? Schedule::kLinear
                                           : Schedule::kConstant;
    }
    if (in.has("min_rate_share")) {
        if (loop.schedule == Schedule::kConstant)
            return in.refuse("min_rate_share", "has no use in a constant schedule");
        TRY_ASSIGN(loop.min_rate_share, in.decimal("min_rate_share", 0.0, 1.0));
    }
    if (in.has("clip_norm")) {
        TRY_ASSIGN(loop.clip_norm, in.decimal("clip_norm", 0.0, 1e6));
    }
    return {};
}

Result<void> read_parts(const FieldReader& in, LoopSpec& loop) {
    TRY_ASSIGN(const auto ranks, in.integer_or("ranks", 1, kRanksMax, 1));
    TRY_ASSIGN(const auto accumulate, in.integer_or("accumulate", 1, kAccumulateMax, 1));
    if (loop.batch % ranks != 0) return in.refuse("ranks", "must divide the batch");
    if (loop.batch / ranks % accumulate != 0)
        return in.refuse("accumulate", "must divide the rows of a rank");
    loop.ranks = static_cast<std::uint32_t>(ranks);
    loop.accumulate = static_cast<std::uint32_t>(accumulate);
    return {};
}

Result<void> read_early_stop(const FieldReader& job, LoopSpec& loop) {
    if (!job.has("early_stop")) return {};
    TRY_ASSIGN(const FieldReader in, job.object("early_stop"));
    TRY(in.only({"patience", "min_delta"}));
    if (loop.eval_batches == 0) return job.refuse("early_stop", "needs eval_batches above 0");
    EarlyStop stop;
    TRY_ASSIGN(const auto patience, in.integer("patience", 1, 1000));
    stop.patience = static_cast<std::uint32_t>(patience);
    if (in.has("min_delta")) {
        TRY_ASSIGN(stop.min_delta, in.decimal("min_delta", 0.0, 1000.0));
    }
    loop.early_stop = stop;
    return {};
}

}  // namespace

bool evaluation_due(const LoopSpec& loop, std::uint64_t step) noexcept {
    if (step == loop.steps) return true;
    const std::uint64_t segments = (loop.steps + loop.segment_steps - 1) / loop.segment_steps;
    const std::uint64_t every = loop.early_stop ? 1 : (segments + 9) / 10;
    return step % (every * loop.segment_steps) == 0;
}

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
    TRY_ASSIGN(loop.optimizer, read_optimizer(in));
    TRY(read_schedule(in, loop));
    TRY(read_parts(in, loop));
    TRY(read_early_stop(in, loop));
    if (in.has("sealed")) {
        TRY_ASSIGN(const std::string salt, in.text("sealed", 66));
        const auto parsed = ledger::base::parse_fixed<ledger::base::Hash32>(salt);
        if (!parsed || parsed->is_zero()) return in.refuse("sealed", "must be 32 random bytes");
        loop.sealed = *parsed;
    }
    return loop;
}

}  // namespace worker::model
