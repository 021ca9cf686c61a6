// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/eth/messages.hpp"
#include "marketplace/domain/resource.hpp"
#include "marketplace/matching/calendar.hpp"
#include "marketplace/matching/feasibility.hpp"
#include "marketplace/matching/id_table.hpp"
#include "marketplace/matching/price_ladders.hpp"
#include "marketplace/matching/signature.hpp"
#include "marketplace/matching/slab.hpp"

#include <array>
#include <cstdint>
#include <limits>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace marketplace::matching {

/// An ask's number in its owner's list; rises with the time of posting.
using AskIndex = std::uint32_t;
/// An interned name (GPU model, region, runtime, interconnect).
using NameId = std::uint16_t;
/// An interned account (provider, worker or buyer).
using PartyId = std::uint32_t;
inline constexpr PartyId kNoParty = IdTable::kNone;

/// A bid made ready for searching, by OrderBook::compile. Empty list: any. Its owner may lower or
/// raise `max_price_atoms` and `units`, and sets `exclude_asks`.
struct Query {
    ledger::eth::UnitKind unit_kind = ledger::eth::UnitKind::kTrainingStep;
    bool never = false;      ///< no ask can fit: a name nobody offers, a bid out of its time
    bool exclusive = false;  ///< wants its worker to itself for the window
    std::uint8_t numeric_bit = 0;
    std::uint8_t min_tier = 0;
    std::uint8_t groups = 0;  ///< of asks that may meet the bid, as bits
    std::uint16_t gang = 1;
    Signature need;
    std::uint64_t max_price_atoms = 0;  ///< by the price offered and by the maximum amount
    std::uint64_t units = 0;
    std::uint64_t least_units = 0;
    std::uint64_t slice_atoms = 0;  ///< the most a slice may lock; 0: max_price_atoms says it all
    std::uint64_t flops = 0;
    std::uint64_t min_vram_mib = 0;
    std::uint64_t min_ram_mib = 0;
    std::uint64_t min_disk_mib = 0;
    std::uint32_t min_gpu_count = 0;
    std::uint32_t min_cpu_cores = 0;
    std::uint32_t min_bandwidth_mbps = 0;
    std::uint32_t min_gflop_per_s = 0;
    std::uint32_t min_memory_mb_per_s = 0;
    std::uint32_t min_reliability_bp = 0;
    std::uint32_t min_reclaim_window_s = 0;
    std::uint32_t from_s = 0;  ///< the work's start
    Window window;             ///< of the work
    Seconds certain;           ///< the window rounded inwards; kNoHold: not exclusive
    PartyId buyer = kNoParty;
    std::vector<NameId> models;
    std::vector<NameId> regions;
    std::vector<NameId> runtimes;
    std::vector<NameId> interconnects;
    std::vector<PartyId> providers;
    std::vector<PartyId> exclude_providers;
    std::vector<PartyId> exclude_workers;
    std::vector<AskIndex> exclude_asks;
};

/// What the book keeps of an ask: what a search compares, and the exact values that a signature
/// only sketches.
struct AskRow {
    Key key;  ///< price; then reliability (high first) and age
    Signature offer;
    Seconds starts;  ///< when work may start
    Seconds hold;    ///< the first promise of its worker, rounded inwards; or none
    std::uint64_t max_flops = 0;
    std::uint64_t min_units = 0;
    std::uint64_t max_units = 0;
    std::uint64_t limit_units = 0;  ///< the most one lease can have now
    std::uint32_t vram_mib = 0;
    std::uint32_t ram_mib = 0;
    std::uint32_t disk_mib = 0;
    std::uint32_t bandwidth_mbps = 0;
    std::uint32_t reclaim_window_s = 0;  ///< unbounded where nothing is reclaimed
    std::uint32_t buyer_lists = 0;       ///< 0: none
    PartyId provider = 0;
    PartyId worker = 0;
    PriceLadders::BucketId bucket : 24 = 0;
    PriceLadders::BucketId ladder : 8 = 0;
    std::uint16_t gpu_count = 0;
    std::uint16_t cpu_cores = 0;
    std::uint16_t max_gang = 0;
    NameId runtime = 0;
    NameId interconnect = 0;
    std::uint8_t tier = 0;
    std::uint8_t numeric_classes : 4 = 0;
    bool is_resting : 1 = false;  ///< it stands in its ladder
};
static_assert(sizeof(AskRow) == 128);  // two cache lines

/// The resting asks. Answers which fits a bid and is best (price, then reliability, then age), as a
/// scan of all asks with `first_mismatch` would. Buckets by unit kind, class, GPU model and region,
/// each with ladders in order of price, reliability, age. Only asks that can be had now stand in a
/// ladder: not those sold out, not yet open, or of a worker that is away or busy. Pure,
/// deterministic, not thread-safe.
class OrderBook {
 public:
    using State = AskState;

    OrderBook() = default;
    OrderBook(OrderBook&&) = default;
    OrderBook& operator=(OrderBook&&) = default;

    // The owner keeps the book up to date ---------------------------------------------------------

    /// False when the book cannot hold such a machine: its names are new and the book knows too
    /// many already, or a quantity passes 32 bits (memory and disk, in MiB) or 16 (GPUs, CPU
    /// cores).
    [[nodiscard]] bool can_add(const domain::Resource& resource) const;
    /// Adds an ask that is not in the book and that `can_add` allows; indexes need not come in
    /// order.
    void add(AskIndex index, const ledger::eth::Ask& ask, const domain::Resource& resource,
             const State& state);
    /// Takes it out; nothing happens when it is not there.
    void remove(AskIndex index);
    /// Brings an ask's state up to date; nothing happens when it is not there.
    void update(AskIndex index, const State& state);
    /// The worker's calendar, for all its asks, those in the book and those to come. The calendar
    /// is the owner's and must stay where it is; null: none. Call it again after every hold and
    /// release. `now_ms` never falls from call to call, and no query starts before it.
    void set_calendar(const domain::Address& worker, const Calendar* calendar, TimeMs now_ms);
    /// Asks that open by now, and those of workers whose promise is over, stand in line again. A
    /// book that is not told answers the same, and slower.
    void advance(TimeMs now_ms);

    // Queries -------------------------------------------------------------------------------------

    /// A bid with its names as numbers. Valid until an ask is added; the calendars, prices and
    /// units of the asks may move. `want.excluded_asks` are not looked at: set `exclude_asks`.
    [[nodiscard]] Query compile(const Want& want) const;
    /// The same into a query that was used before, whose memory is used again.
    void compile(const Want& want, Query& query) const;
    /// The most the bid may pay per unit: `price_atoms`, or less by its maximum amount for the
    /// least it takes. With the ceiling for `price_atoms` it gives a query that looks past a ramp's
    /// present offer.
    [[nodiscard]] static std::uint64_t highest_price(const Want& want,
                                                     std::uint64_t price_atoms) noexcept;

    /// The best ask for the query.
    [[nodiscard]] std::optional<AskIndex> best(const Query& query, Effort* effort = nullptr) const;
    /// The best ask for the query after one that is in the book, in order of price, reliability,
    /// age: best, then next of that, and so on gives all that fit.
    [[nodiscard]] std::optional<AskIndex> next(const Query& query, AskIndex after) const;
    /// The best ask of one worker, as if its calendar were empty.
    [[nodiscard]] std::optional<AskIndex> best_for_worker(const Query& query,
                                                          const domain::Address& worker) const;
    /// The best ask of each worker, then the best `count` of those, best first; all or none.
    [[nodiscard]] std::vector<AskIndex> best_gang(const Query& query, std::size_t count,
                                                  Effort* effort = nullptr) const;

    [[nodiscard]] bool contains(AskIndex index) const noexcept;
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] std::size_t memory_bytes() const noexcept;
    /// Order, counts and bounds; the first violation as text.
    [[nodiscard]] std::optional<std::string> find_violation() const;

 private:
    using BucketId = PriceLadders::BucketId;
    using RowNo = Slab<AskRow>::Number;
    static constexpr std::uint32_t kNone = IdTable::kNone;

    /// What the asks of one bucket have in common.
    struct Bucket {
        std::uint8_t unit_kind = 0;
        std::uint8_t group = 0;
        NameId model = 0;
        NameId region = 0;
        friend bool operator==(const Bucket&, const Bucket&) = default;
    };
    struct Neighbours {
        AskIndex next = kNone;
        AskIndex previous = kNone;
    };
    /// Where an ask is, and its neighbours among the asks of its worker and of its provider.
    struct Listed {
        RowNo row = kNone;
        Neighbours of_worker;
        Neighbours of_provider;
    };
    struct Party {
        domain::Address address;
        AskIndex first_ask = kNone;       ///< of it as a worker
        AskIndex first_offered = kNone;   ///< of it as a provider
        std::uint32_t offered = 0;        ///< how many those are
        std::uint32_t in_lists : 31 = 0;  ///< allow lists of asks that name it as a buyer
        bool has_promised : 1 = false;    ///< as a worker; see promises_
    };
    /// Of a worker with something in its calendar.
    struct Promise {
        const Calendar* calendar = nullptr;
        Seconds hold;           ///< the first, rounded inwards
        TimeMs busy_until = 0;  ///< 0: not busy
    };
    /// As measured; beside the rows, since few bids ask for it.
    struct Speed {
        std::uint32_t gflop_per_s = 0;
        std::uint32_t memory_mb_per_s = 0;
    };
    struct BuyerLists {
        std::vector<PartyId> only;
        std::vector<PartyId> never;
    };
    struct Found {
        Key key = kLastKey;
        PartyId worker = kNoParty;
    };

    [[nodiscard]] static Key key_for(std::uint64_t price, std::uint32_t reliability_bp,
                                     AskIndex index) noexcept;
    [[nodiscard]] static std::uint32_t hash_of(const Bucket& bucket) noexcept;
    [[nodiscard]] AskRow& row_of(AskIndex index) { return rows_[listed_[index].row]; }
    [[nodiscard]] const AskRow& row_of(AskIndex index) const { return rows_[listed_[index].row]; }

    [[nodiscard]] PartyId intern(const domain::Address& party);
    [[nodiscard]] PartyId find_party(const domain::Address& party) const;
    [[nodiscard]] std::uint32_t keep_lists(const domain::Resource& resource);
    [[nodiscard]] BucketId bucket_for(const Bucket& bucket);
    [[nodiscard]] BucketId find_bucket(const Bucket& bucket) const;
    void fill_machine(AskRow& row, const domain::Resource& resource);
    void link(AskIndex index, AskIndex& first, Neighbours Listed::*side);
    void unlink(AskIndex index, AskIndex& first, Neighbours Listed::*side);
    void compile_lists(const Want& want, Query& query) const;

    // In line or aside.
    [[nodiscard]] bool waits_for_worker(const AskRow& row) const;
    [[nodiscard]] bool can_rest(const AskRow& row) const;
    [[nodiscard]] static PriceLadders::Entry entry_of(const AskRow& row, RowNo number) {
        return {row.key, row.offer, row.hold, number};
    }
    void leave(AskRow& row);
    void place(RowNo number);
    void set_promise(PartyId worker, const Promise& promise);

    // Does an ask fit?
    [[nodiscard]] bool fits(const AskRow& row, const Query& query) const;
    [[nodiscard]] bool is_fast(const AskRow& row, const Query& query) const;
    [[nodiscard]] bool is_listed(const AskRow& row, const Query& query) const;
    [[nodiscard]] static bool can_pay_slice(const AskRow& row, const Query& query);
    [[nodiscard]] bool is_free(const AskRow& row, const Query& query) const;
    [[nodiscard]] bool fits_whatever_promised(const AskRow& row, const Query& query) const;

    [[nodiscard]] bool has_few_providers(const Query& query) const;
    /// Calls `visit(row)` for each ask of the query's providers that fits.
    template <typename Visit>
    void for_each_provided(const Query& query, Visit&& visit) const;
    /// Calls `visit(row)` for each ask that fits and stands aside.
    template <typename Visit>
    void for_each_aside(const Query& query, Visit&& visit) const;
    template <typename Visit>
    void for_each_bucket(const Query& query, Visit&& visit) const;
    void search(BucketId bucket, const Query& query, const Key& from, Found& best,
                Effort& effort) const;
    void gather(BucketId bucket, const Query& query, std::size_t count, Key& limit,
                std::vector<Found>& out, Effort& effort) const;
    static void keep_best(std::vector<Found>& found, std::size_t count);
    [[nodiscard]] std::optional<AskIndex> best_from(const Query& query, const Key& from,
                                                    Effort& effort) const;

    Slab<AskRow> rows_;
    std::vector<Speed> speeds_;  // by row
    PriceLadders ladders_;
    std::vector<Listed> listed_;   // by ask
    std::vector<Bucket> buckets_;  // by number
    IdTable bucket_ids_;
    std::array<std::vector<BucketId>, ledger::eth::kUnitKindCount> buckets_of_kind_;
    Names models_;
    Names regions_;
    Names runtimes_;
    Names interconnects_;
    std::vector<Party> parties_;
    IdTable party_ids_;
    std::vector<BuyerLists> buyer_lists_{1};
    std::vector<std::uint32_t> free_lists_;
    std::unordered_map<PartyId, Promise> promises_;
    // Who stands aside for a time that is known, by when it is over.
    std::set<std::pair<TimeMs, PartyId>> busy_workers_;
    std::set<std::pair<TimeMs, AskIndex>> unopened_;
    TimeMs now_ms_ = 0;  ///< the latest that the owner told
    std::size_t size_ = 0;
};

}  // namespace marketplace::matching
