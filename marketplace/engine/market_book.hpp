// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "marketplace/engine/trade_history.hpp"

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace marketplace::engine {

enum class Side : std::uint8_t { kAsk = 0, kBid = 1 };

/// One price of one side: what is free or wanted there.
struct PriceLevel {
    Side side = Side::kAsk;
    UnitKind unit_kind = UnitKind::kTrainingStep;
    std::vector<std::string> gpu_models;  ///< of the asks; that the bids accept, empty: any
    std::uint64_t price_atoms = 0;
    std::uint64_t units = 0;   ///< in all; 2^64 - 1 when it is more
    std::uint32_t orders = 0;  ///< 0: the level is gone
    friend bool operator==(const PriceLevel&, const PriceLevel&) = default;
};

/// Which orders a reader wants; empty: any.
struct BookFilter {
    std::optional<UnitKind> unit_kind;
    std::optional<std::string> gpu_model;
    std::optional<std::string> region;  ///< of asks
};

/// One leg of an open job.
struct BidRef {
    domain::JobId job;
    std::uint8_t leg = 0;
    friend auto operator<=>(const BidRef&, const BidRef&) = default;
};

/// The open orders in order of price, then age, and the sums per price. Sealed bids are the
/// caller's to keep out. Pure; not thread-safe; about 250 bytes per order.
class MarketBook {
 public:
    struct Ask {
        UnitKind unit_kind = UnitKind::kTrainingStep;
        std::string gpu_model;
        std::string region;
        ledger::eth::OrderClass order_class = ledger::eth::OrderClass::kOnDemand;
        std::uint64_t price_atoms = 0;
        std::uint64_t volume_units = 0;
        domain::Address provider;
        domain::Address worker;
    };
    void add_ask(const domain::Hash32& id, const Ask& ask);
    /// False when it is not in the book.
    bool remove_ask(const domain::Hash32& id);
    /// A lease takes or gives back units; exclusive work keeps the worker from other training.
    void take(const domain::Hash32& lease, const domain::Hash32& ask, std::uint64_t units);
    void give_back(const domain::Hash32& lease);
    void set_worker(const domain::Address& worker, const domain::Address& provider, bool connected);

    struct Bid {
        UnitKind unit_kind = UnitKind::kTrainingStep;
        std::vector<std::string> gpu_models;
        std::uint64_t ceiling_atoms = 0;
    };
    /// Shows a bid with what it wants now. True when it is new or wants another amount.
    bool set_bid(const BidRef& id, const Bid& bid, std::uint64_t units);
    bool remove_bid(const BidRef& id);

    /// What is known of an open ask, for its trades; empty when it is not in the book.
    [[nodiscard]] std::optional<Ask> find_ask(const domain::Hash32& id) const;
    /// Best first, at most `limit`. An ask is listed whether or not it can be had now.
    [[nodiscard]] std::vector<domain::Hash32> best_asks(const BookFilter& filter,
                                                        std::size_t limit) const;
    [[nodiscard]] std::vector<BidRef> best_bids(const BookFilter& filter, std::size_t limit) const;
    /// Best first. Asks count while their worker is there and free for that kind of work, with the
    /// units not yet sold.
    [[nodiscard]] std::vector<PriceLevel> levels(Side side, const BookFilter& filter,
                                                 std::size_t limit) const;
    /// Goods with open asks, in order.
    [[nodiscard]] std::vector<Good> goods() const;
    /// Levels changed since the last call, as they are now, in order.
    [[nodiscard]] std::vector<PriceLevel> take_changed_levels();

    /// Between `take_changed_levels` and the next change.
    void save(SnapshotWriter& out) const;
    /// Into an empty book; false when it cannot be one.
    [[nodiscard]] bool load(domain::Reader& in);

 private:
    /// Orders with the same key differ in price and age only. Regions of a good lie together.
    struct ShelfKey {
        UnitKind unit_kind = UnitKind::kTrainingStep;
        std::vector<std::string> gpu_models;
        std::string region;
        friend auto operator<=>(const ShelfKey&, const ShelfKey&) = default;
    };
    /// Price (for bids its complement, so that the best comes first), then age.
    using Rank = std::pair<std::uint64_t, std::uint64_t>;
    struct Sum {
        Uint128 units = 0;
        std::uint32_t orders = 0;
    };
    template <typename Id>
    struct Shelf {
        std::map<Rank, Id> orders;
        std::map<std::uint64_t, Sum> sums;  ///< by the rank's price
    };
    template <typename Id>
    using Shelves = std::map<ShelfKey, Shelf<Id>>;
    struct AskRow;
    struct Worker {
        domain::Address provider;
        bool connected = false;
        std::uint32_t busy = 0;  ///< exclusive leases
        std::vector<AskRow*> asks;
    };
    using Workers = std::map<domain::Address, Worker>;
    struct AskRow {
        Shelves<domain::Hash32>::iterator shelf;
        Workers::iterator worker;
        Rank rank;
        domain::Address provider;
        ledger::eth::OrderClass order_class = ledger::eth::OrderClass::kOnDemand;
        std::uint64_t volume_units = 0;
        std::uint64_t sold_units = 0;
        std::uint64_t shown_units = 0;  ///< its part of the sum
    };
    struct BidRow {
        Shelves<BidRef>::iterator shelf;
        Rank rank;
        std::uint64_t shown_units = 0;
    };
    struct LeaseRow {
        domain::Hash32 ask;
        domain::Address worker;
        std::uint64_t units = 0;
        bool exclusive = false;
    };

    /// What can be had of an ask now.
    [[nodiscard]] static std::uint64_t free_units(const AskRow& row) noexcept;
    void refresh(AskRow& row);
    void refresh_asks_of(Worker& worker);
    void drop_if_idle(Workers::iterator worker);
    [[nodiscard]] static bool is_exclusive(const AskRow& row) noexcept;
    /// Replaces an order's part of its level.
    template <typename Row>
    void show(Side side, Row& row, std::uint64_t units);
    /// Counts a loaded order's part of its level.
    template <typename Row>
    static void count_in(Row& row, std::uint64_t units);
    [[nodiscard]] bool load_leases(domain::Reader& in,
                                   std::unordered_map<domain::Hash32, std::uint64_t>& sold_units);
    [[nodiscard]] bool load_asks(
        domain::Reader& in, const std::vector<Workers::iterator>& workers,
        const std::unordered_map<domain::Hash32, std::uint64_t>& sold_units);
    [[nodiscard]] bool load_bids(domain::Reader& in);
    template <typename Id, typename Row>
    static void take_off_shelf(Shelves<Id>& shelves, const Row& row);
    template <typename Id>
    [[nodiscard]] static std::vector<Id> best(const Shelves<Id>& shelves, const BookFilter& filter,
                                              std::size_t limit);
    template <typename Id>
    [[nodiscard]] static std::vector<PriceLevel> levels_of(const Shelves<Id>& shelves, Side side,
                                                           const BookFilter& filter,
                                                           std::size_t limit);
    template <typename Id>
    [[nodiscard]] static PriceLevel level_at(const Shelves<Id>& shelves, Side side,
                                             const ShelfKey& key, std::uint64_t rank);

    Shelves<domain::Hash32> ask_shelves_;
    Shelves<BidRef> bid_shelves_;
    std::unordered_map<domain::Hash32, AskRow> asks_;
    std::map<BidRef, BidRow> bids_;
    std::unordered_map<domain::Hash32, LeaseRow> leases_;
    Workers workers_;
    std::set<std::tuple<Side, ShelfKey, std::uint64_t>> touched_;  ///< region left empty
    std::uint64_t next_number_ = 0;
};

}  // namespace marketplace::engine
