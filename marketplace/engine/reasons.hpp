// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

/// The reasons that AskClosed and JobChanged carry; the table in README.md says who causes each
/// and what to do. Codes of failed leases (LeaseFailed) stand beside them.
namespace marketplace::engine::reason {

// Asks and jobs
inline constexpr std::string_view kExpired = "expired";
inline constexpr std::string_view kAmended = "amended";
// Asks
inline constexpr std::string_view kCancelled = "cancelled";
// Jobs that wait
inline constexpr std::string_view kInsufficientFunds = "insufficient_funds";
inline constexpr std::string_view kNextSlice = "next_slice";
inline constexpr std::string_view kOutbid = "outbid";
inline constexpr std::string_view kWorkerLost = "worker_lost";
inline constexpr std::string_view kEquivocation = "receipt_equivocation";
inline constexpr std::string_view kProviderLeft = "provider_left";
inline constexpr std::string_view kChainRefused = "chain_refused";
// Jobs that ended
inline constexpr std::string_view kBuyerCancelled = "buyer_cancelled";
inline constexpr std::string_view kMaxDuration = "max_duration";
inline constexpr std::string_view kAttemptsUsedUp = "attempts_used_up";
// Faults of the job itself: from two workers they end it.
inline constexpr std::string_view kJobSpecInvalid = "job_spec_invalid";
inline constexpr std::string_view kDataMissing = "data_missing";
inline constexpr std::string_view kDataInvalid = "data_invalid";

}  // namespace marketplace::engine::reason
