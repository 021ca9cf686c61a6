// SPDX-License-Identifier: Apache-2.0
#include "marketplace/matching/price_ladders.hpp"

#include "ledger/base/check.hpp"

namespace marketplace::matching {
namespace {

std::ptrdiff_t offset(std::size_t at) noexcept {
    return static_cast<std::ptrdiff_t>(at);
}

}  // namespace

std::size_t PriceLadders::locate(const std::vector<RunRef>& runs, const Key& key) noexcept {
    std::size_t base = 0;
    for (std::size_t count = runs.size(); count > 1;) {
        const std::size_t half = count / 2;
        base += is_before(key, runs[base + half].first) ? 0 : half;
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

PriceLadders::LadderNo PriceLadders::ladder_for(BucketId id, const Signature& offer,
                                                const Seconds& hold) {
    Bucket& bucket = buckets_[id];
    const auto size =
        static_cast<std::uint16_t>(size_of(offer) | (hold == kNoHold ? 0U : kPromised));
    for (std::uint32_t i = 0; i < bucket.count; ++i)
        if (bucket.sizes[i] == size) return i;
    if (bucket.ladders == nullptr) {
        ladders_.push_back(std::make_unique<std::array<Ladder, kMaxLadders>>());
        bucket.ladders = ladders_.back().get();
    }
    if (bucket.count < kMaxLadders) {
        const auto fresh = static_cast<std::uint16_t>(bucket.count);
        bucket.fronts[fresh] = {kNoPrice, 0, size, fresh, kOfNobody};
        bucket.sizes[fresh] = size;
        bucket.at[fresh] = static_cast<std::uint8_t>(fresh);
        ++bucket.count;
        return fresh;
    }
    constexpr LadderNo kLast = kMaxLadders - 1;
    const std::uint64_t both =
        best_of({std::uint64_t{bucket.sizes[kLast]} << 8U, 0}, {std::uint64_t{size} << 8U, 0}).a;
    bucket.sizes[kLast] = static_cast<std::uint16_t>(both >> 8U & 0x7f7fU);
    bucket.fronts[bucket.at[kLast]].size = bucket.sizes[kLast];
    return kLast;
}

/// Moves a ladder to where its price belongs.
void PriceLadders::note_front(BucketId id, LadderNo no) {
    Bucket& bucket = buckets_[id];
    const auto& runs = ladder_at(id, no).runs;
    std::size_t at = bucket.at[no];
    Front front = bucket.fronts[at];
    front.price = runs.empty() ? kNoPrice : runs.front().first.first;
    front.run = runs.empty() ? 0 : runs.front().run;
    if (runs.empty()) front.hold = kOfNobody;
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
    ref.hold = kOfNobody;
    for (std::uint32_t i = 0; i < run.count; ++i) {
        ref.bound = best_of(ref.bound, run.entries[i].offer);
        join(ref.hold, run.entries[i].hold);
    }
}

/// The bound of a ladder, once for as many of its runs' bounds as it has runs.
void PriceLadders::rebound(BucketId id, LadderNo no) {
    Ladder& ladder = ladder_at(id, no);
    if (++ladder.stale < ladder.runs.size()) return;
    ladder.stale = 0;
    Bucket& bucket = buckets_[id];
    Seconds& hold = bucket.fronts[bucket.at[no]].hold;
    hold = kOfNobody;
    for (const RunRef& ref : ladder.runs)
        join(hold, ref.hold);
}

/// The run is full: its later half goes to a new one behind it. An entry behind all of the ladder
/// gets a run of its own: entries that come in order fill their runs.
void PriceLadders::split(std::vector<RunRef>& runs, std::size_t at, const Key& key) {
    RunRef added{key, kNoOffer, kOfNobody, runs_.take(), 0};
    Run& full = runs_[runs[at].run];
    Run& upper = runs_[added.run];
    const bool is_behind_all =
        at + 1 == runs.size() && is_before(full.entries[kEntries - 1].key, key);
    if (!is_behind_all) {
        constexpr std::uint32_t kHalf = kEntries / 2;
        upper.count = kEntries - kHalf;
        full.count = kHalf;
        std::copy(full.entries.begin() + kHalf, full.entries.end(), upper.entries.begin());
        added.first = upper.entries[0].key;
        rebound(added);
        rebound(runs[at]);
    }
    runs.insert(runs.begin() + offset(at) + 1, added);
}

/// Takes in the run behind, when both together leave room.
void PriceLadders::merge(std::vector<RunRef>& runs, std::size_t at) {
    if (at + 1 >= runs.size()) return;
    Run& run = runs_[runs[at].run];
    const RunRef behind = runs[at + 1];
    const Run& next = runs_[behind.run];
    if (run.count + next.count > kEntries * 3 / 4) return;
    std::copy_n(next.entries.begin(), next.count, run.entries.begin() + run.count);
    run.count += next.count;
    runs[at].bound = best_of(runs[at].bound, behind.bound);
    join(runs[at].hold, behind.hold);
    runs_.give_back(behind.run);
    runs.erase(runs.begin() + offset(at) + 1);
}

void PriceLadders::insert(BucketId id, LadderNo no, const Entry& entry) {
    auto& runs = ladder_at(id, no).runs;
    if (runs.empty()) runs.push_back({entry.key, kNoOffer, kOfNobody, runs_.take(), 0});
    std::size_t at = locate(runs, entry.key);
    if (runs_[runs[at].run].count == kEntries) {
        split(runs, at, entry.key);
        at = locate(runs, entry.key);
    }
    RunRef& ref = runs[at];
    Run& run = runs_[ref.run];
    const std::uint32_t place = lower_bound(run, entry.key);
    std::copy_backward(run.entries.begin() + place, run.entries.begin() + run.count,
                       run.entries.begin() + run.count + 1);
    run.entries[place] = entry;
    ++run.count;
    ref.bound = best_of(ref.bound, entry.offer);
    join(ref.hold, entry.hold);
    Bucket& bucket = buckets_[id];
    join(bucket.fronts[bucket.at[no]].hold, entry.hold);
    if (place != 0) return;
    ref.first = entry.key;
    if (at == 0) note_front(id, no);
}

void PriceLadders::erase(BucketId id, LadderNo no, const Key& key) {
    auto& runs = ladder_at(id, no).runs;
    const std::size_t at = locate(runs, key);
    RunRef& ref = runs[at];
    Run& run = runs_[ref.run];
    const std::uint32_t place = lower_bound(run, key);
    MR_CHECK(place < run.count && run.entries[place].key == key);
    std::copy(run.entries.begin() + place + 1, run.entries.begin() + run.count,
              run.entries.begin() + place);
    if (--run.count == 0) {
        runs_.give_back(ref.run);
        runs.erase(runs.begin() + offset(at));
    } else {
        ref.first = run.entries[0].key;
        if (++ref.stale >= kMaxStale) {
            rebound(ref);
            merge(runs, at);
            rebound(id, no);
        }
    }
    if (at == 0) note_front(id, no);
}

void PriceLadders::change(BucketId id, LadderNo no, const Entry& entry) {
    auto& runs = ladder_at(id, no).runs;
    RunRef& ref = runs[locate(runs, entry.key)];
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
            out += ladder.runs.capacity() * sizeof(RunRef);
    }
    return out;
}

}  // namespace marketplace::matching
