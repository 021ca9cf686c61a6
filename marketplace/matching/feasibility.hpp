// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/eth/messages.hpp"
#include "marketplace/domain/event.hpp"
#include "marketplace/domain/job.hpp"
#include "marketplace/domain/resource.hpp"

#include <cstdint>
#include <optional>
#include <span>

/// Does an ask fit a bid? One test, used for matching, for quotes and for reasons. Pure.
namespace marketplace::matching {

using domain::Mismatch;

/// An ask as it stands now. Refers to the caller's data.
struct Offer {
    const domain::Hash32& id;
    const ledger::eth::Ask& ask;
    const domain::Resource& resource;
    std::uint64_t free_units = 0;  ///< volume less what is sold
    bool worker_present = false;   ///< connected, for this provider
    bool worker_busy = false;      ///< runs a training lease
    std::uint32_t reliability_bp = 0;
};

/// What one leg of a job asks for now. Refers to the caller's data.
struct Want {
    const ledger::eth::Bid& bid;
    const domain::Constraints& constraints;
    const domain::JobTerms& terms;
    std::uint64_t units = 0;                            ///< to be leased
    std::span<const domain::Address> excluded_workers;  ///< that failed this job
    std::span<const domain::Hash32> excluded_asks;      ///< whose lease the chain refused
    std::uint64_t now_s = 0;
};

/// The first test that fails, in the order of the enum; empty when the ask fits.
[[nodiscard]] std::optional<Mismatch> first_mismatch(const Offer& offer, const Want& want);

/// Do the classes go together? On-demand and standing orders meet each other; interruptible bids
/// also take room that could not be reclaimed, never the other way; reserved meets reserved.
[[nodiscard]] bool classes_meet(ledger::eth::OrderClass ask, ledger::eth::OrderClass bid) noexcept;

/// Counts `offer` into `reasons`: total, its mismatch, and the nearest price.
void count_mismatch(domain::Mismatches& reasons, Mismatch mismatch, std::uint64_t price_atoms);

}  // namespace marketplace::matching
