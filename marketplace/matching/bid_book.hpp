// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/eth/messages.hpp"
#include "marketplace/domain/job.hpp"
#include "marketplace/domain/resource.hpp"
#include "marketplace/matching/feasibility.hpp"
#include "marketplace/matching/id_table.hpp"
#include "marketplace/matching/ladders.hpp"
#include "marketplace/matching/signature.hpp"

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace marketplace::matching {

/// A job's number in its owner's list; rises with the time of posting.
using JobIndex = std::uint32_t;

/// Whose turn it is in a round: the higher price first (the ceiling of the first leg, or the price
/// its ramp starts at), then the older job. Less: sooner.
struct BidRank {
    std::uint64_t price_atoms = 0;
    JobIndex job = 0;
    friend bool operator==(const BidRank&, const BidRank&) = default;
    friend std::strong_ordering operator<=>(const BidRank& a, const BidRank& b) noexcept {
        if (const auto order = b.price_atoms <=> a.price_atoms; order != 0) return order;
        return a.job <=> b.job;
    }
};
/// The rank of a job by its first leg.
[[nodiscard]] BidRank rank_of(JobIndex job, const domain::BidLeg& first) noexcept;

/// The open bids, by whom an ask can be used. Answers in order of rank which jobs may use an ask:
/// a filter that never misses a job whose leg fits by `first_mismatch`, and lets some pass that do
/// not fit; the owner tests those itself. Pure, deterministic, not thread-safe.
class BidBook {
 public:
    BidBook() = default;
    BidBook(BidBook&&) = default;
    BidBook& operator=(BidBook&&) = default;

    /// Adds a job that is not in the book, with what each leg wants now (one leg, or two). The
    /// leg's highest price is its ceiling, whatever its ramp offers now; its units are those of
    /// `wants`: add it again when they change.
    void add(const BidRank& rank, std::span<const Want> wants);
    /// Takes it out; nothing happens when it is not there.
    void remove(JobIndex job);
    [[nodiscard]] bool contains(JobIndex job) const noexcept;

    /// What the book asks of an ask. Make it again when the ask's state changed or bids were added.
    struct Offered {
        ledger::eth::UnitKind unit_kind = ledger::eth::UnitKind::kTrainingStep;
        std::uint64_t price_atoms = 0;
        std::uint32_t model = 0;
        Signature signature;
    };
    [[nodiscard]] Offered offered(const ledger::eth::Ask& ask, const domain::Resource& resource,
                                  const AskState& state) const;

    /// The first job after `after` (of all, without) that may use the ask; empty when none is left.
    [[nodiscard]] std::optional<BidRank> next(const Offered& offered,
                                              const std::optional<BidRank>& after) const;

    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] std::size_t memory_bytes() const noexcept;
    /// Order, counts and bounds; the first violation as text.
    [[nodiscard]] std::optional<std::string> find_violation() const;

 private:
    struct Row {
        struct Hot {
            Key key;
            std::uint64_t most_atoms = 0;  ///< the highest price it ever pays
        };
        struct Bound {
            Signature need = kNoNeed;
            std::uint64_t most_atoms = 0;
            friend bool operator==(const Bound&, const Bound&) = default;
        };
        static void widen(Bound& bound, const Signature& need, const Hot& hot) {
            join(bound, {need, hot.most_atoms});
        }
        static void join(Bound& bound, const Bound& other) {
            bound.need = easiest_of(bound.need, other.need);
            bound.most_atoms = std::max(bound.most_atoms, other.most_atoms);
        }
    };
    using Rows = Ladders<Row>;
    using LadderId = Rows::LadderId;
    static constexpr std::uint32_t kNone = IdTable::kNone;
    static constexpr std::uint32_t kAnyModel = 0;  // in the place of a model's id
    static constexpr std::size_t kMaxModels = 10'000;

    /// One ladder that a job stands in; the next of the same job.
    struct Link {
        LadderId ladder = 0;
        std::uint32_t next = kNone;
    };
    struct Resting {
        std::uint64_t price_atoms = 0;
        std::uint32_t links = kNone;
    };

    /// The key of a rank, or of what comes right after it.
    [[nodiscard]] static Key key_of(const BidRank& rank, std::uint64_t after = 0) noexcept {
        return {~rank.price_atoms, rank.job + after};
    }
    [[nodiscard]] static BidRank rank_of(const Key& key) noexcept {
        return {~key.first, static_cast<JobIndex>(key.second)};
    }
    void add_leg(const BidRank& rank, const Want& want);
    void put(const BidRank& rank, ledger::eth::UnitKind kind, std::uint32_t model,
             const Signature& need, const Row::Hot& row);
    void link(JobIndex job, LadderId ladder);
    [[nodiscard]] LadderId ladder_for(ledger::eth::UnitKind kind, std::uint32_t model,
                                      bool is_late);
    /// From where to look, and the last place worth looking at.
    struct Found {
        Key from = kFirstKey;
        Key limit = kLastKey;
        bool is_found = false;
    };
    void search(std::size_t ladder_at, const Offered& offered, Found& found) const;

    Rows rows_;
    Names models_{1};                                                         // id 0 is any model
    std::array<std::vector<LadderId>, ledger::eth::kUnitKindCount> ladders_;  // see ladder_for
    std::vector<Resting> resting_;                                            // by job
    std::vector<Link> links_;
    std::vector<std::uint32_t> free_links_;
    std::size_t size_ = 0;
};

}  // namespace marketplace::matching
