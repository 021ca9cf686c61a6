// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/bytes.hpp"
#include "ledger/base/result.hpp"
#include "worker/model/training.hpp"

#include <cstdint>
#include <filesystem>
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

/// One segment to run again: from the state before it to the step it ended at.
struct AuditTask {
    model::TrainSpec spec;
    model::TrainFiles files;  // `checkpoint` is the state before; none for the first segment
    std::uint64_t end_step = 0;
    std::filesystem::path claimed;  // the checkpoint that the worker gave
    ledger::base::Hash32 claimed_hash;
    std::filesystem::path scratch;  // a folder for the auditor's own checkpoint
    model::RuntimeOptions runtime;
};

struct AuditReport {
    Verdict verdict = Verdict::kWrong;
    std::uint64_t steps = 0;  // run again
    ledger::base::Hash32 found_hash;
    double distance = 0;  // relative L2 of the parameters' change over the segment
};

/// Runs the segment and compares. An error means that the audit could not be made (data_missing,
/// the claimed file is not what was receipted, out_of_memory, unsupported for a sealed job); a bad
/// segment is a verdict.
[[nodiscard]] ledger::base::Result<AuditReport> audit_segment(const AuditTask& task);

}  // namespace worker::verify
