// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/eth/messages.hpp"
#include "marketplace/domain/resource.hpp"
#include "marketplace/matching/feasibility.hpp"

#include <array>
#include <compare>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace marketplace::matching {

/// An ask's number in its owner's list; rises with the time of posting.
using AskIndex = std::uint32_t;
/// An interned name (GPU model, region, runtime).
using NameId = std::uint16_t;
/// An interned account (provider or worker).
using PartyId = std::uint32_t;
inline constexpr NameId kNoName = std::numeric_limits<NameId>::max();
inline constexpr PartyId kNoParty = std::numeric_limits<PartyId>::max();

/// What the book keeps of an ask: everything a bid may test, in one cache line, so that a search
/// touches nothing else.
struct AskRow {
    std::uint64_t price_atoms = 0;
    std::uint64_t rank = 0;  ///< reliability (high first), then age: set by the book
    std::uint64_t max_flops = 0;
    std::uint64_t min_units = 0;
    std::uint64_t limit_units = 0;  ///< the most one lease can have now
    PartyId provider = 0;
    PartyId worker = 0;
    std::uint32_t vram_mib = 0;
    std::uint32_t earliest_s = 0;
    std::uint32_t expiry_s = 0;
    std::uint16_t gpu_count = 0;
    std::uint8_t order_class = 0;
    bool available = false;  ///< its worker is there and free for this kind of work
};
static_assert(sizeof(AskRow) == 64);

/// A bid made ready for searching. Empty list: any. See OrderBook::compile.
struct Query {
    ledger::eth::UnitKind unit_kind = ledger::eth::UnitKind::kTrainingStep;
    std::uint8_t class_mask = 0;  ///< bit per ask class that meets the bid's
    bool never = false;           ///< asks for a name nobody ever offered
    std::uint64_t units = 0;
    std::uint64_t max_price_atoms = 0;  ///< by the ceiling and by the maximum amount
    std::uint64_t flops = 0;
    std::uint32_t min_vram_mib = 0;
    std::uint32_t now_s = 0;
    std::uint16_t min_gpu_count = 0;
    std::uint16_t min_reliability_bp = 0;
    PartyId buyer = kNoParty;
    std::vector<NameId> models;
    std::vector<NameId> regions;
    std::vector<NameId> runtimes;
    std::vector<PartyId> providers;
    std::vector<PartyId> exclude_providers;
    std::vector<PartyId> exclude_workers;
    std::vector<AskIndex> exclude_asks;
};

/// The resting asks, bucketed by unit kind, GPU model and region; inside a bucket blocks of rows in
/// order of price, reliability, age. Answers the first ask that fits, as a scan of all asks with
/// `first_mismatch` would. Pure, deterministic, not thread-safe.
class OrderBook {
 public:
    OrderBook() = default;
    OrderBook(OrderBook&&) = default;
    OrderBook& operator=(OrderBook&&) = default;

    /// How an ask may be used now; everything else about it is fixed when it is added.
    struct State {
        std::uint64_t free_units = 0;
        std::uint32_t reliability_bp = 10'000;
        bool available = false;
    };
    /// False when its names are new and the book knows too many already.
    [[nodiscard]] bool can_add(const domain::Resource& resource) const;
    /// Adds an ask that is not in the book; indexes need not come in order.
    void add(AskIndex index, const ledger::eth::Ask& ask, const domain::Resource& resource,
             const State& state);
    /// Takes it out; nothing happens when it is not there.
    void remove(AskIndex index);
    /// Brings an ask's state up to date; nothing happens when it is not there.
    /// `max_units` is the ask's own limit per lease.
    void update(AskIndex index, const State& state, std::uint64_t max_units);

    /// The bid's constraints with interned names. Valid until an ask with a new name is added.
    [[nodiscard]] Query compile(const Want& want, std::uint32_t min_reliability_bp = 0) const;

    /// The best ask for the query.
    [[nodiscard]] std::optional<AskIndex> best(const Query& query) const;
    /// The best `count` asks on as many workers, best first; whole or not at all.
    [[nodiscard]] std::vector<AskIndex> best_gang(const Query& query, std::size_t count) const;

    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] std::size_t memory_bytes() const noexcept;
    /// Order, counts and bounds of every block; the first violation as text.
    [[nodiscard]] std::optional<std::string> find_violation() const;

 private:
    static constexpr std::size_t kBlockRows = 64;

    struct Key {
        std::uint64_t price_atoms = 0;
        std::uint64_t rank = 0;
        friend auto operator<=>(const Key&, const Key&) = default;
    };
    /// The most any row of a block offers: a bid above it skips the block. Never too low.
    struct Bounds {
        std::uint64_t limit_units = 0;
        std::uint64_t max_flops = 0;
        std::uint32_t vram_mib = 0;
        std::uint16_t gpu_count = 0;
        std::uint16_t reliability_bp = 0;
        std::uint8_t class_mask = 0;
        friend bool operator==(const Bounds&, const Bounds&) = default;
    };
    struct Block {
        std::uint32_t count = 0;
        std::uint32_t stale = 0;  ///< rows taken out since the bounds were computed
        Bounds bounds;
        std::array<AskRow, kBlockRows> rows;
    };
    struct Bucket {
        std::uint8_t unit_kind = 0;
        NameId model = 0;
        NameId region = 0;
        std::vector<Key> firsts;  ///< key of each block's first row
        std::vector<std::unique_ptr<Block>> blocks;
    };
    /// Where an ask is: its bucket and its key there.
    struct Place {
        std::uint32_t bucket = kNowhere;
        Key key;
    };
    static constexpr std::uint32_t kNowhere = std::numeric_limits<std::uint32_t>::max();
    struct Position {
        std::size_t block = 0;
        std::size_t row = 0;
    };
    struct Found {
        Key key;
        const AskRow* row = nullptr;
    };
    class Names {
     public:
        NameId intern(std::string_view name);
        [[nodiscard]] NameId find(std::string_view name) const;
        [[nodiscard]] bool can_intern(std::string_view name) const;

     private:
        std::unordered_map<std::string, NameId> ids_;
    };

    [[nodiscard]] static Key key_of(const AskRow& row) noexcept {
        return {row.price_atoms, row.rank};
    }
    [[nodiscard]] static AskIndex index_of(const AskRow& row) noexcept {
        return static_cast<AskIndex>(row.rank >> 16U);
    }
    [[nodiscard]] static bool fits(const AskRow& row, const Query& query);
    [[nodiscard]] static bool listed(const AskRow& row, const Query& query);
    [[nodiscard]] static bool may_fit(const Bounds& bounds, const Query& query);
    static void widen(Bounds& bounds, const AskRow& row);
    static void recompute(Block& block);

    [[nodiscard]] PartyId intern(const domain::Address& party);
    [[nodiscard]] PartyId find_party(const domain::Address& party) const;
    [[nodiscard]] std::uint32_t bucket_for(std::uint8_t unit_kind, NameId model, NameId region);
    [[nodiscard]] static std::size_t block_for(const Bucket& bucket, const Key& key);
    [[nodiscard]] Position find(const Bucket& bucket, const Key& key) const;
    void insert(std::uint32_t bucket, const AskRow& row);
    void erase(Bucket& bucket, Position position);
    static void split(Bucket& bucket, std::size_t block);
    /// Calls `visit(bucket)` for every bucket the query may look into.
    template <typename Visit>
    void for_each_bucket(const Query& query, Visit visit) const;
    void search(const Bucket& bucket, const Query& query, Found& best) const;
    void gather(const Bucket& bucket, const Query& query, std::size_t count,
                std::vector<Found>& out) const;

    std::vector<Place> places_;  // by ask
    std::vector<Bucket> buckets_;
    std::unordered_map<std::uint64_t, std::uint32_t> bucket_ids_;
    std::array<std::vector<std::uint32_t>, ledger::eth::kUnitKindCount> buckets_of_kind_;
    Names models_;
    Names regions_;
    Names runtimes_;
    std::unordered_map<domain::Address, PartyId> parties_;
    std::size_t size_ = 0;
};

}  // namespace marketplace::matching
