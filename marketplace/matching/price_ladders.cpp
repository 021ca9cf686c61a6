// SPDX-License-Identifier: Apache-2.0
#include "marketplace/matching/price_ladders.hpp"

#include "ledger/base/check.hpp"

namespace marketplace::matching {
namespace {

std::ptrdiff_t offset(std::size_t at) noexcept {
    return static_cast<std::ptrdiff_t>(at);
}

}  // namespace

std::size_t PriceLadders::locate(const Ladder& ladder, const Key& key) noexcept {
    std::size_t base = 0;
    for (std::size_t count = ladder.size(); count > 1;) {
        const std::size_t half = count / 2;
        base += is_before(key, ladder[base + half].first) ? 0 : half;
        count -= half;
    }
    return base;
}

std::uint32_t PriceLadders::lower_bound(const Run& run, const Key& key) noexcept {
    const auto end = run.entries.begin() + run.count;
    const auto at = std::lower_bound(
        run.entries.begin(), end, key,
        [](const Entry& entry, const Key& wanted) { return is_before(entry.key, wanted); });
    return static_cast<std::uint32_t>(at - run.entries.begin());
}

PriceLadders::LadderNo PriceLadders::ladder_for(BucketId id, const Signature& offer) {
    Bucket& bucket = buckets_[id];
    const std::uint16_t size = size_of(offer);
    for (std::uint32_t i = 0; i < bucket.count; ++i)
        if (bucket.sizes[i] == size) return i;
    if (bucket.ladders == nullptr) {
        ladders_.push_back(std::make_unique<std::array<Ladder, kMaxLadders>>());
        bucket.ladders = ladders_.back().get();
    }
    if (bucket.count < kMaxLadders) {
        const auto fresh = static_cast<std::uint16_t>(bucket.count);
        bucket.fronts[fresh] = {kNoPrice, 0, size, fresh};
        bucket.sizes[fresh] = size;
        bucket.at[fresh] = static_cast<std::uint8_t>(fresh);
        ++bucket.count;
        return fresh;
    }
    constexpr LadderNo kLast = kMaxLadders - 1;
    std::uint16_t& last = bucket.sizes[kLast];
    last = size_of(best_of({std::uint64_t{last} << 8U, 0}, {std::uint64_t{size} << 8U, 0}));
    bucket.fronts[bucket.at[kLast]].size = last;
    return kLast;
}

/// Moves a ladder to where its price belongs.
void PriceLadders::note_front(BucketId id, LadderNo no) {
    Bucket& bucket = buckets_[id];
    const Ladder& ladder = (*bucket.ladders)[no];
    std::size_t at = bucket.at[no];
    Front front = bucket.fronts[at];
    front.price = ladder.empty() ? kNoPrice : ladder.front().first.first;
    front.run = ladder.empty() ? 0 : ladder.front().run;
    const auto put = [&bucket](std::size_t to, const Front& what) {
        bucket.fronts[to] = what;
        bucket.at[what.ladder] = static_cast<std::uint8_t>(to);
    };
    for (; at > 0 && front.price < bucket.fronts[at - 1].price; --at)
        put(at, bucket.fronts[at - 1]);
    for (; at + 1 < bucket.count && bucket.fronts[at + 1].price < front.price; ++at)
        put(at, bucket.fronts[at + 1]);
    put(at, front);
}

void PriceLadders::rebound(RunRef& ref) {
    const Run& run = runs_[ref.run];
    ref.stale = 0;
    ref.bound = kNoOffer;
    for (std::uint32_t i = 0; i < run.count; ++i)
        ref.bound = best_of(ref.bound, run.entries[i].offer);
}

/// The run is full: its later half goes to a new one behind it. An entry behind all of the ladder
/// gets a run of its own: entries that come in order fill their runs.
void PriceLadders::split(Ladder& ladder, std::size_t at, const Key& key) {
    RunRef added;
    added.run = runs_.take();
    Run& full = runs_[ladder[at].run];
    Run& upper = runs_[added.run];
    const bool is_behind_all =
        at + 1 == ladder.size() && is_before(full.entries[kEntries - 1].key, key);
    if (is_behind_all) {
        added.first = key;
        added.bound = kNoOffer;
    } else {
        constexpr std::uint32_t kHalf = kEntries / 2;
        upper.count = kEntries - kHalf;
        full.count = kHalf;
        std::copy(full.entries.begin() + kHalf, full.entries.end(), upper.entries.begin());
        added.first = upper.entries[0].key;
        rebound(added);
        rebound(ladder[at]);
    }
    ladder.insert(ladder.begin() + offset(at) + 1, added);
}

/// Takes in the run behind, when both together leave room.
void PriceLadders::merge(Ladder& ladder, std::size_t at) {
    if (at + 1 >= ladder.size()) return;
    Run& run = runs_[ladder[at].run];
    const std::uint32_t behind = ladder[at + 1].run;
    const Run& next = runs_[behind];
    if (run.count + next.count > kEntries * 3 / 4) return;
    std::copy_n(next.entries.begin(), next.count, run.entries.begin() + run.count);
    run.count += next.count;
    ladder[at].bound = best_of(ladder[at].bound, ladder[at + 1].bound);
    runs_.give_back(behind);
    ladder.erase(ladder.begin() + offset(at) + 1);
}

void PriceLadders::insert(BucketId id, LadderNo no, const Entry& entry) {
    Ladder& ladder = ladder_at(id, no);
    if (ladder.empty()) ladder.push_back({entry.key, kNoOffer, runs_.take(), 0});
    std::size_t at = locate(ladder, entry.key);
    if (runs_[ladder[at].run].count == kEntries) {
        split(ladder, at, entry.key);
        at = locate(ladder, entry.key);
    }
    RunRef& ref = ladder[at];
    Run& run = runs_[ref.run];
    const std::uint32_t place = lower_bound(run, entry.key);
    std::copy_backward(run.entries.begin() + place, run.entries.begin() + run.count,
                       run.entries.begin() + run.count + 1);
    run.entries[place] = entry;
    ++run.count;
    ref.bound = best_of(ref.bound, entry.offer);
    if (place != 0) return;
    ref.first = entry.key;
    if (at == 0) note_front(id, no);
}

void PriceLadders::erase(BucketId id, LadderNo no, const Key& key) {
    Ladder& ladder = ladder_at(id, no);
    const std::size_t at = locate(ladder, key);
    RunRef& ref = ladder[at];
    Run& run = runs_[ref.run];
    const std::uint32_t place = lower_bound(run, key);
    MR_CHECK(place < run.count && run.entries[place].key == key);
    std::copy(run.entries.begin() + place + 1, run.entries.begin() + run.count,
              run.entries.begin() + place);
    if (--run.count == 0) {
        runs_.give_back(ref.run);
        ladder.erase(ladder.begin() + offset(at));
    } else {
        ref.first = run.entries[0].key;
        if (++ref.stale >= kMaxStale) {
            rebound(ref);
            merge(ladder, at);
        }
    }
    if (at == 0) note_front(id, no);
}

void PriceLadders::change(BucketId id, LadderNo no, const Entry& entry) {
    Ladder& ladder = ladder_at(id, no);
    RunRef& ref = ladder[locate(ladder, entry.key)];
    Run& run = runs_[ref.run];
    const std::uint32_t place = lower_bound(run, entry.key);
    MR_CHECK(place < run.count && run.entries[place].key == entry.key);
    run.entries[place] = entry;
    ref.bound = best_of(ref.bound, entry.offer);
    if (++ref.stale >= kMaxStale) rebound(ref);
}

std::size_t PriceLadders::memory_bytes() const noexcept {
    std::size_t out = buckets_.memory_bytes() + runs_.memory_bytes();
    for (const auto& ladders : ladders_) {
        out += sizeof(*ladders);
        for (const Ladder& ladder : *ladders)
            out += ladder.capacity() * sizeof(RunRef);
    }
    return out;
}

}  // namespace marketplace::matching
