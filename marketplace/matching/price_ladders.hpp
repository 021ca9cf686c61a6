// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "marketplace/matching/ladders.hpp"
#include "marketplace/matching/signature.hpp"
#include "marketplace/matching/slab.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace marketplace::matching {

/// A stretch of seconds, half-open. Empty by default.
struct Seconds {
    std::uint32_t from_s = std::numeric_limits<std::uint32_t>::max();
    std::uint32_t until_s = 0;
    friend bool operator==(const Seconds&, const Seconds&) = default;
};
inline constexpr Seconds kNoHold{};

/// Where the book of asks looks for the cheapest. A bucket holds asks that differ in price and in
/// what their machines can do; it keeps a ladder for each pair of memory and speed (as a signature
/// has them), so that a search does not wade through machines too small for it: it looks at the
/// front of each ladder that is large enough, the cheapest front first.
///
/// A ladder is a list of runs of up to 21 entries in order of their keys. Beside each run stands
/// the best that its entries offer. Pure, deterministic, not thread-safe.
class PriceLadders {
 public:
    using BucketId = std::uint32_t;
    using LadderNo = std::uint32_t;  ///< of one bucket
    static constexpr std::size_t kMaxLadders = 64;

    /// One ask. Its `row` is the owner's.
    struct Entry {
        Key key;
        Signature offer;
        Seconds hold;  ///< the first promise of its worker, rounded inwards; or none
        std::uint32_t row = 0;
    };

    [[nodiscard]] BucketId add_bucket() { return buckets_.take(); }
    /// The ladder for asks of this size; made when there is none. When a bucket has as many as it
    /// can, the last takes in all other sizes.
    [[nodiscard]] LadderNo ladder_for(BucketId bucket, const Signature& offer);

    void insert(BucketId bucket, LadderNo ladder, const Entry& entry);
    /// Takes out the entry with this key, which is there.
    void erase(BucketId bucket, LadderNo ladder, const Key& key);
    /// Puts another entry in the place of the one with its key.
    void change(BucketId bucket, LadderNo ladder, const Entry& entry);

    /// Fetches what a search of the bucket looks at first.
    void prefetch(BucketId bucket) const noexcept {
        const auto* at = reinterpret_cast<const char*>(&buckets_[bucket]);
        for (std::size_t i = 0; i < 4; ++i)
            __builtin_prefetch(at + 64 * i);
    }
    /// Fetches the list of a ladder's runs.
    void prefetch(BucketId bucket, LadderNo ladder) const noexcept {
        const Ladder& runs = (*buckets_[bucket].ladders)[ladder];
        if (runs.empty()) return;
        __builtin_prefetch(runs.data());
        __builtin_prefetch(runs.data() + runs.size() / 2);
    }
    /// Calls `visit(entry)` for entries of a bucket with `from` <= key <= `limit` whose offer may
    /// meet the need: of each ladder in order of the key, until it returns true. The visitor may
    /// lower the limit, which is read again each time.
    template <typename Visit>
    void walk(BucketId bucket, const Signature& need, const Key& from, const Key& limit,
              Effort& effort, Visit&& visit) const;

    [[nodiscard]] std::size_t memory_bytes() const noexcept;
    /// Order, counts, bounds and fronts; the first violation as text. `check(bucket, ladder,
    /// entry)` says whether an entry is where its owner thinks.
    template <typename Check>
    [[nodiscard]] std::optional<std::string> find_violation(BucketId bucket, Check&& check) const;

 private:
    static constexpr std::uint32_t kEntries = 21;  // about a kilobyte
    static constexpr std::uint32_t kMaxStale = 8;
    static constexpr std::uint64_t kNoPrice = std::numeric_limits<std::uint64_t>::max();

    struct Run {
        std::uint32_t count = 0;
        std::array<Entry, kEntries> entries;
    };
    struct RunRef {
        Key first;        ///< of its entries
        Signature bound;  ///< at least what its entries offer
        std::uint32_t run = 0;
        std::uint32_t stale = 0;  ///< changes since the bound was computed
    };
    using Ladder = std::vector<RunRef>;
    /// Where a ladder begins.
    struct Front {
        std::uint64_t price = kNoPrice;  ///< kNoPrice: it is empty
        std::uint32_t run = 0;
        std::uint16_t size = 0;  ///< see size_of
        std::uint16_t ladder = 0;
    };
    struct Bucket {
        std::uint32_t count = 0;                             ///< of ladders
        std::array<Front, kMaxLadders> fronts;               ///< the cheapest first
        std::array<std::uint16_t, kMaxLadders> sizes{};      ///< of each ladder
        std::array<std::uint8_t, kMaxLadders> at{};          ///< of each: its place in `fronts`
        std::array<Ladder, kMaxLadders>* ladders = nullptr;  ///< the owner is `ladders_`
    };

    /// Memory and speed: two fields of a signature, side by side.
    [[nodiscard]] static std::uint16_t size_of(const Signature& signature) noexcept {
        return static_cast<std::uint16_t>(signature.a >> 8U & 0x7f7fU);
    }
    [[nodiscard]] static bool is_enough(std::uint16_t size, std::uint16_t need) noexcept {
        return (((size | 0x8080U) - need) & 0x8080U) == 0x8080U;
    }
    [[nodiscard]] Ladder& ladder_at(BucketId bucket, LadderNo ladder) {
        return (*buckets_[bucket].ladders)[ladder];
    }
    /// The last run that begins at or before the key; the first when none does.
    [[nodiscard]] static std::size_t locate(const Ladder& ladder, const Key& key) noexcept;
    /// The first entry of a run that is not before the key.
    [[nodiscard]] static std::uint32_t lower_bound(const Run& run, const Key& key) noexcept;

    template <typename Visit>
    void walk_ladder(const Bucket& bucket, const Front& front, const Signature& need,
                     const Key& from, const Key& limit, Effort& effort, Visit& visit) const;
    template <typename Visit>
    [[nodiscard]] static bool walk_run(const Run& run, std::uint32_t begin, const Signature& need,
                                       const Key& limit, Effort& effort, Visit& visit);
    void split(Ladder& ladder, std::size_t at, const Key& key);
    void merge(Ladder& ladder, std::size_t at);
    void rebound(RunRef& ref);
    void note_front(BucketId bucket, LadderNo ladder);
    void prefetch_run(std::uint32_t run) const noexcept {
        const auto* at = reinterpret_cast<const char*>(&runs_[run]);
        __builtin_prefetch(at);
        __builtin_prefetch(at + 64);
    }

    Slab<Bucket> buckets_;
    Slab<Run> runs_;
    std::vector<std::unique_ptr<std::array<Ladder, kMaxLadders>>> ladders_;  // by bucket
};

template <typename Visit>
void PriceLadders::walk(BucketId id, const Signature& need, const Key& from, const Key& limit,
                        Effort& effort, Visit&& visit) const {
    const Bucket& bucket = buckets_[id];
    const std::uint16_t size = size_of(need);
    // Each ladder is a memory access or two away: some are fetched while the first is looked at.
    constexpr std::uint32_t kAhead = 4;
    std::uint32_t fetched = 0;
    std::uint32_t ahead = 0;
    for (std::uint32_t i = 0; i < bucket.count; ++i) {
        for (; fetched < bucket.count && ahead < kAhead; ++fetched) {
            const Front& front = bucket.fronts[fetched];
            if (limit.first < front.price || front.price == kNoPrice) break;
            if (!is_enough(front.size, size)) continue;
            prefetch_run(front.run);
            ++ahead;
        }
        const Front& front = bucket.fronts[i];
        ++effort.bounds;
        if (limit.first < front.price || front.price == kNoPrice) return;
        if (!is_enough(front.size, size)) continue;
        ahead -= ahead == 0 ? 0 : 1;
        walk_ladder(bucket, front, need, from, limit, effort, visit);
    }
}

template <typename Visit>
void PriceLadders::walk_ladder(const Bucket& bucket, const Front& front, const Signature& need,
                               const Key& from, const Key& limit, Effort& effort,
                               Visit& visit) const {
    std::size_t at = 0;
    if (from == kFirstKey) {
        // Mostly it ends in the first run: the list of runs is not looked at.
        if (walk_run(runs_[front.run], 0, need, limit, effort, visit)) return;
        at = 1;
    }
    const Ladder& ladder = (*bucket.ladders)[front.ladder];
    if (at == 0) at = locate(ladder, from);
    for (; at < ladder.size(); ++at) {
        const RunRef& ref = ladder[at];
        if (is_before(limit, ref.first)) return;
        if (!may_meet(ref.bound, need)) continue;
        const Run& run = runs_[ref.run];
        if (walk_run(run, lower_bound(run, from), need, limit, effort, visit)) return;
    }
}

/// True when the ladder is done with.
template <typename Visit>
bool PriceLadders::walk_run(const Run& run, std::uint32_t begin, const Signature& need,
                            const Key& limit, Effort& effort, Visit& visit) {
    ++effort.blocks;
    for (std::uint32_t i = begin; i < run.count; ++i) {
        const Entry& entry = run.entries[i];
        ++effort.rows;
        if (is_before(limit, entry.key)) return true;
        if (may_meet(entry.offer, need) && visit(entry)) return true;
    }
    return false;
}

template <typename Check>
std::optional<std::string> PriceLadders::find_violation(BucketId id, Check&& check) const {
    const Bucket& bucket = buckets_[id];
    std::uint64_t cheapest = 0;
    for (std::uint32_t at = 0; at < bucket.count; ++at) {
        const Front& front = bucket.fronts[at];
        if (front.price < cheapest) return "the order of fronts";
        cheapest = front.price;
        if (bucket.at[front.ladder] != at) return "the place of a front";
        if (bucket.sizes[front.ladder] != front.size) return "the size of a front";
        const Ladder& ladder = (*bucket.ladders)[front.ladder];
        if (front.price != (ladder.empty() ? kNoPrice : ladder.front().first.first))
            return "the price of a front";
        if (!ladder.empty() && ladder.front().run != front.run) return "the run of a front";
        std::optional<Key> last;
        for (const RunRef& ref : ladder) {
            const Run& run = runs_[ref.run];
            if (run.count == 0 || run.count > kEntries) return "the count of a run";
            if (run.entries[0].key != ref.first) return "the first of a run";
            for (std::uint32_t i = 0; i < run.count; ++i) {
                const Entry& entry = run.entries[i];
                if (last && entry.key <= *last) return "the order of entries";
                last = entry.key;
                if (best_of(ref.bound, entry.offer) != ref.bound) return "an entry outside a bound";
                if (!is_enough(front.size, size_of(entry.offer))) return "a ladder's size";
                if (!check(id, LadderNo{front.ladder}, entry)) return "an entry's place";
            }
        }
    }
    return std::nullopt;
}

}  // namespace marketplace::matching
