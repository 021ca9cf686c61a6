// SPDX-License-Identifier: Apache-2.0
#include "ledger/base/check.hpp"
#include "marketplace/matching/ask_rows.hpp"
#include "marketplace/matching/order_book.hpp"

#include <algorithm>

namespace marketplace::matching {
namespace {

bool covers(const Seconds& stretch, std::uint32_t at_s) noexcept {
    return static_cast<bool>(static_cast<int>(stretch.from_s <= at_s) &
                             static_cast<int>(at_s < stretch.until_s));
}

}  // namespace

// The test --------------------------------------------------------------------------------------

bool OrderBook::is_fast(const AskRow& row, const Query& query) const {
    if (query.min_gflop_per_s == 0 && query.min_memory_mb_per_s == 0) return true;
    const Speed& speed = speeds_[listed_[index_of(row)].row];
    return query.min_gflop_per_s <= speed.gflop_per_s &&
           query.min_memory_mb_per_s <= speed.memory_mb_per_s;
}

/// The lists, which most bids and asks do not have.
bool OrderBook::is_listed(const AskRow& row, const Query& query) const {
    if (!allows(query.runtimes, row.runtime)) return false;
    if (!allows(query.interconnects, row.interconnect)) return false;
    if (!allows(query.providers, row.provider)) return false;
    if (matching::contains(query.exclude_providers, row.provider)) return false;
    if (matching::contains(query.exclude_workers, row.worker)) return false;
    if (matching::contains(query.exclude_asks, index_of(row))) return false;
    if (row.buyer_lists == 0) return true;
    const BuyerLists& lists = buyer_lists_[row.buyer_lists];
    return allows(lists.only, query.buyer) && !matching::contains(lists.never, query.buyer);
}

/// All but the signature, the bucket, the highest price and the calendar.
bool OrderBook::fits(const AskRow& row, const Query& query) const {
    // One branch for the many: the comparisons are cheaper than mispredicting each.
    const int plain = static_cast<int>(covers(row.starts, query.from_s)) &
                      static_cast<int>(query.least_units <= row.limit_units) &
                      static_cast<int>(query.units >= row.min_units) &
                      static_cast<int>(query.flops <= row.max_flops) &
                      static_cast<int>(query.min_vram_mib <= row.vram_mib) &
                      static_cast<int>(query.min_ram_mib <= row.ram_mib) &
                      static_cast<int>(query.min_disk_mib <= row.disk_mib) &
                      static_cast<int>(query.min_bandwidth_mbps <= row.bandwidth_mbps) &
                      static_cast<int>(query.min_gpu_count <= row.gpu_count) &
                      static_cast<int>(query.min_cpu_cores <= row.cpu_cores) &
                      static_cast<int>(query.min_reclaim_window_s <= row.reclaim_window_s) &
                      static_cast<int>(query.min_reliability_bp <= reliability_of(row)) &
                      static_cast<int>(query.gang <= row.max_gang) &
                      static_cast<int>(query.min_tier <= row.tier) &
                      static_cast<int>((query.numeric_bit & ~unsigned{row.numeric_classes}) == 0) &
                      static_cast<int>(query.buyer != row.provider) &
                      static_cast<int>(query.buyer != row.worker);
    return plain != 0 && is_fast(row, query) && is_listed(row, query) && can_pay_slice(row, query);
}

/// What a slice locks depends on how much the ask can give.
bool OrderBook::can_pay_slice(const AskRow& row, const Query& query) {
    if (query.slice_atoms == 0) return true;
    const std::uint64_t units = std::min(query.units, row.limit_units);
    const auto lock = ledger::eth::amount_for(query.unit_kind, units, row.key.first);
    return lock && *lock <= query.slice_atoms;
}

bool OrderBook::is_free(const AskRow& row, const Query& query) const {
    if (!query.exclusive || row.hold == kNoHold) return true;
    if (overlap(row.hold, query.certain)) return false;
    return promises_.at(row.worker).calendar->is_free(query.window.from, query.window.until);
}

bool OrderBook::fits_whatever_promised(const AskRow& row, const Query& query) const {
    const Bucket& bucket = buckets_[row.bucket];
    return bucket.unit_kind == static_cast<std::uint8_t>(query.unit_kind) &&
           allows(query.models, bucket.model) && allows(query.regions, bucket.region) &&
           row.key.first <= query.max_price_atoms && may_meet(row.offer, query.need) &&
           fits(row, query);
}

// Searching -------------------------------------------------------------------------------------

/// Then looking at each of their asks is less work than looking for them in the buckets.
bool OrderBook::has_few_providers(const Query& query) const {
    if (query.providers.empty()) return false;
    std::size_t asks = 0;
    for (const PartyId provider : query.providers)
        asks += parties_[provider].offered;
    return asks <= 256;
}

template <typename Visit>
void OrderBook::for_each_provided(const Query& query, Visit&& visit) const {
    if (query.never) return;
    for (const PartyId provider : query.providers) {
        for (AskIndex i = parties_[provider].first_offered; i != kNone;
             i = listed_[i].of_provider.next) {
            const AskRow& row = row_of(i);
            if (fits_whatever_promised(row, query) && is_free(row, query)) visit(row);
        }
    }
}

/// For an exclusive query at the time of `advance` there is nobody to look at: these are the
/// others.
template <typename Visit>
void OrderBook::for_each_aside(const Query& query, Visit&& visit) const {
    if (query.never) return;
    if ((query.groups >> kReserved & 1U) != 0) return;  // such asks are all in line
    const auto consider = [&](const AskRow& row) {
        if (row.is_resting || !fits_whatever_promised(row, query)) return;
        if (is_free(row, query)) visit(row);
    };
    for (const auto& [opens_ms, index] : unopened_) {
        if (query.window.from < opens_ms) break;
        consider(row_of(index));
    }
    if (is_shared(static_cast<std::uint8_t>(query.unit_kind))) return;
    for (const auto& [until_ms, worker] : busy_workers_) {
        if (query.exclusive && query.window.from < until_ms) break;
        for (AskIndex i = parties_[worker].first_ask; i != kNone; i = listed_[i].of_worker.next)
            consider(row_of(i));
    }
}

template <typename Visit>
void OrderBook::for_each_bucket(const Query& query, Visit&& visit) const {
    if (query.never) return;
    const auto kind = static_cast<std::uint8_t>(query.unit_kind);
    // Some at a time: while the first is searched the others' memory is fetched.
    std::array<BucketId, 32> ids;
    std::size_t count = 0;
    const auto flush = [&] {
        for (std::size_t i = 0; i < count; ++i)
            visit(ids[i]);
        count = 0;
    };
    const auto add = [&](BucketId id) {
        ladders_.prefetch(id);
        ids[count++] = id;
        if (count == ids.size()) flush();
    };
    if (query.models.empty() || query.regions.empty()) {
        for (const BucketId id : buckets_of_kind_[kind]) {
            const Bucket& bucket = buckets_[id];
            if ((query.groups >> bucket.group & 1U) != 0 && allows(query.models, bucket.model) &&
                allows(query.regions, bucket.region))
                add(id);
        }
        return flush();
    }
    for (std::uint8_t group = 0; group < kGroups; ++group) {
        if ((query.groups >> group & 1U) == 0) continue;
        for (const NameId model : query.models) {
            for (const NameId region : query.regions) {
                const BucketId id = find_bucket({kind, group, model, region});
                if (id != kNone) add(id);
            }
        }
    }
    flush();
}

void OrderBook::search(BucketId bucket, const Query& query, const Key& from, Found& best,
                       Effort& effort) const {
    const auto visit = [&](const PriceLadders::Entry& entry) {
        const AskRow& row = rows_[entry.row];
        if (!fits(row, query) || !is_free(row, query)) return false;
        best = {row.key, row.worker};
        return true;
    };
    ladders_.walk(bucket, {query.need, query.certain, from, best.key}, effort, visit);
}

std::optional<AskIndex> OrderBook::best_from(const Query& query, const Key& from,
                                             Effort& effort) const {
    Found found{{query.max_price_atoms, UINT64_MAX}, kNoParty};
    const auto consider = [&](const AskRow& row) {
        if (is_before(row.key, from) || is_before(found.key, row.key)) return;
        found = {row.key, row.worker};
    };
    if (has_few_providers(query)) {
        for_each_provided(query, consider);
    } else {
        for_each_bucket(query, [&](BucketId id) { search(id, query, from, found, effort); });
        for_each_aside(query, consider);
    }
    if (found.worker == kNoParty) return std::nullopt;
    return static_cast<AskIndex>(found.key.second);
}

std::optional<AskIndex> OrderBook::best(const Query& query, Effort* effort) const {
    Effort own;
    return best_from(query, kFirstKey, effort == nullptr ? own : *effort);
}

std::optional<AskIndex> OrderBook::next(const Query& query, AskIndex after) const {
    MR_CHECK(contains(after));
    Key from = row_of(after).key;
    ++from.second;
    Effort effort;
    return best_from(query, from, effort);
}

std::optional<AskIndex> OrderBook::best_for_worker(const Query& query,
                                                   const domain::Address& worker) const {
    const PartyId party = find_party(worker);
    if (party == kNoParty || query.never) return std::nullopt;
    const AskRow* best = nullptr;
    for (AskIndex i = parties_[party].first_ask; i != kNone; i = listed_[i].of_worker.next) {
        const AskRow& row = row_of(i);
        if (best != nullptr && is_before(best->key, row.key)) continue;
        if (fits_whatever_promised(row, query)) best = &row;
    }
    if (best == nullptr) return std::nullopt;
    return index_of(*best);
}

/// Adds to `out` the best `count` of the bucket up to `limit`, on different workers, and lowers the
/// limit when `out` has so many: no other row of the bucket can be needed.
void OrderBook::gather(BucketId bucket, const Query& query, std::size_t count, Key& limit,
                       std::vector<Found>& out, Effort& effort) const {
    const auto visit = [&](const PriceLadders::Entry& entry) {
        const AskRow& row = rows_[entry.row];
        if (!fits(row, query) || !is_free(row, query)) return false;
        out.push_back({row.key, row.worker});
        keep_best(out, count);
        if (out.size() == count) limit = out.back().key;
        return false;
    };
    ladders_.walk(bucket, {query.need, query.certain, kFirstKey, limit}, effort, visit);
}

/// Keeps the best of each worker, then the best `count` of those, in order.
void OrderBook::keep_best(std::vector<Found>& found, std::size_t count) {
    std::sort(found.begin(), found.end(),
              [](const Found& a, const Found& b) { return is_before(a.key, b.key); });
    std::size_t kept = 0;
    for (std::size_t i = 0; i < found.size() && kept < count; ++i) {
        const auto end = found.begin() + static_cast<std::ptrdiff_t>(kept);
        const bool is_taken = std::any_of(
            found.begin(), end, [&](const Found& one) { return one.worker == found[i].worker; });
        if (!is_taken) found[kept++] = found[i];
    }
    found.resize(kept);
}

std::vector<AskIndex> OrderBook::best_gang(const Query& query, std::size_t count,
                                           Effort* effort) const {
    Effort own;
    std::vector<Found> found;
    const auto consider = [&](const AskRow& row) { found.push_back({row.key, row.worker}); };
    if (has_few_providers(query)) {
        for_each_provided(query, consider);
    } else {
        Key limit{query.max_price_atoms, UINT64_MAX};
        for_each_bucket(query, [&](BucketId id) {
            gather(id, query, count, limit, found, effort == nullptr ? own : *effort);
        });
        for_each_aside(query, consider);
    }
    keep_best(found, count);
    std::vector<AskIndex> out;
    if (found.size() < count) return out;
    for (const Found& one : found)
        out.push_back(static_cast<AskIndex>(one.key.second));
    return out;
}

}  // namespace marketplace::matching
