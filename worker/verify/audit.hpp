// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/bytes.hpp"
#include "ledger/base/result.hpp"
#include "worker/model/finetune.hpp"
#include "worker/model/training.hpp"
#include "worker/verify/verdict.hpp"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>

namespace worker::verify {

/// How an audit goes, for people: steps of the job done and their loss.
using AuditProgress = std::function<void(const model::StepReport&)>;

/// What a worker says a segment ended with, and how it is looked at.
struct SegmentClaim {
    std::uint64_t end_step = 0;
    std::filesystem::path claimed;  // the checkpoint that the worker gave
    ledger::base::Hash32 claimed_hash;
    std::filesystem::path scratch;  // a folder for the auditor's own checkpoint
    model::RuntimeOptions runtime;
    AuditProgress on_progress;  // may be empty
};

/// One segment to run again: from the state before it to the step it ended at.
struct AuditTask : SegmentClaim {
    model::TrainSpec spec;
    model::TrainFiles files;  // `checkpoint` is the state before; none for the first segment
};

/// The same of a fine-tuning job.
struct FinetuneAudit : SegmentClaim {
    model::FinetuneSpec spec;
    std::optional<std::filesystem::path> checkpoint;  // the state before
    /// The job's model with its examples, tokenised as the worker does it; see
    /// make_finetune_objective.
    std::unique_ptr<model::Objective> objective;
};

/// Runs the segment and compares. An error means that the audit could not be made (data_missing,
/// the claimed file is not what was receipted, out_of_memory, unsupported for a sealed job); a bad
/// segment is a verdict.
[[nodiscard]] ledger::base::Result<AuditReport> audit_segment(const AuditTask& task);
[[nodiscard]] ledger::base::Result<AuditReport> audit_segment(FinetuneAudit task);

}  // namespace worker::verify
