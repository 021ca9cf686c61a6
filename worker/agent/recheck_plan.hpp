// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"
#include "marketplace/wire/job_evidence.hpp"
#include "worker/model/model_spec.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

/// Which segments of a job its evidence tells of, and what each was said to begin and end with.
namespace worker::agent {

using ledger::base::Hash32;
using ledger::base::Result;

/// What one receipt of a training job stands for.
struct RecheckSegment {
    std::uint64_t number = 0;  ///< from 1, in the order of the evidence
    std::size_t lease = 0;     ///< in the evidence
    std::uint64_t sequence = 0;
    std::uint64_t begin_step = 0;
    std::uint64_t end_step = 0;
    std::optional<Hash32> before;  ///< checkpoint it goes on from; none: the job's beginning
    Hash32 claimed;                ///< checkpoint it ended with
    std::string why_not;           ///< it cannot be run again; empty: it can
};

/// All segments, oldest lease first. unsupported: not a training job. A lease must begin where the
/// job does, or at a checkpoint that an earlier receipt of the evidence was signed for: else where
/// it began is nobody's word, and its segments say so in `why_not`.
[[nodiscard]] Result<std::vector<RecheckSegment>> plan_recheck(
    const marketplace::wire::JobEvidence& evidence, const model::JobSpec& spec);

/// Steps of the job, from its beginning without a gap, that receipts were signed for.
[[nodiscard]] std::uint64_t receipted_steps(const std::vector<RecheckSegment>& segments);

/// The thread counts that a worker of so many cores may have run with, likeliest first: its bits
/// follow from the count, and no receipt tells it.
[[nodiscard]] std::vector<int> likely_threads(std::uint32_t cpu_cores);

}  // namespace worker::agent
