// SPDX-License-Identifier: Apache-2.0
#include "ledger/base/check.hpp"
#include "marketplace/matching/ask_rows.hpp"
#include "marketplace/matching/order_book.hpp"

#include <algorithm>
#include <bit>
#include <span>

namespace marketplace::matching {
namespace {

bool overlap(const Seconds& a, const Seconds& b) noexcept {
    return static_cast<bool>(static_cast<int>(a.from_s < b.until_s) &
                             static_cast<int>(b.from_s < a.until_s));
}

bool covers(const Seconds& stretch, std::uint32_t at_s) noexcept {
    return static_cast<bool>(static_cast<int>(stretch.from_s <= at_s) &
                             static_cast<int>(at_s < stretch.until_s));
}

/// May one of the asks under a bound fit?
struct MayFit {
    const Query& query;
    bool operator()(const AskRows::Bound& bound) const noexcept {
        return static_cast<bool>(static_cast<int>(may_meet(bound.offer, query.need)) &
                                 static_cast<int>(covers(bound.starts, query.from_s)) &
                                 static_cast<int>(!overlap(bound.hold, query.certain)));
    }
};

/// The rows of a block whose signatures will do, as bits; without a branch for each.
std::uint32_t likely_rows(const Ladders<AskRows>::Block& block, const Query& query) noexcept {
    std::uint32_t out = 0;
    for (std::uint32_t i = 0; i < block.count; ++i)
        out |= static_cast<std::uint32_t>(may_meet(block.signatures[i], query.need)) << i;
    return out;
}

/// The earliest of some rows from `from` to `limit` whose hot part will do too; kRows when none
/// does. Takes those that do not out of the mask.
std::uint32_t earliest(const Ladders<AskRows>::Block& block, std::uint32_t& mask,
                       const Query& query, const Key& from, const Key& limit) noexcept {
    std::uint32_t best = Ladders<AskRows>::kRows;
    Key best_key = limit;
    for (std::uint32_t rest = mask; rest != 0; rest &= rest - 1) {
        const auto i = static_cast<std::uint32_t>(std::countr_zero(rest));
        const AskRows::Hot& row = block.hot(i);
        const bool will_do = static_cast<bool>(static_cast<int>(covers(row.starts, query.from_s)) &
                                               static_cast<int>(!overlap(row.hold, query.certain)) &
                                               static_cast<int>(!is_before(row.key, from)) &
                                               static_cast<int>(!is_before(limit, row.key)));
        mask ^= static_cast<std::uint32_t>(!will_do) << i;
        const bool wins = will_do && !is_before(best_key, row.key);
        best = wins ? i : best;
        best_key = wins ? row.key : best_key;
    }
    return best;
}

}  // namespace

// The test --------------------------------------------------------------------------------------

/// The lists, which most bids and asks do not have.
bool OrderBook::is_listed(AskIndex index, const Cold& cold, const Query& query) const {
    if (!allows(query.runtimes, cold.runtime)) return false;
    if (!allows(query.interconnects, cold.interconnect)) return false;
    if (!allows(query.providers, cold.provider)) return false;
    if (matching::contains(query.exclude_providers, cold.provider)) return false;
    if (matching::contains(query.exclude_workers, cold.worker)) return false;
    if (matching::contains(query.exclude_asks, index)) return false;
    if (cold.buyer_lists == 0) return true;
    const BuyerLists& lists = buyer_lists_[cold.buyer_lists];
    return allows(lists.only, query.buyer) && !matching::contains(lists.never, query.buyer);
}

/// All but the calendar.
bool OrderBook::fits(const Hot& hot, const Cold& cold, const Query& query) const {
    // One branch for the many: the comparisons are cheaper than mispredicting each.
    const int plain = static_cast<int>(query.least_units <= cold.limit_units) &
                      static_cast<int>(query.units >= cold.min_units) &
                      static_cast<int>(query.flops <= cold.max_flops) &
                      static_cast<int>(query.min_vram_mib <= cold.vram_mib) &
                      static_cast<int>(query.min_ram_mib <= cold.ram_mib) &
                      static_cast<int>(query.min_disk_mib <= cold.disk_mib) &
                      static_cast<int>(query.min_bandwidth_mbps <= cold.bandwidth_mbps) &
                      static_cast<int>(query.min_gpu_count <= cold.gpu_count) &
                      static_cast<int>(query.min_cpu_cores <= cold.cpu_cores) &
                      static_cast<int>(query.min_reclaim_window_s <= cold.reclaim_window_s) &
                      static_cast<int>(query.min_reliability_bp <= reliability_of(hot)) &
                      static_cast<int>(query.gang <= cold.max_gang) &
                      static_cast<int>(query.min_tier <= cold.tier) &
                      static_cast<int>((query.numeric_bit & ~cold.numeric_classes) == 0) &
                      static_cast<int>(query.buyer != cold.provider) &
                      static_cast<int>(query.buyer != cold.worker);
    return plain != 0 && is_listed(index_of(hot), cold, query) && can_pay_slice(hot, cold, query);
}

/// What a slice locks depends on how much the ask can give.
bool OrderBook::can_pay_slice(const Hot& hot, const Cold& cold, const Query& query) {
    if (query.slice_atoms == 0) return true;
    const std::uint64_t units = std::min(query.units, cold.limit_units);
    const auto lock = ledger::eth::amount_for(query.unit_kind, units, hot.key.first);
    return lock && *lock <= query.slice_atoms;
}

bool OrderBook::is_free(const Hot& hot, const Cold& cold, const Query& query) const {
    if (!query.exclusive || hot.hold == kNoHold) return true;
    const Calendar* calendar = parties_[cold.worker].calendar;
    return calendar == nullptr || calendar->is_free(query.window.from, query.window.until);
}

// Searching -------------------------------------------------------------------------------------

bool OrderBook::fits_at(Place place, const Query& query) const {
    const Hot& hot = rows_.hot(place);
    const Bucket& bucket = buckets_[rows_.ladder_of(place)];
    return bucket.unit_kind == static_cast<std::uint8_t>(query.unit_kind) &&
           allows(query.models, bucket.model) && allows(query.regions, bucket.region) &&
           hot.key.first <= query.max_price_atoms && may_meet(rows_.signature(place), query.need) &&
           covers(hot.starts, query.from_s) && fits(hot, rows_.cold(place), query);
}

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
            const Place place = listed_[i].place;
            if (!fits_at(place, query)) continue;
            if (is_free(rows_.hot(place), rows_.cold(place), query)) visit(place);
        }
    }
}

template <typename Visit>
void OrderBook::for_each_bucket(const Query& query, Visit&& visit) const {
    if (query.never) return;
    const auto kind = static_cast<std::uint8_t>(query.unit_kind);
    if (query.models.empty() || query.regions.empty()) {
        for (const BucketId id : buckets_of_kind_[kind]) {
            const Bucket& bucket = buckets_[id];
            if ((query.groups >> bucket.group & 1U) != 0 && allows(query.models, bucket.model) &&
                allows(query.regions, bucket.region))
                visit(id);
        }
        return;
    }
    std::array<BucketId, 32> ids;
    std::size_t count = 0;
    const auto flush = [&] {
        const std::span<const BucketId> some(ids.data(), count);
        rows_.prefetch_fronts(some);
        for (const BucketId id : some)
            visit(id);
        count = 0;
    };
    for (std::uint8_t group = 0; query.groups >> group != 0; ++group) {
        if ((query.groups >> group & 1U) == 0) continue;
        for (const NameId model : query.models) {
            for (const NameId region : query.regions) {
                const BucketId id = find_bucket({kind, group, model, region});
                if (id == kNone) continue;
                ids[count++] = id;
                if (count == ids.size()) flush();
            }
        }
    }
    flush();
}

void OrderBook::search(BucketId bucket, const Query& query, const Key& from, Found& best,
                       Effort& effort) const {
    rows_.walk(bucket, from, best.key, effort, MayFit{query}, [&](const Rows::Block& block) {
        for (std::uint32_t mask = likely_rows(block, query); mask != 0;) {
            const std::uint32_t i = earliest(block, mask, query, from, best.key);
            if (i == Rows::kRows) return false;
            mask ^= 1U << i;
            if (!fits(block.hot(i), block.cold(i), query)) continue;
            if (!is_free(block.hot(i), block.cold(i), query)) continue;
            best = {block.hot(i).key, &block.hot(i), block.cold(i).worker};
            return true;
        }
        return false;
    });
}

std::optional<AskIndex> OrderBook::best_from(const Query& query, const Key& from,
                                             Effort& effort) const {
    Found found{{query.max_price_atoms, UINT64_MAX}, nullptr, kNoParty};
    if (has_few_providers(query)) {
        for_each_provided(query, [&](Place place) {
            const Hot& row = rows_.hot(place);
            if (is_before(row.key, from) || is_before(found.key, row.key)) return;
            found = {row.key, &row, kNoParty};
        });
    } else {
        for_each_bucket(query, [&](BucketId id) { search(id, query, from, found, effort); });
    }
    if (found.row == nullptr) return std::nullopt;
    return index_of(*found.row);
}

std::optional<AskIndex> OrderBook::best(const Query& query, Effort* effort) const {
    Effort own;
    return best_from(query, kFirstKey, effort == nullptr ? own : *effort);
}

std::optional<AskIndex> OrderBook::next(const Query& query, AskIndex after) const {
    MR_CHECK(contains(after));
    Key from = rows_.hot(listed_[after].place).key;
    ++from.second;
    Effort effort;
    return best_from(query, from, effort);
}

std::optional<AskIndex> OrderBook::best_for_worker(const Query& query,
                                                   const domain::Address& worker) const {
    const PartyId party = find_party(worker);
    if (party == kNoParty || query.never) return std::nullopt;
    const Hot* best = nullptr;
    for (AskIndex i = parties_[party].first_ask; i != kNone; i = listed_[i].of_worker.next) {
        const Place place = listed_[i].place;
        const Hot& hot = rows_.hot(place);
        if (best != nullptr && is_before(best->key, hot.key)) continue;
        if (fits_at(place, query)) best = &hot;
    }
    if (best == nullptr) return std::nullopt;
    return index_of(*best);
}

/// The first `count` up to `limit` that fit, on different workers: no other row of the bucket can
/// be needed.
void OrderBook::gather(BucketId bucket, const Query& query, std::size_t count, const Key& limit,
                       std::vector<Found>& out, Effort& effort) const {
    const std::size_t begin = out.size();
    const auto is_taken = [&](PartyId worker) {
        return std::any_of(out.begin() + static_cast<std::ptrdiff_t>(begin), out.end(),
                           [worker](const Found& one) { return one.worker == worker; });
    };
    rows_.walk(bucket, kFirstKey, limit, effort, MayFit{query}, [&](const Rows::Block& block) {
        for (std::uint32_t mask = likely_rows(block, query); mask != 0;) {
            const std::uint32_t i = earliest(block, mask, query, kFirstKey, limit);
            if (i == Rows::kRows) return false;
            mask ^= 1U << i;
            const Cold& cold = block.cold(i);
            if (!fits(block.hot(i), cold, query) || !is_free(block.hot(i), cold, query)) continue;
            if (is_taken(cold.worker)) continue;
            out.push_back({block.hot(i).key, &block.hot(i), cold.worker});
            if (out.size() - begin == count) return true;
        }
        return false;
    });
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
    if (has_few_providers(query)) {
        for_each_provided(query, [&](Place place) {
            found.push_back({rows_.hot(place).key, &rows_.hot(place), rows_.cold(place).worker});
        });
        keep_best(found, count);
    } else {
        Key limit{query.max_price_atoms, UINT64_MAX};
        for_each_bucket(query, [&](BucketId id) {
            gather(id, query, count, limit, found, effort == nullptr ? own : *effort);
            keep_best(found, count);
            if (found.size() == count) limit = found.back().key;
        });
    }
    std::vector<AskIndex> out;
    if (found.size() < count) return out;
    for (const Found& one : found)
        out.push_back(index_of(*one.row));
    return out;
}

}  // namespace marketplace::matching
