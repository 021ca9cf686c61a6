// SPDX-License-Identifier: Apache-2.0
#include "marketplace/matching/order_book.hpp"

#include "ledger/base/check.hpp"
#include "ledger/base/checked.hpp"
#include "marketplace/matching/ask_rows.hpp"

#include <algorithm>
#include <cstring>

namespace marketplace::matching {
namespace {

constexpr std::size_t kMaxNames = 10'000;     // models, regions, runtimes, interconnects: each
constexpr std::size_t kMaxBuckets = 100'000;  // one with a single ask takes 9 KB
constexpr std::uint32_t kMaxSeconds = std::numeric_limits<std::uint32_t>::max();

template <typename To>
To saturate(std::uint64_t value) noexcept {
    constexpr std::uint64_t kMax = std::numeric_limits<To>::max();
    return static_cast<To>(std::min(value, kMax));
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
    const BucketId id = ladders_.add_bucket();
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
    query.min_gflop_per_s = wanted.min_gflop_per_s;
    query.min_memory_mb_per_s = wanted.min_memory_mb_per_s;
    query.min_reliability_bp = wanted.min_reliability_bp;
    query.min_reclaim_window_s = wanted.min_reclaim_window_s;
    query.numeric_bit = domain::bit_of(wanted.numeric_class);
    query.min_tier = want.bid.verification_tier;
    query.gang = wanted.gang;
    query.buyer = find_party(want.bid.buyer);
    const bool is_on_a_list = query.buyer != kNoParty && parties_[query.buyer].in_lists != 0;
    query.groups = 0;
    for (std::uint8_t i = 0; i < ledger::eth::kOrderClassCount; ++i) {
        const auto ask_class = static_cast<ledger::eth::OrderClass>(i);
        if (!classes_meet(ask_class, want.bid.order_class)) continue;
        query.groups |= static_cast<std::uint8_t>(1U << group_of(ask_class, false));
        if (is_on_a_list)
            query.groups |= static_cast<std::uint8_t>(1U << group_of(ask_class, true));
    }
    compile_lists(want, query);
}

Query OrderBook::compile(const Want& want) const {
    Query query;
    compile(want, query);
    return query;
}

// Rows in and out -------------------------------------------------------------------------------

Key OrderBook::key_for(std::uint64_t price, std::uint32_t reliability_bp, AskIndex index) noexcept {
    const std::uint64_t doubt = kBestReliability - std::min(reliability_bp, kBestReliability);
    return {price, doubt << 32U | index};
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

void OrderBook::fill_machine(AskRow& row, const domain::Resource& resource) {
    row.max_flops = resource.max_flops_per_step;
    row.vram_mib = static_cast<std::uint32_t>(resource.vram_mib);
    row.ram_mib = static_cast<std::uint32_t>(resource.ram_mib);
    row.disk_mib = static_cast<std::uint32_t>(resource.disk_mib);
    row.bandwidth_mbps = resource.bandwidth_mbps;
    row.gpu_count = static_cast<std::uint16_t>(resource.gpu_count);
    row.cpu_cores = static_cast<std::uint16_t>(resource.cpu_cores);
    row.max_gang = resource.max_gang;
    row.runtime = static_cast<NameId>(runtimes_.intern(resource.runtime));
    row.interconnect = static_cast<NameId>(interconnects_.intern(resource.interconnect));
    row.numeric_classes = resource.numeric_classes & 0xfU;
    row.tier = resource.verification_tier;
    row.buyer_lists = keep_lists(resource);
}

void OrderBook::add(AskIndex index, const ledger::eth::Ask& ask, const domain::Resource& resource,
                    const State& state) {
    party_ids_.prefetch(hash_of_address(ask.provider));
    party_ids_.prefetch(hash_of_address(resource.worker));
    if (listed_.size() <= index) listed_.resize(std::size_t{index} + 1);
    MR_CHECK(listed_[index].row == kNone);
    const BucketId bucket = bucket_for({static_cast<std::uint8_t>(ask.unit_kind),
                                        group_of(ask.order_class, !resource.buyers.empty()),
                                        static_cast<NameId>(models_.intern(resource.gpu_model)),
                                        static_cast<NameId>(regions_.intern(resource.region))});
    const RowNo number = listed_[index].row = rows_.take();
    if (speeds_.size() <= number) speeds_.resize(std::size_t{number} + 1);
    speeds_[number] = {resource.gflop_per_s, resource.memory_mb_per_s};
    AskRow& row = rows_[number];
    row.offer = offer_signature(ask, resource, state);
    row.bucket = bucket & 0xff'ffffU;  // at most kMaxBuckets
    fill_machine(row, resource);
    row.key = key_for(ask.price_atoms, state.reliability_bp, index);
    row.starts = {saturate<std::uint32_t>(ask.earliest_s), saturate<std::uint32_t>(ask.expiry_s)};
    row.min_units = ask.min_units;
    row.max_units = ask.max_units;
    row.limit_units = lease_limit(ask.min_units, ask.max_units, state.free_units);
    const bool reclaimed = ask.order_class == ledger::eth::OrderClass::kInterruptible;
    row.reclaim_window_s = reclaimed ? ask.reclaim_window_s : UINT32_MAX;
    row.provider = intern(ask.provider);
    row.worker = intern(resource.worker);
    Party& worker = parties_[row.worker];
    if (worker.has_promised) row.hold = promises_.at(row.worker).hold;
    link(index, worker.first_ask, &Listed::of_worker);
    Party& provider = parties_[row.provider];
    link(index, provider.first_offered, &Listed::of_provider);
    ++provider.offered;
    if (now_ms_ < TimeMs{row.starts.from_s} * 1000)
        unopened_.insert({TimeMs{row.starts.from_s} * 1000, index});
    place(number);
    ++size_;
}

bool OrderBook::contains(AskIndex index) const noexcept {
    return index < listed_.size() && listed_[index].row != kNone;
}

void OrderBook::remove(AskIndex index) {
    if (!contains(index)) return;
    AskRow& row = row_of(index);
    if (row.is_resting) ladders_.prefetch(row.bucket, row.ladder);
    Party& provider = parties_[row.provider];
    unlink(index, parties_[row.worker].first_ask, &Listed::of_worker);
    unlink(index, provider.first_offered, &Listed::of_provider);
    --provider.offered;
    if (row.buyer_lists != 0) {
        for (const PartyId buyer : buyer_lists_[row.buyer_lists].only)
            --parties_[buyer].in_lists;
        buyer_lists_[row.buyer_lists] = {};
        free_lists_.push_back(row.buyer_lists);
    }
    unopened_.erase({TimeMs{row.starts.from_s} * 1000, index});
    leave(row);
    rows_.give_back(std::exchange(listed_[index].row, kNone));
    --size_;
}

void OrderBook::update(AskIndex index, const State& state) {
    if (!contains(index)) return;
    AskRow& row = row_of(index);
    const Key key = key_for(row.key.first, state.reliability_bp, index);
    if (key != row.key) leave(row);
    row.key = key;
    row.limit_units = lease_limit(row.min_units, row.max_units, state.free_units);
    row.offer = with_state(row.offer, row.limit_units, state.reliability_bp, state.available);
    place(listed_[index].row);
}

// In line or aside ------------------------------------------------------------------------------

/// What cannot start now waits aside: an exclusive query that starts now never fits it. Reserved
/// asks stay in line, they are for later windows.
bool OrderBook::waits_for_worker(const AskRow& row) const {
    const Bucket& bucket = buckets_[row.bucket];
    if (is_reserved(bucket.group) || is_shared(bucket.unit_kind)) return false;
    return parties_[row.worker].has_promised && promises_.at(row.worker).busy_until != 0;
}

bool OrderBook::can_rest(const AskRow& row) const {
    if (!can_be_had(row.offer)) return false;
    if (now_ms_ < TimeMs{row.starts.from_s} * 1000 && !is_reserved(buckets_[row.bucket].group))
        return false;
    return !waits_for_worker(row);
}

void OrderBook::place(RowNo number) {
    AskRow& row = rows_[number];
    if (!can_rest(row)) return leave(row);
    const PriceLadders::Entry entry = entry_of(row, number);
    if (row.is_resting) return ladders_.change(row.bucket, row.ladder, entry);
    row.ladder = ladders_.ladder_for(row.bucket, row.offer, row.hold) & 0xffU;
    ladders_.insert(row.bucket, row.ladder, entry);
    row.is_resting = true;
}

void OrderBook::leave(AskRow& row) {
    if (!row.is_resting) return;
    ladders_.erase(row.bucket, row.ladder, row.key);
    row.is_resting = false;
}

void OrderBook::set_promise(PartyId worker, const Promise& promise) {
    Party& party = parties_[worker];
    const TimeMs was_busy_until = party.has_promised ? promises_.at(worker).busy_until : 0;
    if (was_busy_until != promise.busy_until) {
        if (was_busy_until != 0) busy_workers_.erase({was_busy_until, worker});
        if (promise.busy_until != 0) busy_workers_.insert({promise.busy_until, worker});
    }
    if (promise.hold != kNoHold)
        promises_[worker] = promise;
    else if (party.has_promised)
        promises_.erase(worker);
    party.has_promised = promise.hold != kNoHold;
}

void OrderBook::set_calendar(const domain::Address& worker, const Calendar* calendar,
                             TimeMs now_ms) {
    advance(now_ms);
    Promise promise{calendar, kNoHold, 0};
    const TimeMs from = calendar == nullptr ? kForever : calendar->free_until(now_ms);
    if (from != kForever) {
        const TimeMs until = calendar->free_from(from);
        promise.hold = seconds_within(from, until);
        promise.busy_until = from <= now_ms ? until : 0;
    }
    const PartyId party = intern(worker);
    set_promise(party, promise);
    for (AskIndex i = parties_[party].first_ask; i != kNone; i = listed_[i].of_worker.next) {
        leave(row_of(i));  // what is promised stands in another ladder
        row_of(i).hold = promise.hold;
        place(listed_[i].row);
    }
}

/// Whoever comes back too early is held off by the exact test of each query.
void OrderBook::advance(TimeMs now_ms) {
    now_ms_ = std::max(now_ms_, now_ms);
    while (!busy_workers_.empty() && busy_workers_.begin()->first <= now_ms) {
        const PartyId party = busy_workers_.begin()->second;
        busy_workers_.erase(busy_workers_.begin());
        promises_.at(party).busy_until = 0;
        for (AskIndex i = parties_[party].first_ask; i != kNone; i = listed_[i].of_worker.next)
            place(listed_[i].row);
    }
    while (!unopened_.empty() && unopened_.begin()->first <= now_ms) {
        const AskIndex index = unopened_.begin()->second;
        unopened_.erase(unopened_.begin());
        place(listed_[index].row);
    }
}

// Checks ----------------------------------------------------------------------------------------

std::size_t OrderBook::memory_bytes() const noexcept {
    constexpr std::size_t kNodeBytes = 64;  // about that, of a set or map
    std::size_t out = rows_.memory_bytes() + speeds_.capacity() * sizeof(Speed) +
                      ladders_.memory_bytes() +
                      (promises_.size() + busy_workers_.size() + unopened_.size()) * kNodeBytes +
                      listed_.capacity() * sizeof(Listed) + buckets_.capacity() * sizeof(Bucket) +
                      bucket_ids_.memory_bytes() + models_.memory_bytes() +
                      regions_.memory_bytes() + runtimes_.memory_bytes() +
                      interconnects_.memory_bytes() + parties_.capacity() * sizeof(Party) +
                      party_ids_.memory_bytes() + buyer_lists_.capacity() * sizeof(BuyerLists);
    for (const auto& buckets : buckets_of_kind_)
        out += buckets.capacity() * sizeof(BucketId);
    for (const BuyerLists& lists : buyer_lists_)
        out += (lists.only.capacity() + lists.never.capacity()) * sizeof(PartyId);
    return out;
}

std::optional<std::string> OrderBook::find_violation() const {
    std::size_t entries = 0;
    const auto check = [&](BucketId bucket, PriceLadders::LadderNo ladder,
                           const PriceLadders::Entry& entry) {
        ++entries;
        const AskRow& row = rows_[entry.row];
        return row.is_resting && row.bucket == bucket && row.ladder == ladder &&
               row.key == entry.key && row.offer == entry.offer && row.hold == entry.hold;
    };
    for (BucketId bucket = 0; bucket < buckets_.size(); ++bucket)
        if (auto found = ladders_.find_violation(bucket, check)) return found;
    std::size_t asks = 0;
    std::size_t resting = 0;
    for (AskIndex index = 0; index < listed_.size(); ++index) {
        if (!contains(index)) continue;
        const AskRow& row = row_of(index);
        ++asks;
        resting += row.is_resting ? 1U : 0U;
        if (index_of(row) != index) return "an ask's row";
        if (row.is_resting != can_rest(row)) return "an ask in line or aside";
        const bool has_promised = parties_[row.worker].has_promised;
        if (row.hold != (has_promised ? promises_.at(row.worker).hold : kNoHold))
            return "a worker's hold";
    }
    if (asks != size_ || entries != resting) return "the count of asks";
    return std::nullopt;
}

}  // namespace marketplace::matching
