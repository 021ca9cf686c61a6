// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "marketplace/domain/job.hpp"

#include <cstdint>
#include <string_view>

namespace marketplace::domain {

enum class LeaseState : std::uint8_t {
    kMatched = 0,     ///< wants to be opened on chain
    kOpen = 1,        ///< locked on chain; the worker is told
    kRunning = 2,     ///< the worker is ready: billing began
    kClosing = 3,     ///< no further work; wants its last claim and its close on chain
    kClosed = 4,      ///< closed on chain (final)
    kOpenFailed = 5,  ///< the chain refused the open (final)
};
[[nodiscard]] std::string_view to_string(LeaseState state) noexcept;

/// Why a lease ended; the numbers are those of the contract.
enum class CloseReason : std::uint8_t {
    kNone = 0,
    kCompleted = 1,
    kBuyerCancelled = 2,
    kWorkerLost = 3,
    kWorkerFailed = 4,
    kExpired = 5,
    kOutbid = 6,
    kProviderLeft = 7,
};
[[nodiscard]] std::string_view to_string(CloseReason reason) noexcept;

using ledger::eth::lease_id;

/// A match and what became of it. Amounts in atoms.
struct Lease {
    Hash32 id;
    JobId job;
    std::uint8_t leg = 0;  ///< which of the job's bids
    Hash32 ask_hash;
    Hash32 bid_hash;
    std::uint64_t index = 0;
    Address buyer;
    Address provider;
    Address voucher_signer;
    Address worker;
    ledger::eth::UnitKind unit_kind = ledger::eth::UnitKind::kTrainingStep;
    std::uint64_t price_atoms = 0;
    std::uint64_t max_units = 0;
    std::uint64_t locked_atoms = 0;
    LeaseState state = LeaseState::kMatched;
    CloseReason close_reason = CloseReason::kNone;
    std::uint64_t start_units = 0;  ///< units of the job done before this lease
    Hash32 start_checkpoint;        ///< zero: from the beginning
    // Receipts accepted so far.
    std::uint64_t sequence = 0;
    Hash32 last_receipt;  ///< struct hash; zero before the first
    std::uint64_t units = 0;
    std::uint64_t amount_atoms = 0;
    Hash32 checkpoint;     ///< response hash of the last receipt (train)
    Hash32 receipts_root;  ///< Merkle root over the receipts so far
    // Highest voucher signed by both sides, and what the chain has paid.
    std::uint64_t voucher_sequence = 0;
    std::uint64_t voucher_amount_atoms = 0;
    std::uint64_t claimed_atoms = 0;
    std::uint64_t fee_atoms = 0;
    std::uint64_t refunded_atoms = 0;
    TimeMs matched_ms = 0;
    TimeMs starts_ms = 0;      ///< its place in the worker's calendar: reserved leases begin later
    TimeMs ends_ms = 0;        ///< at the latest; 0: when its units are used up
    TimeMs reclaim_at_ms = 0;  ///< it must make room then; 0: it may stay
    TimeMs changed_ms = 0;
    friend bool operator==(const Lease&, const Lease&) = default;
};

}  // namespace marketplace::domain
