// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/bytes.hpp"
#include "ledger/base/result.hpp"
#include "worker/model/finetune.hpp"
#include "worker/model/training.hpp"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <vector>

namespace worker::verify {

/// `k` distinct segments of `count`, in ascending order, that follow from `seed` alone. The seed
/// must be unknown until the segments are committed: SHA-256 of the transcript root and a beacon.
[[nodiscard]] std::vector<std::uint64_t> choose_segments(const ledger::base::Hash32& seed,
                                                         std::uint64_t count, std::uint64_t k);

enum class Verdict : std::uint8_t {
    kEqual,   // the same bits
    kWithin,  // other bits, inside the tolerance of the class: D1 outside its profile, D2
    kGrey,    // payment is withheld, a second auditor looks
    kWrong,
};

/// What a worker says a segment ended with, and how it is looked at.
struct SegmentClaim {
    std::uint64_t end_step = 0;
    std::filesystem::path claimed;  // the checkpoint that the worker gave
    ledger::base::Hash32 claimed_hash;
    std::filesystem::path scratch;  // a folder for the auditor's own checkpoint
    model::RuntimeOptions runtime;
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

struct AuditReport {
    Verdict verdict = Verdict::kWrong;
    std::uint64_t steps = 0;  // run again
    ledger::base::Hash32 found_hash;
    /// Relative L2 of what the parameters moved over the segment; where the job ends, of the
    /// weights that it leaves, rounded as they are.
    double distance = 0;
};

/// Runs the segment and compares. An error means that the audit could not be made (data_missing,
/// the claimed file is not what was receipted, out_of_memory, unsupported for a sealed job); a bad
/// segment is a verdict.
[[nodiscard]] ledger::base::Result<AuditReport> audit_segment(const AuditTask& task);
[[nodiscard]] ledger::base::Result<AuditReport> audit_segment(FinetuneAudit task);

}  // namespace worker::verify
