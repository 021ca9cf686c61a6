// SPDX-License-Identifier: Apache-2.0
#include "marketplace/engine/market_book.hpp"

#include "ledger/base/check.hpp"

#include <algorithm>
#include <limits>
#include <queue>

namespace marketplace::engine {
namespace {

template <typename Key>
bool wanted(const Key& key, const BookFilter& filter, Side side) {
    if (filter.unit_kind && key.unit_kind != *filter.unit_kind) return false;
    if (side == Side::kAsk && filter.region && key.region != *filter.region) return false;
    if (!filter.gpu_model) return true;
    const auto& models = key.gpu_models;
    if (side == Side::kBid && models.empty()) return true;
    return std::find(models.begin(), models.end(), *filter.gpu_model) != models.end();
}

std::uint64_t saturated(Uint128 value) {
    constexpr auto kMost = std::numeric_limits<std::uint64_t>::max();
    return value > kMost ? kMost : static_cast<std::uint64_t>(value);
}

/// A place in one of several sorted maps that are read as one; the smallest key is next, then the
/// map that came first.
template <typename Map>
class Merge {
 public:
    void add(const Map& map) {
        if (map.empty()) return;
        queue_.push({map.begin()->first, places_.size()});
        places_.push_back({map.begin(), map.end()});
    }
    [[nodiscard]] bool done() const { return queue_.empty(); }
    /// The map it lies in, by the number of `add` calls with something in them, and the entry.
    [[nodiscard]] std::size_t source() const { return queue_.top().second; }
    [[nodiscard]] const typename Map::value_type& entry() const { return *places_[source()].first; }
    void step() {
        const std::size_t source_now = source();
        queue_.pop();
        auto& [at, end] = places_[source_now];
        if (++at != end) queue_.push({at->first, source_now});
    }

 private:
    using Next = std::pair<typename Map::key_type, std::size_t>;
    std::vector<std::pair<typename Map::const_iterator, typename Map::const_iterator>> places_;
    std::priority_queue<Next, std::vector<Next>, std::greater<>> queue_;
};

}  // namespace

// Orders ----------------------------------------------------------------------------------------

template <typename Row>
void MarketBook::show(Side side, Row& row, std::uint64_t units) {
    if (row.shown_units == units) return;
    auto& sums = row.shelf->second.sums;
    Sum& sum = sums[row.rank.first];
    sum.units = sum.units - row.shown_units + units;
    if (row.shown_units == 0) ++sum.orders;
    if (units == 0) --sum.orders;
    if (sum.orders == 0) sums.erase(row.rank.first);
    row.shown_units = units;
    ShelfKey key = row.shelf->first;
    key.region.clear();
    touched_.insert({side, std::move(key), row.rank.first});
}

template <typename Id, typename Row>
void MarketBook::take_off_shelf(Shelves<Id>& shelves, const Row& row) {
    row.shelf->second.orders.erase(row.rank);
    if (row.shelf->second.orders.empty()) shelves.erase(row.shelf);
}

bool MarketBook::is_exclusive(const AskRow& row) noexcept {
    // Tokens are served beside each other; training has its worker to itself. What is reserved
    // begins later.
    const UnitKind kind = row.shelf->first.unit_kind;
    return kind != UnitKind::kInputToken && kind != UnitKind::kOutputToken &&
           row.order_class != ledger::eth::OrderClass::kReserved;
}

std::uint64_t MarketBook::free_units(const AskRow& row) noexcept {
    const Worker& worker = row.worker->second;
    const bool there = worker.connected && worker.provider == row.provider;
    const bool busy = worker.busy > 0 && is_exclusive(row);
    const std::uint64_t left = row.volume_units - std::min(row.volume_units, row.sold_units);
    return there && !busy ? left : 0;
}

void MarketBook::refresh(AskRow& row) {
    show(Side::kAsk, row, free_units(row));
}

void MarketBook::refresh_asks_of(Worker& worker) {
    for (AskRow* row : worker.asks)
        refresh(*row);
}

void MarketBook::drop_if_idle(Workers::iterator worker) {
    const Worker& state = worker->second;
    if (!state.connected && state.busy == 0 && state.asks.empty()) workers_.erase(worker);
}

void MarketBook::add_ask(const domain::Hash32& id, const Ask& ask) {
    const ShelfKey key{ask.unit_kind, {ask.gpu_model}, ask.region};
    const auto [place, is_new] = asks_.try_emplace(id);
    MR_CHECK(is_new);
    AskRow& row = place->second;
    row.shelf = ask_shelves_.try_emplace(key).first;
    row.worker = workers_.try_emplace(ask.worker).first;
    row.rank = {ask.price_atoms, next_number_++};
    row.provider = ask.provider;
    row.order_class = ask.order_class;
    row.volume_units = ask.volume_units;
    row.shelf->second.orders.emplace(row.rank, id);
    row.worker->second.asks.push_back(&row);
    refresh(row);
}

bool MarketBook::remove_ask(const domain::Hash32& id) {
    const auto found = asks_.find(id);
    if (found == asks_.end()) return false;
    AskRow& row = found->second;
    show(Side::kAsk, row, 0);
    take_off_shelf(ask_shelves_, row);
    const auto worker = row.worker;
    std::erase(worker->second.asks, &row);
    asks_.erase(found);
    drop_if_idle(worker);
    return true;
}

void MarketBook::take(const domain::Hash32& lease, const domain::Hash32& ask, std::uint64_t units) {
    const auto found = asks_.find(ask);
    if (found == asks_.end()) return;
    AskRow& row = found->second;
    const bool exclusive = is_exclusive(row);
    leases_.insert_or_assign(lease, LeaseRow{ask, row.worker->first, units, exclusive});
    row.sold_units += units;
    if (!exclusive) return refresh(row);
    ++row.worker->second.busy;
    refresh_asks_of(row.worker->second);
}

void MarketBook::give_back(const domain::Hash32& lease) {
    const auto found = leases_.find(lease);
    if (found == leases_.end()) return;
    const LeaseRow row = found->second;
    leases_.erase(found);
    if (const auto ask = asks_.find(row.ask); ask != asks_.end()) {
        ask->second.sold_units -= row.units;
        refresh(ask->second);
    }
    if (!row.exclusive) return;
    // A busy worker is kept.
    const auto worker = workers_.find(row.worker);
    --worker->second.busy;
    refresh_asks_of(worker->second);
    drop_if_idle(worker);
}

void MarketBook::set_worker(const domain::Address& worker, const domain::Address& provider,
                            bool connected) {
    const auto place = workers_.try_emplace(worker).first;
    place->second.provider = provider;
    place->second.connected = connected;
    refresh_asks_of(place->second);
    drop_if_idle(place);
}

bool MarketBook::set_bid(const BidRef& id, const Bid& bid, std::uint64_t units) {
    const auto [place, is_new] = bids_.try_emplace(id);
    BidRow& row = place->second;
    if (is_new) {
        row.shelf = bid_shelves_.try_emplace(ShelfKey{bid.unit_kind, bid.gpu_models, {}}).first;
        row.rank = {~bid.ceiling_atoms, next_number_++};
        row.shelf->second.orders.emplace(row.rank, id);
    }
    const bool changed = is_new || row.shown_units != units;
    show(Side::kBid, row, units);
    return changed;
}

bool MarketBook::remove_bid(const BidRef& id) {
    const auto found = bids_.find(id);
    if (found == bids_.end()) return false;
    show(Side::kBid, found->second, 0);
    take_off_shelf(bid_shelves_, found->second);
    bids_.erase(found);
    return true;
}

// Readers ---------------------------------------------------------------------------------------

std::optional<MarketBook::Ask> MarketBook::find_ask(const domain::Hash32& id) const {
    const auto found = asks_.find(id);
    if (found == asks_.end()) return std::nullopt;
    const AskRow& row = found->second;
    const ShelfKey& key = row.shelf->first;
    return Ask{key.unit_kind,  key.gpu_models.front(), key.region,   row.order_class,
               row.rank.first, row.volume_units,       row.provider, row.worker->first};
}

template <typename Id>
std::vector<Id> MarketBook::best(const Shelves<Id>& shelves, const BookFilter& filter,
                                 std::size_t limit) {
    constexpr Side kSide = std::is_same_v<Id, BidRef> ? Side::kBid : Side::kAsk;
    Merge<std::map<Rank, Id>> merge;
    for (const auto& [key, shelf] : shelves)
        if (wanted(key, filter, kSide)) merge.add(shelf.orders);
    std::vector<Id> out;
    for (; !merge.done() && out.size() < limit; merge.step())
        out.push_back(merge.entry().second);
    return out;
}

std::vector<domain::Hash32> MarketBook::best_asks(const BookFilter& filter,
                                                  std::size_t limit) const {
    return best(ask_shelves_, filter, limit);
}

std::vector<BidRef> MarketBook::best_bids(const BookFilter& filter, std::size_t limit) const {
    return best(bid_shelves_, filter, limit);
}

template <typename Id>
std::vector<PriceLevel> MarketBook::levels_of(const Shelves<Id>& shelves, Side side,
                                              const BookFilter& filter, std::size_t limit) {
    Merge<std::map<std::uint64_t, Sum>> merge;
    std::vector<const ShelfKey*> keys;
    for (const auto& [key, shelf] : shelves) {
        if (!wanted(key, filter, side) || shelf.sums.empty()) continue;
        merge.add(shelf.sums);
        keys.push_back(&key);
    }
    std::vector<PriceLevel> out;
    Uint128 units = 0;
    // Shelves of one good lie together: what belongs to one level comes one after the other.
    for (; !merge.done(); merge.step()) {
        const auto& [rank, sum] = merge.entry();
        const ShelfKey& key = *keys[merge.source()];
        const std::uint64_t price = side == Side::kAsk ? rank : ~rank;
        const bool same = !out.empty() && out.back().price_atoms == price &&
                          out.back().unit_kind == key.unit_kind &&
                          out.back().gpu_models == key.gpu_models;
        if (!same) {
            if (out.size() == limit) break;
            out.push_back({side, key.unit_kind, key.gpu_models, price, 0, 0});
            units = 0;
        }
        units += sum.units;
        out.back().units = saturated(units);
        out.back().orders += sum.orders;
    }
    return out;
}

std::vector<PriceLevel> MarketBook::levels(Side side, const BookFilter& filter,
                                           std::size_t limit) const {
    return side == Side::kAsk ? levels_of(ask_shelves_, side, filter, limit)
                              : levels_of(bid_shelves_, side, filter, limit);
}

template <typename Id>
PriceLevel MarketBook::level_at(const Shelves<Id>& shelves, Side side, const ShelfKey& key,
                                std::uint64_t rank) {
    PriceLevel out{side, key.unit_kind, key.gpu_models, side == Side::kAsk ? rank : ~rank, 0, 0};
    Uint128 units = 0;
    for (auto shelf = shelves.lower_bound(key); shelf != shelves.end(); ++shelf) {
        if (shelf->first.unit_kind != key.unit_kind || shelf->first.gpu_models != key.gpu_models)
            break;
        const auto sum = shelf->second.sums.find(rank);
        if (sum == shelf->second.sums.end()) continue;
        units += sum->second.units;
        out.orders += sum->second.orders;
    }
    out.units = saturated(units);
    return out;
}

std::vector<PriceLevel> MarketBook::take_changed_levels() {
    std::vector<PriceLevel> out;
    for (const auto& [side, key, rank] : touched_)
        out.push_back(side == Side::kAsk ? level_at(ask_shelves_, side, key, rank)
                                         : level_at(bid_shelves_, side, key, rank));
    touched_.clear();
    return out;
}

std::vector<Good> MarketBook::goods() const {
    std::vector<Good> out;
    for (const auto& [key, shelf] : ask_shelves_) {
        const Good good{key.unit_kind, key.gpu_models.front()};
        if (out.empty() || out.back() != good) out.push_back(good);
    }
    return out;
}

}  // namespace marketplace::engine
