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

/// Never, when one of them is empty by default.
[[nodiscard]] constexpr bool overlap(const Seconds& a, const Seconds& b) noexcept {
    return static_cast<bool>(static_cast<int>(a.from_s < b.until_s) &
                             static_cast<int>(b.from_s < a.until_s));
}

/// Where the book of asks looks for the cheapest. A bucket holds asks that differ in price and in
/// what their machines can do; it keeps a ladder for each pair of memory and speed (as a signature
/// has them), and one more for those whose worker has promised some of its time. So a search does
/// not wade through machines too small for it, or not free for long enough: it looks at the front
/// of each ladder that may do, the cheapest front first.
///
/// A ladder is a list of runs of up to 21 entries in order of their keys. Beside each run stands
/// the best that its entries offer. Pure, deterministic, not thread-safe.
class PriceLadders {
 public:
    using BucketId = std::uint32_t;
    using LadderNo = std::uint32_t;  ///< of one bucket
    static constexpr std::size_t kMaxLadders = 128;

    /// One ask. Its `row` is the owner's.
    struct Entry {
        Key key;
        Signature offer;
        Seconds hold;  ///< the first promise of its worker, rounded inwards; or none
        std::uint32_t row = 0;
    };

    [[nodiscard]] BucketId add_bucket() { return buckets_.take(); }
    /// The ladder for asks of this size, promised or not; made when there is none. When a bucket
    /// has as many as it can, the last takes in all others.
    [[nodiscard]] LadderNo ladder_for(BucketId bucket, const Signature& offer, const Seconds& hold);

    void insert(BucketId bucket, LadderNo ladder, const Entry& entry);
    /// Takes out the entry with this key, which is there.
    void erase(BucketId bucket, LadderNo ladder, const Key& key);
    /// Puts another entry in the place of the one with its key; it has the same hold.
    void change(BucketId bucket, LadderNo ladder, const Entry& entry);

    /// Fetches what a search of the bucket looks at first.
    void prefetch(BucketId bucket) const noexcept {
        const auto* at = reinterpret_cast<const char*>(&buckets_[bucket]);
        for (std::size_t i = 0; i < 4; ++i)
            __builtin_prefetch(at + 64 * i);
    }
    /// Fetches the list of a ladder's runs.
    void prefetch(BucketId bucket, LadderNo ladder) const noexcept {
        const auto& runs = (*buckets_[bucket].ladders)[ladder].runs;
        if (runs.empty()) return;
        __builtin_prefetch(runs.data());
        __builtin_prefetch(runs.data() + runs.size() / 2);
    }
    /// What a search wants. The limit is read again each time: the visitor may lower it.
    struct Quest {
        const Signature& need;
        const Seconds& window;  ///< in which nothing may be promised; kNoHold: no such wish
        const Key& from;
        const Key& limit;  ///< the last key of interest
    };
    /// Calls `visit(entry)` for the entries of a bucket whose key, offer and hold may do: of each
    /// ladder in order of the key, until it returns true.
    template <typename Visit>
    void walk(BucketId bucket, const Quest& quest, Effort& effort, Visit&& visit) const;

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
        Seconds hold;     ///< overlaps what the holds of all its entries do; see `join`
        std::uint32_t run = 0;
        std::uint32_t stale = 0;  ///< changes since the bounds were computed
    };
    struct Ladder {
        std::vector<RunRef> runs;
        std::uint32_t stale = 0;  ///< runs whose bounds were computed since its own was
    };
    /// Where a ladder begins.
    struct Front {
        std::uint64_t price = kNoPrice;  ///< kNoPrice: it is empty
        std::uint32_t run = 0;
        std::uint16_t size = 0;  ///< see size_of, and kPromised
        std::uint16_t ladder = 0;
        Seconds hold;  ///< of all its runs
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
    /// The last beginning and the first end: a window that overlaps this overlaps each of those
    /// that were joined, though they may have no moment in common.
    static void join(Seconds& hold, const Seconds& other) noexcept {
        hold.from_s = std::max(hold.from_s, other.from_s);
        hold.until_s = std::min(hold.until_s, other.until_s);
    }
    static constexpr Seconds kOfNobody{0, std::numeric_limits<std::uint32_t>::max()};  // for `join`
    static constexpr std::uint16_t kPromised = 0x8000;  // a bit that sizes leave free

    [[nodiscard]] Ladder& ladder_at(BucketId bucket, LadderNo ladder) {
        return (*buckets_[bucket].ladders)[ladder];
    }
    /// The last run that begins at or before the key; the first when none does.
    [[nodiscard]] static std::size_t locate(const std::vector<RunRef>& runs,
                                            const Key& key) noexcept;
    /// The first entry of a run that is not before the key.
    [[nodiscard]] static std::uint32_t lower_bound(const Run& run, const Key& key) noexcept;

    template <typename Visit>
    void walk_ladder(const Bucket& bucket, const Front& front, const Quest& quest, Effort& effort,
                     Visit& visit) const;
    template <typename Visit>
    [[nodiscard]] static bool walk_run(const Run& run, std::uint32_t begin, const Quest& quest,
                                       Effort& effort, Visit& visit);
    /// May a ladder have what the quest wants?
    [[nodiscard]] static bool may_do(const Front& front, std::uint16_t size,
                                     const Quest& quest) noexcept {
        return static_cast<bool>(static_cast<int>(is_enough(front.size, size)) &
                                 static_cast<int>(!overlap(front.hold, quest.window)));
    }
    void split(std::vector<RunRef>& runs, std::size_t at, const Key& key);
    void merge(std::vector<RunRef>& runs, std::size_t at);
    void rebound(RunRef& ref);
    void rebound(BucketId bucket, LadderNo ladder);
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
void PriceLadders::walk(BucketId id, const Quest& quest, Effort& effort, Visit&& visit) const {
    const Bucket& bucket = buckets_[id];
    const std::uint16_t size = size_of(quest.need);
    const auto is_beyond = [&quest](const Front& front) {
        return quest.limit.first < front.price || front.price == kNoPrice;
    };
    // Each ladder is a memory access or two away: some are fetched while the first is looked at.
    constexpr std::uint32_t kAhead = 4;
    std::uint32_t fetched = 0;
    std::uint32_t ahead = 0;
    for (std::uint32_t i = 0; i < bucket.count; ++i) {
        for (; fetched < bucket.count && ahead < kAhead; ++fetched) {
            const Front& front = bucket.fronts[fetched];
            if (is_beyond(front)) break;
            if (!may_do(front, size, quest)) continue;
            prefetch_run(front.run);
            ++ahead;
        }
        const Front& front = bucket.fronts[i];
        ++effort.bounds;
        if (is_beyond(front)) return;
        if (!may_do(front, size, quest)) continue;
        ahead -= ahead == 0 ? 0 : 1;
        walk_ladder(bucket, front, quest, effort, visit);
    }
}

template <typename Visit>
void PriceLadders::walk_ladder(const Bucket& bucket, const Front& front, const Quest& quest,
                               Effort& effort, Visit& visit) const {
    std::size_t at = 0;
    if (quest.from == kFirstKey) {
        // Mostly it ends in the first run: the list of runs is not looked at.
        if (walk_run(runs_[front.run], 0, quest, effort, visit)) return;
        at = 1;
    }
    const std::vector<RunRef>& runs = (*bucket.ladders)[front.ladder].runs;
    if (at == 0) at = locate(runs, quest.from);
    for (; at < runs.size(); ++at) {
        const RunRef& ref = runs[at];
        if (is_before(quest.limit, ref.first)) return;
        if (!may_meet(ref.bound, quest.need) || overlap(ref.hold, quest.window)) continue;
        const Run& run = runs_[ref.run];
        if (walk_run(run, lower_bound(run, quest.from), quest, effort, visit)) return;
    }
}

/// True when the ladder is done with.
template <typename Visit>
bool PriceLadders::walk_run(const Run& run, std::uint32_t begin, const Quest& quest, Effort& effort,
                            Visit& visit) {
    ++effort.blocks;
    for (std::uint32_t i = begin; i < run.count; ++i) {
        const Entry& entry = run.entries[i];
        ++effort.rows;
        if (is_before(quest.limit, entry.key)) return true;
        if (!may_meet(entry.offer, quest.need) || overlap(entry.hold, quest.window)) continue;
        if (visit(entry)) return true;
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
        const auto& runs = (*bucket.ladders)[front.ladder].runs;
        if (front.price != (runs.empty() ? kNoPrice : runs.front().first.first))
            return "the price of a front";
        if (!runs.empty() && runs.front().run != front.run) return "the run of a front";
        std::optional<Key> last;
        for (const RunRef& ref : runs) {
            const Run& run = runs_[ref.run];
            if (run.count == 0 || run.count > kEntries) return "the count of a run";
            if (run.entries[0].key != ref.first) return "the first of a run";
            for (std::uint32_t i = 0; i < run.count; ++i) {
                const Entry& entry = run.entries[i];
                if (last && entry.key <= *last) return "the order of entries";
                last = entry.key;
                if (best_of(ref.bound, entry.offer) != ref.bound) return "an entry outside a bound";
                for (Seconds hold : {ref.hold, front.hold}) {
                    const Seconds before = hold;
                    join(hold, entry.hold);
                    if (hold != before) return "a hold outside a bound";
                }
                if (!is_enough(front.size, size_of(entry.offer))) return "a ladder's size";
                if (!check(id, LadderNo{front.ladder}, entry)) return "an entry's place";
            }
        }
    }
    return std::nullopt;
}

}  // namespace marketplace::matching
