// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/ids.hpp"
#include "ledger/eth/messages.hpp"
#include "marketplace/domain/resource.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace marketplace::domain {

using ledger::base::JobId;

enum class JobKind : std::uint8_t { kTrain = 0, kServe = 1 };
[[nodiscard]] std::string_view to_string(JobKind kind) noexcept;  ///< "train", "infer.serve"

/// The part of a job spec that the engine decides on; the spec's bytes stay private.
struct JobTerms {
    JobKind kind = JobKind::kTrain;
    std::uint64_t total_units = 0;     ///< train: steps; serve: 0 (the bids' volumes bound it)
    std::uint64_t segment_units = 0;   ///< train: steps between checkpoints
    std::uint64_t flops_per_step = 0;  ///< train
    bool may_end_early = false;        ///< train: by its early stop, with fewer steps
    friend bool operator==(const JobTerms&, const JobTerms&) = default;
};

enum class JobState : std::uint8_t {
    kOpen = 0,       ///< waiting for a match
    kMatched = 1,    ///< leases are being opened on chain
    kAssigned = 2,   ///< opened; the worker is preparing
    kRunning = 3,    ///< the worker is ready and works
    kCompleted = 4,  ///< all units done (final)
    kFailed = 5,     ///< attempts used up or refused (final)
    kCancelled = 6,  ///< by the buyer (final)
    kExpired = 7,    ///< deadline passed (final)
};
[[nodiscard]] std::string_view to_string(JobState state) noexcept;
[[nodiscard]] constexpr bool is_final(JobState state) noexcept {
    return state >= JobState::kCompleted;
}

/// One posted bid of a job with its signed message and parsed constraints.
struct BidLeg {
    ledger::eth::Bid bid;
    Signature signature;  ///< zero when a contract wallet's signature is checked on chain only
    Constraints constraints;
    friend bool operator==(const BidLeg&, const BidLeg&) = default;
};

}  // namespace marketplace::domain
