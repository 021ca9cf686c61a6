// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/eth/messages.hpp"
#include "marketplace/domain/event.hpp"
#include "marketplace/domain/job.hpp"
#include "marketplace/domain/resource.hpp"
#include "marketplace/matching/calendar.hpp"

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
    std::uint32_t reliability_bp = 0;
    const Calendar* calendar = nullptr;  ///< the worker's exclusive work; null: none
};

/// What one leg of a job asks for now. Refers to the caller's data.
struct Want {
    const ledger::eth::Bid& bid;
    const domain::Constraints& constraints;
    const domain::JobTerms& terms;
    std::uint64_t units = 0;                            ///< all that is left to be leased
    std::span<const domain::Address> excluded_workers;  ///< that failed this job
    std::span<const domain::Hash32> excluded_asks;      ///< whose lease the chain refused
    TimeMs now_ms = 0;
    std::uint64_t price_atoms = 0;  ///< the most it pays now; see offered_price
};

/// What a bid pays at most at `now_ms`: its ceiling, or less while its ramp still rises. Integers:
/// from + (ceiling - from) * (now - start) / (end - start), rounded down.
[[nodiscard]] std::uint64_t offered_price(const ledger::eth::Bid& bid,
                                          const domain::Constraints& constraints, TimeMs now_ms);
/// The first millisecond at which a bid offers `price_atoms`, which is at most its ceiling.
[[nodiscard]] TimeMs offers_from(const ledger::eth::Bid& bid,
                                 const domain::Constraints& constraints, std::uint64_t price_atoms);

/// A stretch of time, half-open, in milliseconds.
struct Window {
    TimeMs from = 0;
    TimeMs until = 0;
    friend bool operator==(const Window&, const Window&) = default;
};
/// When work matched now would run: from now, or from a reserved bid's start; until the deadline or
/// the bid's maximum duration.
[[nodiscard]] Window work_window(const Want& want);
/// Does the work have its worker to itself? Training does; serving shares it.
[[nodiscard]] constexpr bool is_exclusive(const domain::JobTerms& terms) noexcept {
    return terms.kind == domain::JobKind::kTrain;
}
/// The least units a lease of this bid may have: all that is left, or a slice of it.
[[nodiscard]] std::uint64_t least_units(const Want& want) noexcept;
/// What a lease under this ask would have.
[[nodiscard]] std::uint64_t units_taken(const Offer& offer, const Want& want) noexcept;

/// The first test that fails, in the order of the enum; empty when the ask fits.
[[nodiscard]] std::optional<Mismatch> first_mismatch(const Offer& offer, const Want& want);

/// Do the classes go together? On-demand and standing orders meet each other; interruptible bids
/// also take room that could not be reclaimed, never the other way; reserved meets reserved.
[[nodiscard]] bool classes_meet(ledger::eth::OrderClass ask, ledger::eth::OrderClass bid) noexcept;

/// Counts `offer` into `reasons`: total, its mismatch, and how near it came.
void count_mismatch(domain::Mismatches& reasons, Mismatch mismatch, const Offer& offer);

}  // namespace marketplace::matching
