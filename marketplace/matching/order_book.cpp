// SPDX-License-Identifier: Apache-2.0
#include "marketplace/matching/order_book.hpp"

#include "ledger/base/check.hpp"
#include "ledger/base/checked.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

namespace marketplace::matching {
namespace {

constexpr std::size_t kMaxNames = 10'000;     // models, regions, runtimes, interconnects: each
constexpr std::size_t kMaxBuckets = 100'000;  // one with a single ask takes 5 KB
constexpr std::uint32_t kBestReliability = 10'000;
constexpr std::uint32_t kMaxSeconds = std::numeric_limits<std::uint32_t>::max();

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
template <typename T>
bool allows(const std::vector<T>& list, T value) noexcept {
    return list.empty() || contains(list, value);
}

AskIndex index_of(const AskRows::Hot& row) noexcept {
    return static_cast<AskIndex>(row.key.second);
}
std::uint32_t reliability_of(const AskRows::Hot& row) noexcept {
    return kBestReliability - static_cast<std::uint32_t>(row.key.second >> 32U);
}

std::uint32_t hash_of_address(const domain::Address& address) noexcept {
    std::uint64_t head = 0;
    std::uint64_t tail = 0;
    std::memcpy(&head, address.data(), 8);
    std::memcpy(&tail, address.data() + domain::Address::kSize - 8, 8);
    return mix(head * 0x9e37'79b9'7f4a'7c15ULL ^ tail);
}

/// Rounded inwards, so that what it covers is certainly covered.
Seconds seconds_within(TimeMs from, TimeMs until) noexcept {
    return {saturate<std::uint32_t>(from / 1000 + (from % 1000 != 0 ? 1 : 0)),
            saturate<std::uint32_t>(until / 1000)};
}
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

/// The earliest row of a mask.
std::uint32_t earliest(const Ladders<AskRows>::Block& block, std::uint32_t mask) noexcept {
    auto best = static_cast<std::uint32_t>(std::countr_zero(mask));
    for (mask &= mask - 1; mask != 0; mask &= mask - 1) {
        const auto other = static_cast<std::uint32_t>(std::countr_zero(mask));
        best = is_before(block.hot[other].key, block.hot[best].key) ? other : best;
    }
    return best;
}

}  // namespace

// Names -----------------------------------------------------------------------------------------

PartyId OrderBook::find_party(const domain::Address& party) const {
    return party_ids_.find(hash_of_address(party),
                           [&](PartyId id) { return parties_[id].address == party; });
}

PartyId OrderBook::intern(const domain::Address& party) {
    const PartyId known = find_party(party);
    if (known != kNoParty) return known;
    const auto id = static_cast<PartyId>(parties_.size());
    parties_.emplace_back().address = party;
    party_ids_.insert(hash_of_address(party), id);
    return id;
}

std::uint32_t OrderBook::keep_lists(const domain::Resource& resource) {
    if (resource.buyers.empty() && resource.exclude_buyers.empty()) return 0;
    if (free_lists_.empty()) {
        free_lists_.push_back(static_cast<std::uint32_t>(buyer_lists_.size()));
        buyer_lists_.emplace_back();
    }
    const std::uint32_t id = free_lists_.back();
    free_lists_.pop_back();
    for (const domain::Address& buyer : resource.buyers) {
        buyer_lists_[id].only.push_back(intern(buyer));
        ++parties_[buyer_lists_[id].only.back()].in_lists;
    }
    for (const domain::Address& buyer : resource.exclude_buyers)
        buyer_lists_[id].never.push_back(intern(buyer));
    return id;
}

/// On-demand and standing asks meet the same bids.
std::uint8_t OrderBook::group_of(ledger::eth::OrderClass order_class) noexcept {
    if (order_class == ledger::eth::OrderClass::kInterruptible) return 1;
    return order_class == ledger::eth::OrderClass::kReserved ? 2 : 0;
}

std::uint32_t OrderBook::hash_of(const Bucket& bucket) noexcept {
    return mix(std::uint64_t{bucket.unit_kind} << 40U | std::uint64_t{bucket.group} << 32U |
               std::uint64_t{bucket.model} << 16U | bucket.region);
}

OrderBook::BucketId OrderBook::find_bucket(const Bucket& wanted) const {
    return bucket_ids_.find(hash_of(wanted), [&](BucketId id) { return buckets_[id] == wanted; });
}

OrderBook::BucketId OrderBook::bucket_for(const Bucket& wanted) {
    const BucketId known = find_bucket(wanted);
    if (known != kNone) return known;
    const BucketId id = rows_.add_ladder();
    buckets_.push_back(wanted);
    bucket_ids_.insert(hash_of(wanted), id);
    buckets_of_kind_[wanted.unit_kind].push_back(id);
    return id;
}

// Bids made ready -------------------------------------------------------------------------------

std::uint64_t OrderBook::highest_price(const Want& want, std::uint64_t price_atoms) noexcept {
    // ceil(units · price / scale) <= amount  <=>  price <= floor(amount · scale / units).
    constexpr auto kMaxAmount =
        static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
    const auto bound =
        ledger::base::mul_div_down(std::min(want.bid.max_amount_atoms, kMaxAmount),
                                   ledger::eth::unit_scale(want.bid.unit_kind), least_units(want));
    return std::min(price_atoms, bound.value_or(UINT64_MAX));
}

void OrderBook::compile_lists(const Want& want, Query& query) const {
    const domain::Constraints& wanted = want.constraints;
    const auto names = [&query](const Names& known, const std::vector<std::string>& texts,
                                std::vector<NameId>& out) {
        out.clear();
        for (const std::string& text : texts) {
            const std::uint32_t found = known.find(text);
            // A name may stand twice in a list; a bucket must be visited once.
            const auto id = static_cast<NameId>(found);
            if (found != IdTable::kNone && !matching::contains(out, id)) out.push_back(id);
        }
        query.never = query.never || (!texts.empty() && out.empty());
    };
    names(models_, wanted.gpu_models, query.models);
    names(regions_, wanted.regions, query.regions);
    names(runtimes_, wanted.runtimes, query.runtimes);
    names(interconnects_, wanted.interconnects, query.interconnects);
    const auto parties = [this](const auto& addresses, std::vector<PartyId>& out) {
        out.clear();
        for (const domain::Address& address : addresses)
            if (const PartyId id = find_party(address); id != kNoParty) out.push_back(id);
    };
    parties(wanted.providers, query.providers);
    query.never = query.never || (!wanted.providers.empty() && query.providers.empty());
    parties(wanted.exclude_providers, query.exclude_providers);
    parties(want.excluded_workers, query.exclude_workers);
    query.exclude_asks.clear();
}

void OrderBook::compile(const Want& want, Query& query) const {
    const domain::Constraints& wanted = want.constraints;
    query.unit_kind = want.bid.unit_kind;
    query.window = work_window(want);
    const std::uint64_t from_s = query.window.from / 1000;
    query.never = want.units == 0 || from_s < want.bid.earliest_s || from_s >= want.bid.expiry_s ||
                  from_s >= want.bid.deadline_s || from_s >= kMaxSeconds;
    query.from_s = saturate<std::uint32_t>(from_s);
    query.exclusive = is_exclusive(want.terms) && query.window.from < query.window.until;
    query.certain =
        query.exclusive ? seconds_within(query.window.from, query.window.until) : kNoHold;
    query.need = need_signature(want);
    query.max_price_atoms = highest_price(want, want.price_atoms);
    query.units = want.units;
    query.slice_atoms = least_units(want) == want.units ? 0 : want.bid.max_amount_atoms;
    query.least_units = least_units(want);
    query.flops = want.terms.kind == domain::JobKind::kTrain ? want.terms.flops_per_step : 0;
    query.min_vram_mib = wanted.min_vram_mib;
    query.min_ram_mib = wanted.min_ram_mib;
    query.min_disk_mib = wanted.min_disk_mib;
    query.min_gpu_count = wanted.min_gpu_count;
    query.min_cpu_cores = wanted.min_cpu_cores;
    query.min_bandwidth_mbps = wanted.min_bandwidth_mbps;
    query.min_reliability_bp = wanted.min_reliability_bp;
    query.min_reclaim_window_s = wanted.min_reclaim_window_s;
    query.numeric_bit = domain::bit_of(wanted.numeric_class);
    query.min_tier = want.bid.verification_tier;
    query.gang = wanted.gang;
    query.groups = 0;
    for (std::uint8_t i = 0; i < ledger::eth::kOrderClassCount; ++i) {
        const auto ask_class = static_cast<ledger::eth::OrderClass>(i);
        if (classes_meet(ask_class, want.bid.order_class))
            query.groups = static_cast<std::uint8_t>(query.groups | 1U << group_of(ask_class));
    }
    query.buyer = find_party(want.bid.buyer);
    if (query.buyer == kNoParty || parties_[query.buyer].in_lists == 0)
        query.need.b |= kForSomeFlag;
    compile_lists(want, query);
}

Query OrderBook::compile(const Want& want) const {
    Query query;
    compile(want, query);
    return query;
}

// The test --------------------------------------------------------------------------------------

/// The rows of a block that may fit, as bits; without a branch for each.
std::uint32_t OrderBook::may_fit(const Rows::Block& block, const Query& query, const Key& from,
                                 const Key& limit) {
    std::uint32_t out = 0;
    for (std::uint32_t i = 0; i < block.count; ++i) {
        const Hot& row = block.hot[i];
        const int fits = static_cast<int>(may_meet(row.offer, query.need)) &
                         static_cast<int>(covers(row.starts, query.from_s)) &
                         static_cast<int>(!overlap(row.hold, query.certain)) &
                         static_cast<int>(!is_before(row.key, from)) &
                         static_cast<int>(!is_before(limit, row.key));
        out |= static_cast<std::uint32_t>(fits) << i;
    }
    return out;
}

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

// Rows in and out -------------------------------------------------------------------------------

Key OrderBook::key_for(std::uint64_t price, std::uint32_t reliability_bp, AskIndex index) noexcept {
    const std::uint64_t doubt = kBestReliability - std::min(reliability_bp, kBestReliability);
    return {price, doubt << 32U | index};
}

void OrderBook::insert(BucketId bucket, const Hot& hot, const Cold& cold) {
    rows_.insert(bucket, hot, cold,
                 [this](const Hot& row, Place place) { listed_[index_of(row)].place = place; });
}

void OrderBook::erase(Place place) {
    rows_.erase(place, [this](const Hot& row, Place to) { listed_[index_of(row)].place = to; });
}

void OrderBook::link(AskIndex index, AskIndex& first, Neighbours Listed::*side) {
    listed_[index].*side = {first, kNone};
    if (first != kNone) (listed_[first].*side).previous = index;
    first = index;
}

void OrderBook::unlink(AskIndex index, AskIndex& first, Neighbours Listed::*side) {
    const Neighbours& own = listed_[index].*side;
    if (own.next != kNone) (listed_[own.next].*side).previous = own.previous;
    if (own.previous != kNone)
        (listed_[own.previous].*side).next = own.next;
    else
        first = own.next;
}

bool OrderBook::can_add(const domain::Resource& resource) const {
    const auto can_intern = [](const Names& names, const std::string& name) {
        return names.size() < kMaxNames || names.find(name) != IdTable::kNone;
    };
    const auto fits_in = [](std::uint64_t value, std::uint64_t most) { return value <= most; };
    return can_intern(models_, resource.gpu_model) && can_intern(regions_, resource.region) &&
           can_intern(runtimes_, resource.runtime) &&
           can_intern(interconnects_, resource.interconnect) && buckets_.size() < kMaxBuckets &&
           fits_in(resource.vram_mib, UINT32_MAX) && fits_in(resource.ram_mib, UINT32_MAX) &&
           fits_in(resource.disk_mib, UINT32_MAX) && fits_in(resource.gpu_count, UINT16_MAX) &&
           fits_in(resource.cpu_cores, UINT16_MAX);
}

OrderBook::Cold OrderBook::cold_row(const ledger::eth::Ask& ask, const domain::Resource& resource) {
    const bool reclaimed = ask.order_class == ledger::eth::OrderClass::kInterruptible;
    Cold cold;
    cold.max_flops = resource.max_flops_per_step;
    cold.min_units = ask.min_units;
    cold.max_units = ask.max_units;
    cold.vram_mib = static_cast<std::uint32_t>(resource.vram_mib);
    cold.ram_mib = static_cast<std::uint32_t>(resource.ram_mib);
    cold.disk_mib = static_cast<std::uint32_t>(resource.disk_mib);
    cold.bandwidth_mbps = resource.bandwidth_mbps;
    cold.reclaim_window_s = reclaimed ? ask.reclaim_window_s : UINT32_MAX;
    cold.buyer_lists = keep_lists(resource);
    cold.provider = intern(ask.provider);
    cold.worker = intern(resource.worker);
    cold.gpu_count = static_cast<std::uint16_t>(resource.gpu_count);
    cold.cpu_cores = static_cast<std::uint16_t>(resource.cpu_cores);
    cold.max_gang = resource.max_gang;
    cold.runtime = static_cast<NameId>(runtimes_.intern(resource.runtime));
    cold.interconnect = static_cast<NameId>(interconnects_.intern(resource.interconnect));
    cold.numeric_classes = resource.numeric_classes;
    cold.tier = resource.verification_tier;
    return cold;
}

void OrderBook::add(AskIndex index, const ledger::eth::Ask& ask, const domain::Resource& resource,
                    const State& state) {
    if (listed_.size() <= index) listed_.resize(std::size_t{index} + 1);
    MR_CHECK(listed_[index].place == Rows::kNowhere);
    Cold cold = cold_row(ask, resource);
    cold.limit_units = lease_limit(ask.min_units, ask.max_units, state.free_units);
    Party& worker = parties_[cold.worker];
    Party& provider = parties_[cold.provider];
    const Hot hot{key_for(ask.price_atoms, state.reliability_bp, index),
                  offer_signature(ask, resource, state),
                  {saturate<std::uint32_t>(ask.earliest_s), saturate<std::uint32_t>(ask.expiry_s)},
                  worker.hold};
    link(index, worker.first_ask, &Listed::of_worker);
    link(index, provider.first_offered, &Listed::of_provider);
    ++provider.offered;
    insert(bucket_for({static_cast<std::uint8_t>(ask.unit_kind), group_of(ask.order_class),
                       static_cast<NameId>(models_.intern(resource.gpu_model)),
                       static_cast<NameId>(regions_.intern(resource.region))}),
           hot, cold);
    ++size_;
}

bool OrderBook::contains(AskIndex index) const noexcept {
    return index < listed_.size() && listed_[index].place != Rows::kNowhere;
}

void OrderBook::remove(AskIndex index) {
    if (!contains(index)) return;
    const Place place = listed_[index].place;
    const Cold& cold = rows_.cold(place);
    Party& provider = parties_[cold.provider];
    unlink(index, parties_[cold.worker].first_ask, &Listed::of_worker);
    unlink(index, provider.first_offered, &Listed::of_provider);
    --provider.offered;
    if (cold.buyer_lists != 0) {
        for (const PartyId buyer : buyer_lists_[cold.buyer_lists].only)
            --parties_[buyer].in_lists;
        buyer_lists_[cold.buyer_lists] = {};
        free_lists_.push_back(cold.buyer_lists);
    }
    erase(place);
    listed_[index].place = Rows::kNowhere;
    --size_;
}

void OrderBook::update(AskIndex index, const State& state) {
    if (!contains(index)) return;
    const Place place = listed_[index].place;
    Hot& hot = rows_.hot(place);
    Cold& cold = rows_.cold(place);
    cold.limit_units = lease_limit(cold.min_units, cold.max_units, state.free_units);
    hot.offer = with_state(hot.offer, cold.limit_units, state.reliability_bp, state.available);
    const Key key = key_for(hot.key.first, state.reliability_bp, index);
    if (key == hot.key) {
        rows_.changed(place);
        return;
    }
    Hot moved = hot;
    moved.key = key;
    const Cold moved_cold = cold;
    const BucketId bucket = rows_.ladder_of(place);
    erase(place);
    insert(bucket, moved, moved_cold);
}

void OrderBook::set_calendar(const domain::Address& worker, const Calendar* calendar,
                             TimeMs now_ms) {
    Party& party = parties_[intern(worker)];
    party.calendar = calendar;
    party.hold = kNoHold;
    if (calendar != nullptr) {
        const TimeMs from = calendar->free_until(now_ms);
        if (from != kForever) party.hold = seconds_within(from, calendar->free_from(from));
    }
    for (AskIndex i = party.first_ask; i != kNone; i = listed_[i].of_worker.next) {
        rows_.hot(listed_[i].place).hold = party.hold;
        rows_.changed(listed_[i].place);
    }
}

// Searching -------------------------------------------------------------------------------------

bool OrderBook::fits_at(Place place, const Query& query) const {
    const Hot& hot = rows_.hot(place);
    const Bucket& bucket = buckets_[rows_.ladder_of(place)];
    return bucket.unit_kind == static_cast<std::uint8_t>(query.unit_kind) &&
           allows(query.models, bucket.model) && allows(query.regions, bucket.region) &&
           hot.key.first <= query.max_price_atoms && may_meet(hot.offer, query.need) &&
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
    for (std::uint8_t group = 0; query.groups >> group != 0; ++group) {
        if ((query.groups >> group & 1U) == 0) continue;
        for (const NameId model : query.models) {
            for (const NameId region : query.regions) {
                const BucketId id = find_bucket({kind, group, model, region});
                if (id != kNone) visit(id);
            }
        }
    }
}

void OrderBook::search(BucketId bucket, const Query& query, const Key& from, Found& best,
                       Effort& effort) const {
    rows_.walk(bucket, from, best.key, effort, MayFit{query}, [&](const Rows::Block& block) {
        for (std::uint32_t mask = may_fit(block, query, from, best.key); mask != 0;) {
            const std::uint32_t i = earliest(block, mask);
            if (fits(block.hot[i], block.cold[i], query) &&
                is_free(block.hot[i], block.cold[i], query)) {
                best = {block.hot[i].key, &block.hot[i], block.cold[i].worker};
                return true;
            }
            mask &= ~(1U << i);
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

/// The first `count` that fit, on different workers: no other row of the bucket can be needed.
void OrderBook::gather(BucketId bucket, const Query& query, std::size_t count,
                       std::vector<Found>& out, Effort& effort) const {
    const std::size_t begin = out.size();
    const Key limit{query.max_price_atoms, UINT64_MAX};
    const auto is_taken = [&](PartyId worker) {
        return std::any_of(out.begin() + static_cast<std::ptrdiff_t>(begin), out.end(),
                           [worker](const Found& one) { return one.worker == worker; });
    };
    rows_.walk(bucket, kFirstKey, limit, effort, MayFit{query}, [&](const Rows::Block& block) {
        for (std::uint32_t mask = may_fit(block, query, kFirstKey, limit); mask != 0;) {
            const std::uint32_t i = earliest(block, mask);
            mask &= ~(1U << i);
            const Cold& cold = block.cold[i];
            if (!fits(block.hot[i], cold, query) || !is_free(block.hot[i], cold, query)) continue;
            if (is_taken(cold.worker)) continue;
            out.push_back({block.hot[i].key, &block.hot[i], cold.worker});
            if (out.size() - begin == count) return true;
        }
        return false;
    });
}

std::vector<AskIndex> OrderBook::best_gang(const Query& query, std::size_t count,
                                           Effort* effort) const {
    Effort own;
    std::vector<Found> found;
    if (has_few_providers(query))
        for_each_provided(query, [&](Place place) {
            found.push_back({rows_.hot(place).key, &rows_.hot(place), rows_.cold(place).worker});
        });
    else
        for_each_bucket(query, [&](BucketId id) {
            gather(id, query, count, found, effort == nullptr ? own : *effort);
        });
    std::sort(found.begin(), found.end(),
              [](const Found& a, const Found& b) { return is_before(a.key, b.key); });
    std::vector<AskIndex> out;
    std::vector<PartyId> workers;
    for (const Found& one : found) {
        if (out.size() == count) break;
        if (matching::contains(workers, one.worker)) continue;
        workers.push_back(one.worker);
        out.push_back(index_of(*one.row));
    }
    if (out.size() < count) out.clear();
    return out;
}

// Checks ----------------------------------------------------------------------------------------

std::size_t OrderBook::memory_bytes() const noexcept {
    std::size_t out = rows_.memory_bytes() + listed_.capacity() * sizeof(Listed) +
                      buckets_.capacity() * sizeof(Bucket) + bucket_ids_.memory_bytes() +
                      models_.memory_bytes() + regions_.memory_bytes() + runtimes_.memory_bytes() +
                      interconnects_.memory_bytes() + parties_.capacity() * sizeof(Party) +
                      party_ids_.memory_bytes() + buyer_lists_.capacity() * sizeof(BuyerLists);
    for (const auto& buckets : buckets_of_kind_)
        out += buckets.capacity() * sizeof(BucketId);
    for (const BuyerLists& lists : buyer_lists_)
        out += (lists.only.capacity() + lists.never.capacity()) * sizeof(PartyId);
    return out;
}

std::optional<std::string> OrderBook::find_violation() const {
    std::size_t rows = 0;
    auto found = rows_.find_violation([&](const Hot& row, Place place) {
        ++rows;
        const Cold& cold = rows_.cold(place);
        const AskIndex index = index_of(row);
        return contains(index) && listed_[index].place == place &&
               row.hold == parties_[cold.worker].hold;
    });
    if (!found && rows != size_) return "the count of asks";
    return found;
}

}  // namespace marketplace::matching
