// SPDX-License-Identifier: Apache-2.0
#include "marketplace/matching/order_book.hpp"

#include "ledger/base/check.hpp"
#include "ledger/base/checked.hpp"

#include <algorithm>
#include <utility>

namespace marketplace::matching {
namespace {

constexpr std::uint32_t kMaxStale = 16;    // rows taken out before bounds are computed again
constexpr std::size_t kMaxNames = 10'000;  // models, regions, runtimes: each
constexpr std::uint32_t kBestReliability = 10'000;

template <typename To>
To saturate(std::uint64_t value) noexcept {
    constexpr std::uint64_t kMax = std::numeric_limits<To>::max();
    return static_cast<To>(std::min(value, kMax));
}

template <typename T>
bool contains(const std::vector<T>& list, T value) noexcept {
    for (const T& item : list)
        if (item == value) return true;
    return false;
}

/// Runtime in the low 16 bits: beside the age it never decides, indexes differ before it.
std::uint64_t rank_of(std::uint32_t reliability_bp, AskIndex index, NameId runtime) noexcept {
    const std::uint64_t doubt = kBestReliability - std::min(reliability_bp, kBestReliability);
    return doubt << 48U | std::uint64_t{index} << 16U | runtime;
}
NameId runtime_of(const AskRow& row) noexcept {
    return static_cast<NameId>(row.rank & 0xffffU);
}
std::uint16_t reliability_of(const AskRow& row) noexcept {
    return static_cast<std::uint16_t>(kBestReliability - (row.rank >> 48U));
}

std::uint64_t bucket_key(std::uint8_t unit_kind, NameId model, NameId region) noexcept {
    return std::uint64_t{unit_kind} << 32U | std::uint64_t{model} << 16U | region;
}

/// The highest price whose amount for `units` stays in the maximum:
/// ceil(units · price / scale) <= amount  <=>  price <= floor(amount · scale / units).
std::uint64_t highest_price(const Want& want) {
    const auto bound = ledger::base::mul_div_down(
        want.bid.max_amount_atoms, ledger::eth::unit_scale(want.bid.unit_kind), want.units);
    return std::min(want.price_atoms, bound.value_or(UINT64_MAX));
}

}  // namespace

// Names -----------------------------------------------------------------------------------------

NameId OrderBook::Names::intern(std::string_view name) {
    const auto [it, is_new] = ids_.try_emplace(std::string(name), static_cast<NameId>(ids_.size()));
    MR_CHECK(ids_.size() < kNoName);
    return it->second;
}

bool OrderBook::Names::can_intern(std::string_view name) const {
    return ids_.size() < kMaxNames || find(name) != kNoName;
}

NameId OrderBook::Names::find(std::string_view name) const {
    const auto it = ids_.find(std::string(name));
    return it == ids_.end() ? kNoName : it->second;
}

PartyId OrderBook::intern(const domain::Address& party) {
    return parties_.try_emplace(party, static_cast<PartyId>(parties_.size())).first->second;
}

PartyId OrderBook::find_party(const domain::Address& party) const {
    const auto it = parties_.find(party);
    return it == parties_.end() ? kNoParty : it->second;
}

Query OrderBook::compile(const Want& want, std::uint32_t min_reliability_bp) const {
    Query query;
    query.unit_kind = want.bid.unit_kind;
    for (std::uint8_t i = 0; i < ledger::eth::kOrderClassCount; ++i)
        if (classes_meet(static_cast<ledger::eth::OrderClass>(i), want.bid.order_class))
            query.class_mask = static_cast<std::uint8_t>(query.class_mask | 1U << i);
    query.units = want.units;
    query.max_price_atoms = highest_price(want);
    query.flops = want.terms.kind == domain::JobKind::kTrain ? want.terms.flops_per_step : 0;
    query.min_vram_mib = saturate<std::uint32_t>(want.constraints.min_vram_mib);
    query.min_gpu_count = saturate<std::uint16_t>(want.constraints.min_gpu_count);
    query.min_reliability_bp = saturate<std::uint16_t>(min_reliability_bp);
    query.now_s = saturate<std::uint32_t>(want.now_ms / 1000);
    query.buyer = find_party(want.bid.buyer);
    const std::uint64_t now_s = want.now_ms / 1000;
    query.never =
        now_s < want.bid.earliest_s || now_s >= want.bid.expiry_s || now_s >= want.bid.deadline_s;
    const auto names = [&query](const Names& known, const std::vector<std::string>& texts,
                                std::vector<NameId>& out) {
        for (const std::string& text : texts) {
            const NameId id = known.find(text);
            // A name may stand twice in a list; a bucket must be visited once.
            if (id != kNoName && !contains(out, id)) out.push_back(id);
        }
        query.never = query.never || (!texts.empty() && out.empty());
    };
    names(models_, want.constraints.gpu_models, query.models);
    names(regions_, want.constraints.regions, query.regions);
    names(runtimes_, want.constraints.runtimes, query.runtimes);
    const auto parties = [this](const auto& addresses, std::vector<PartyId>& out) {
        for (const domain::Address& address : addresses)
            if (const PartyId id = find_party(address); id != kNoParty) out.push_back(id);
    };
    parties(want.constraints.providers, query.providers);
    query.never = query.never || (!want.constraints.providers.empty() && query.providers.empty());
    parties(want.constraints.exclude_providers, query.exclude_providers);
    parties(want.excluded_workers, query.exclude_workers);
    return query;
}

// The test --------------------------------------------------------------------------------------

/// The lists, which most bids do not have.
bool OrderBook::listed(const AskRow& row, const Query& query) {
    if (!query.runtimes.empty() && !contains(query.runtimes, runtime_of(row))) return false;
    if (!query.providers.empty() && !contains(query.providers, row.provider)) return false;
    if (contains(query.exclude_providers, row.provider)) return false;
    if (contains(query.exclude_workers, row.worker)) return false;
    return !contains(query.exclude_asks, index_of(row));
}

bool OrderBook::fits(const AskRow& row, const Query& query) {
    // One branch for the many: the comparisons are cheaper than mispredicting each.
    const bool plain = static_cast<int>(row.available) &
                       static_cast<int>(query.units <= row.limit_units) &
                       static_cast<int>(query.units >= row.min_units) &
                       static_cast<int>(query.min_vram_mib <= row.vram_mib) &
                       static_cast<int>(query.flops <= row.max_flops) &
                       static_cast<int>(query.min_gpu_count <= row.gpu_count) &
                       static_cast<int>(query.now_s >= row.earliest_s) &
                       static_cast<int>(query.now_s < row.expiry_s) &
                       static_cast<int>(row.provider != query.buyer) &
                       static_cast<int>(query.min_reliability_bp <= reliability_of(row)) &
                       (query.class_mask >> row.order_class & 1);
    return plain && listed(row, query);
}

bool OrderBook::may_fit(const Bounds& bounds, const Query& query) {
    return query.units <= bounds.limit_units && query.min_vram_mib <= bounds.vram_mib &&
           query.flops <= bounds.max_flops && query.min_gpu_count <= bounds.gpu_count &&
           query.min_reliability_bp <= bounds.reliability_bp &&
           (query.class_mask & bounds.class_mask) != 0;
}

void OrderBook::widen(Bounds& bounds, const AskRow& row) {
    // Only what can be had now: a block of busy workers is skipped whole.
    if (!row.available) return;
    bounds.limit_units = std::max(bounds.limit_units, row.limit_units);
    bounds.max_flops = std::max(bounds.max_flops, row.max_flops);
    bounds.vram_mib = std::max(bounds.vram_mib, row.vram_mib);
    bounds.gpu_count = std::max(bounds.gpu_count, row.gpu_count);
    bounds.reliability_bp = std::max(bounds.reliability_bp, reliability_of(row));
    bounds.class_mask = static_cast<std::uint8_t>(bounds.class_mask | 1U << row.order_class);
}

void OrderBook::recompute(Block& block) {
    block.bounds = {};
    block.stale = 0;
    for (std::uint32_t i = 0; i < block.count; ++i)
        widen(block.bounds, block.rows[i]);
}

// Rows in and out -------------------------------------------------------------------------------

std::uint32_t OrderBook::bucket_for(std::uint8_t unit_kind, NameId model, NameId region) {
    const auto [it, is_new] = bucket_ids_.try_emplace(bucket_key(unit_kind, model, region),
                                                      static_cast<std::uint32_t>(buckets_.size()));
    if (is_new) {
        buckets_.push_back({unit_kind, model, region, {}, {}});
        buckets_of_kind_[unit_kind].push_back(it->second);
    }
    return it->second;
}

/// The last block whose first row is not above the key; 0 for a key below all.
std::size_t OrderBook::block_for(const Bucket& bucket, const Key& key) {
    const auto it = std::upper_bound(bucket.firsts.begin(), bucket.firsts.end(), key);
    return it == bucket.firsts.begin() ? 0
                                       : static_cast<std::size_t>(it - bucket.firsts.begin()) - 1;
}

OrderBook::Position OrderBook::find(const Bucket& bucket, const Key& key) const {
    const std::size_t at = block_for(bucket, key);
    const Block& block = *bucket.blocks[at];
    const auto end = block.rows.begin() + block.count;
    const auto it =
        std::lower_bound(block.rows.begin(), end, key,
                         [](const AskRow& row, const Key& wanted) { return key_of(row) < wanted; });
    MR_CHECK(it != end);
    MR_CHECK(key_of(*it) == key);
    return {at, static_cast<std::size_t>(it - block.rows.begin())};
}

void OrderBook::split(Bucket& bucket, std::size_t at) {
    Block& full = *bucket.blocks[at];
    auto upper = std::make_unique<Block>();
    constexpr std::size_t kHalf = kBlockRows / 2;
    std::copy(full.rows.begin() + kHalf, full.rows.end(), upper->rows.begin());
    upper->count = kBlockRows - kHalf;
    full.count = kHalf;
    recompute(full);
    recompute(*upper);
    const auto next = static_cast<std::ptrdiff_t>(at) + 1;
    bucket.firsts.insert(bucket.firsts.begin() + next, key_of(upper->rows[0]));
    bucket.blocks.insert(bucket.blocks.begin() + next, std::move(upper));
}

void OrderBook::insert(std::uint32_t id, const AskRow& row) {
    Bucket& bucket = buckets_[id];
    const Key key = key_of(row);
    if (bucket.blocks.empty()) {
        bucket.blocks.push_back(std::make_unique<Block>());
        bucket.firsts.push_back(key);
    }
    std::size_t at = block_for(bucket, key);
    if (bucket.blocks[at]->count == kBlockRows) {
        split(bucket, at);
        at = block_for(bucket, key);
    }
    Block& block = *bucket.blocks[at];
    const auto end = block.rows.begin() + block.count;
    const auto it = std::lower_bound(
        block.rows.begin(), end, key,
        [](const AskRow& other, const Key& wanted) { return key_of(other) < wanted; });
    std::move_backward(it, end, end + 1);
    *it = row;
    ++block.count;
    widen(block.bounds, row);
    bucket.firsts[at] = key_of(block.rows[0]);
}

void OrderBook::erase(Bucket& bucket, Position position) {
    Block& block = *bucket.blocks[position.block];
    const auto at = static_cast<std::ptrdiff_t>(position.block);
    if (block.count == 1) {
        bucket.blocks.erase(bucket.blocks.begin() + at);
        bucket.firsts.erase(bucket.firsts.begin() + at);
        return;
    }
    const auto row = block.rows.begin() + static_cast<std::ptrdiff_t>(position.row);
    std::move(row + 1, block.rows.begin() + block.count, row);
    --block.count;
    if (++block.stale >= kMaxStale) recompute(block);
    if (position.row == 0) bucket.firsts[position.block] = key_of(block.rows[0]);
}

bool OrderBook::can_add(const domain::Resource& resource) const {
    return models_.can_intern(resource.gpu_model) && regions_.can_intern(resource.region) &&
           runtimes_.can_intern(resource.runtime);
}

void OrderBook::add(AskIndex index, const ledger::eth::Ask& ask, const domain::Resource& resource,
                    const State& state) {
    if (places_.size() <= index) places_.resize(std::size_t{index} + 1);
    MR_CHECK(places_[index].bucket == kNowhere);
    AskRow row;
    row.price_atoms = ask.price_atoms;
    row.rank = rank_of(state.reliability_bp, index, runtimes_.intern(resource.runtime));
    row.max_flops = resource.max_flops_per_step;
    row.min_units = ask.min_units;
    row.limit_units = std::min(ask.max_units, state.free_units);
    row.provider = intern(ask.provider);
    row.worker = intern(resource.worker);
    row.vram_mib = saturate<std::uint32_t>(resource.vram_mib);
    row.earliest_s = saturate<std::uint32_t>(ask.earliest_s);
    row.expiry_s = saturate<std::uint32_t>(ask.expiry_s);
    row.gpu_count = saturate<std::uint16_t>(resource.gpu_count);
    row.order_class = static_cast<std::uint8_t>(ask.order_class);
    row.available = state.available;
    const std::uint32_t bucket =
        bucket_for(static_cast<std::uint8_t>(ask.unit_kind), models_.intern(resource.gpu_model),
                   regions_.intern(resource.region));
    insert(bucket, row);
    places_[index] = {bucket, key_of(row)};
    ++size_;
}

void OrderBook::remove(AskIndex index) {
    if (index >= places_.size() || places_[index].bucket == kNowhere) return;
    Place& place = places_[index];
    Bucket& bucket = buckets_[place.bucket];
    erase(bucket, find(bucket, place.key));
    place.bucket = kNowhere;
    --size_;
}

void OrderBook::update(AskIndex index, const State& state, std::uint64_t max_units) {
    if (index >= places_.size() || places_[index].bucket == kNowhere) return;
    Place& place = places_[index];
    Bucket& bucket = buckets_[place.bucket];
    const Position position = find(bucket, place.key);
    Block& block = *bucket.blocks[position.block];
    AskRow& row = block.rows[position.row];
    row.limit_units = std::min(max_units, state.free_units);
    row.available = state.available;
    const std::uint64_t rank = rank_of(state.reliability_bp, index, runtime_of(row));
    if (rank == row.rank) {
        widen(block.bounds, row);
        if (++block.stale >= kMaxStale) recompute(block);
        return;
    }
    AskRow moved = row;
    moved.rank = rank;
    erase(bucket, position);
    insert(place.bucket, moved);
    place.key = key_of(moved);
}

// Searching -------------------------------------------------------------------------------------

template <typename Visit>
void OrderBook::for_each_bucket(const Query& query, Visit visit) const {
    if (query.never || query.units == 0) return;
    const auto kind = static_cast<std::uint8_t>(query.unit_kind);
    if (query.models.empty() || query.regions.empty()) {
        for (const std::uint32_t id : buckets_of_kind_[kind]) {
            const Bucket& bucket = buckets_[id];
            if (!query.models.empty() && !contains(query.models, bucket.model)) continue;
            if (!query.regions.empty() && !contains(query.regions, bucket.region)) continue;
            visit(bucket);
        }
        return;
    }
    for (const NameId model : query.models) {
        for (const NameId region : query.regions) {
            const auto it = bucket_ids_.find(bucket_key(kind, model, region));
            if (it != bucket_ids_.end()) visit(buckets_[it->second]);
        }
    }
}

void OrderBook::search(const Bucket& bucket, const Query& query, Found& best) const {
    for (std::size_t b = 0; b < bucket.blocks.size(); ++b) {
        const Key& first = bucket.firsts[b];
        if (first.price_atoms > query.max_price_atoms) return;
        if (best.row != nullptr && !(first < best.key)) return;
        const Block& block = *bucket.blocks[b];
        if (!may_fit(block.bounds, query)) continue;
        for (std::uint32_t i = 0; i < block.count; ++i) {
            const AskRow& row = block.rows[i];
            if (row.price_atoms > query.max_price_atoms) return;
            if (best.row != nullptr && !(key_of(row) < best.key)) return;
            if (!fits(row, query)) continue;
            best = {key_of(row), &row};
            return;
        }
    }
}

std::optional<AskIndex> OrderBook::best(const Query& query) const {
    Found found;
    for_each_bucket(query, [&](const Bucket& bucket) { search(bucket, query, found); });
    if (found.row == nullptr) return std::nullopt;
    return index_of(*found.row);
}

/// The first `count` that fit, on different workers: no other row of the bucket can be needed.
void OrderBook::gather(const Bucket& bucket, const Query& query, std::size_t count,
                       std::vector<Found>& out) const {
    const std::size_t begin = out.size();
    for (std::size_t b = 0; b < bucket.blocks.size(); ++b) {
        if (bucket.firsts[b].price_atoms > query.max_price_atoms) return;
        const Block& block = *bucket.blocks[b];
        if (!may_fit(block.bounds, query)) continue;
        for (std::uint32_t i = 0; i < block.count; ++i) {
            const AskRow& row = block.rows[i];
            if (row.price_atoms > query.max_price_atoms) return;
            if (!fits(row, query)) continue;
            bool is_taken = false;
            for (std::size_t j = begin; j < out.size(); ++j)
                is_taken = is_taken || out[j].row->worker == row.worker;
            if (is_taken) continue;
            out.push_back({key_of(row), &row});
            if (out.size() - begin == count) return;
        }
    }
}

std::vector<AskIndex> OrderBook::best_gang(const Query& query, std::size_t count) const {
    std::vector<Found> found;
    for_each_bucket(query, [&](const Bucket& bucket) { gather(bucket, query, count, found); });
    std::sort(found.begin(), found.end(),
              [](const Found& a, const Found& b) { return a.key < b.key; });
    std::vector<AskIndex> out;
    std::vector<PartyId> workers;
    for (const Found& one : found) {
        if (out.size() == count) break;
        if (contains(workers, one.row->worker)) continue;
        workers.push_back(one.row->worker);
        out.push_back(index_of(*one.row));
    }
    if (out.size() < count) out.clear();
    return out;
}

// Checks ----------------------------------------------------------------------------------------

std::size_t OrderBook::memory_bytes() const noexcept {
    std::size_t out = places_.capacity() * sizeof(Place);
    for (const Bucket& bucket : buckets_)
        out += sizeof(Bucket) + bucket.blocks.size() * sizeof(Block) +
               bucket.firsts.capacity() * sizeof(Key) +
               bucket.blocks.capacity() * sizeof(std::unique_ptr<Block>);
    return out;
}

std::optional<std::string> OrderBook::find_violation() const {
    std::size_t rows = 0;
    for (std::uint32_t id = 0; id < buckets_.size(); ++id) {
        const Bucket& bucket = buckets_[id];
        std::optional<Key> last;
        for (std::size_t b = 0; b < bucket.blocks.size(); ++b) {
            const Block& block = *bucket.blocks[b];
            if (block.count == 0 || block.count > kBlockRows) return "a block's count";
            if (bucket.firsts[b] != key_of(block.rows[0])) return "a block's first key";
            for (std::uint32_t i = 0; i < block.count; ++i, ++rows) {
                const AskRow& row = block.rows[i];
                if (last && !(*last < key_of(row))) return "rows out of order";
                last = key_of(row);
                Bounds wider = block.bounds;
                widen(wider, row);
                if (wider != block.bounds) return "a row outside its block's bounds";
                const Place& place = places_[index_of(row)];
                if (place.bucket != id || place.key != key_of(row)) return "an ask's place";
            }
        }
    }
    if (rows != size_) return "the count of asks";
    return std::nullopt;
}

}  // namespace marketplace::matching
