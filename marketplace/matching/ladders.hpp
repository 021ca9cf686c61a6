// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "marketplace/matching/signature.hpp"

#include <algorithm>
#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace marketplace::matching {

/// A place in a queue: the lower, the sooner. No two rows of a ladder are equal.
struct Key {
    std::uint64_t first = 0;
    std::uint64_t second = 0;
    friend auto operator<=>(const Key&, const Key&) = default;
};
[[nodiscard]] constexpr bool is_before(const Key& a, const Key& b) noexcept {
    return (a.first < b.first) | ((a.first == b.first) & (a.second < b.second));
}
inline constexpr Key kFirstKey{0, 0};
inline constexpr Key kLastKey{std::numeric_limits<std::uint64_t>::max(),
                              std::numeric_limits<std::uint64_t>::max()};

/// How much searches looked at.
struct Effort {
    std::uint64_t bounds = 0;  ///< of ladders, pages and blocks
    std::uint64_t blocks = 0;
    std::uint64_t rows = 0;
};

/// Many queues of rows in order of their keys, which the book of bids is made of. A ladder is a
/// list of pages of blocks of up to 32 rows. Blocks are in order, the rows inside a block are not:
/// a row is added and removed without moving the others. Beside each block, page and ladder stands
/// its bound: what its rows may offer at best, so that a search skips what cannot serve it.
///
/// A row is a signature, which every search looks at, and a hot part with the `key`, looked at when
/// the signature will do. `Row` says what is kept: `Row::Hot`, `Row::Bound` (default: of no row),
/// and the static functions `widen(Bound&, const Signature&, const Hot&)` and `join(Bound&, const
/// Bound&)`.
///
/// `Moved` is called as `moved(hot, place)` for every row that was put somewhere. Pure,
/// deterministic, not thread-safe.
template <typename Row>
class Ladders {
 public:
    using Hot = typename Row::Hot;
    using Bound = typename Row::Bound;
    using LadderId = std::uint32_t;
    using Place = std::uint32_t;  ///< of a row, until it moves
    static constexpr Place kNowhere = std::numeric_limits<Place>::max();
    static constexpr std::uint32_t kRows = 32;

    struct Body {
        std::array<Hot, kRows> hot;
    };
    /// The signatures lie close together, apart from the rest: a search that skips rows touches
    /// little memory.
    struct alignas(64) Block {
        std::uint32_t count = 0;
        std::uint32_t stale = 0;  ///< changes since the bound was computed
        LadderId ladder = 0;
        Body* body = nullptr;
        std::array<Signature, kRows> signatures;

        [[nodiscard]] Hot& hot(std::uint32_t i) { return body->hot[i]; }
        [[nodiscard]] const Hot& hot(std::uint32_t i) const { return body->hot[i]; }
        void copy(std::uint32_t to, const Block& other, std::uint32_t from) {
            signatures[to] = other.signatures[from];
            body->hot[to] = other.body->hot[from];
        }
    };

    [[nodiscard]] LadderId add_ladder() {
        ladders_.emplace_back();
        return static_cast<LadderId>(ladders_.size() - 1);
    }
    [[nodiscard]] std::size_t ladder_count() const noexcept { return ladders_.size(); }

    [[nodiscard]] Signature& signature(Place place) {
        return block(place / kRows).signatures[place % kRows];
    }
    [[nodiscard]] const Signature& signature(Place place) const {
        return block(place / kRows).signatures[place % kRows];
    }
    [[nodiscard]] Hot& hot(Place place) { return block(place / kRows).hot(place % kRows); }
    [[nodiscard]] const Hot& hot(Place place) const {
        return block(place / kRows).hot(place % kRows);
    }

    template <typename Moved>
    void insert(LadderId id, const Signature& signature, const Hot& hot, Moved&& moved) {
        Ladder& ladder = ladders_[id];
        if (ladder.pages.empty()) open_first(ladder, id, hot.key);
        Spot spot = locate(ladder, hot.key);
        if (block(entry_at(ladder, spot).block).count == kRows) {
            make_room(ladder, spot, hot.key, moved);
            spot = locate(ladder, hot.key);
        }
        Page& page = ladder.pages[spot.page];
        Entry& entry = page.entries[spot.entry];
        Block& into = block(entry.block);
        const Place place = entry.block * kRows + into.count;
        into.signatures[into.count] = signature;
        into.hot(into.count) = hot;
        ++into.count;
        ladder.first = std::min(ladder.first, hot.key);
        page.first = std::min(page.first, hot.key);
        entry.first = std::min(entry.first, hot.key);
        widen(ladder, page, entry, signature, hot);
        moved(hot, place);
    }

    template <typename Moved>
    void erase(Place place, Moved&& moved) {
        Block& from = block(place / kRows);
        const Key key = from.hot(place % kRows).key;
        const std::uint32_t last = --from.count;
        if (place % kRows != last) {
            from.copy(place % kRows, from, last);
            moved(from.hot(place % kRows), place);
        }
        if (from.count != 0 && ++from.stale < kMaxStale) return;
        Ladder& ladder = ladders_[from.ladder];
        const Spot spot = locate(ladder, key);
        if (from.count == 0)
            drop(ladder, spot);
        else
            tidy(ladder, spot, moved);
    }

    /// After a row was changed where it is (not its key).
    void changed(Place place) {
        Block& in = block(place / kRows);
        const Hot& row = in.hot(place % kRows);
        Ladder& ladder = ladders_[in.ladder];
        const Spot spot = locate(ladder, row.key);
        Page& page = ladder.pages[spot.page];
        widen(ladder, page, page.entries[spot.entry], in.signatures[place % kRows], row);
        if (++in.stale >= kMaxStale) rebound(ladder, spot);
    }

    /// Calls `visit(block)` for the blocks of a ladder, in order, that may hold a row from `from`
    /// to `limit` (read again each time: the visitor may lower it) and whose bound passes
    /// `may(bound)`, until it returns true.
    template <typename May, typename Visit>
    void walk(LadderId id, const Key& from, const Key& limit, Effort& effort, May&& may,
              Visit&& visit) const {
        const Ladder& ladder = ladders_[id];
        ++effort.bounds;
        if (ladder.pages.empty() || is_before(limit, ladder.first) || !may(ladder.bound)) return;
        Spot at = from == kFirstKey ? Spot{0, 0} : locate(ladder, from);
        for (; at.page < ladder.pages.size(); ++at.page, at.entry = 0) {
            const Page& page = ladder.pages[at.page];
            ++effort.bounds;
            if (is_before(limit, page.first)) return;
            if (!may(page.bound)) continue;
            for (; at.entry < page.entries.size(); ++at.entry) {
                const Entry& entry = page.entries[at.entry];
                ++effort.bounds;
                if (is_before(limit, entry.first)) return;
                if (!may(entry.bound)) continue;
                // The next block is often needed too: its memory is fetched while this is looked
                // at.
                if (at.entry + 1 < page.entries.size())
                    prefetch(block(page.entries[at.entry + 1].block));
                const Block& rows = block(entry.block);
                ++effort.blocks;
                effort.rows += rows.count;
                if (visit(rows)) return;
            }
        }
    }

    /// Where the row with a key is; kNowhere when there is none.
    [[nodiscard]] Place find(LadderId id, const Key& key) const {
        const Ladder& ladder = ladders_[id];
        if (ladder.pages.empty()) return kNowhere;
        const std::uint32_t number = entry_at(ladder, locate(ladder, key)).block;
        const Block& rows = block(number);
        for (std::uint32_t i = 0; i < rows.count; ++i)
            if (rows.hot(i).key == key) return number * kRows + i;
        return kNowhere;
    }

    [[nodiscard]] std::size_t memory_bytes() const noexcept {
        std::size_t out = slabs_.size() * kSlabBlocks * (sizeof(Block) + sizeof(Body)) +
                          ladders_.capacity() * sizeof(Ladder) +
                          free_.capacity() * sizeof(std::uint32_t);
        for (const Ladder& ladder : ladders_) {
            out += ladder.pages.capacity() * sizeof(Page);
            for (const Page& page : ladder.pages)
                out += page.entries.capacity() * sizeof(Entry);
        }
        return out;
    }

    /// Order, counts and bounds of every ladder; the first violation as text. `check(hot, place)`
    /// says whether a row is where its owner thinks.
    template <typename Check>
    [[nodiscard]] std::optional<std::string> find_violation(Check&& check) const {
        for (LadderId id = 0; id < ladders_.size(); ++id) {
            std::optional<Key> last;
            for (const Page& page : ladders_[id].pages) {
                if (page.entries.empty()) return "an empty page";
                for (const Entry& entry : page.entries)
                    if (auto found = violation_in(id, page, entry, last, check)) return found;
            }
        }
        return std::nullopt;
    }

 private:
    static constexpr std::uint32_t kMaxStale = 16;
    static constexpr std::size_t kPageEntries = 64;
    static constexpr std::size_t kSlabBlocks = 64;

    struct Entry {
        Key first;  ///< no row of this block or after it is before
        Bound bound;
        std::uint32_t block = 0;
    };
    struct Page {
        Key first;
        Bound bound;
        std::vector<Entry> entries;
    };
    struct Ladder {
        Key first;
        Bound bound;
        std::uint32_t stale = 0;
        std::vector<Page> pages;
    };
    struct Spot {
        std::size_t page = 0;
        std::size_t entry = 0;
    };

    [[nodiscard]] Block& block(std::uint32_t number) {
        return slabs_[number / kSlabBlocks][number % kSlabBlocks];
    }
    [[nodiscard]] const Block& block(std::uint32_t number) const {
        return slabs_[number / kSlabBlocks][number % kSlabBlocks];
    }
    static void prefetch(const Block& block) noexcept {
        const auto* at = reinterpret_cast<const char*>(&block);
        for (std::size_t i = 0; i < sizeof(Block); i += 64)
            __builtin_prefetch(at + i);
    }
    [[nodiscard]] static Entry& entry_at(Ladder& ladder, Spot spot) {
        return ladder.pages[spot.page].entries[spot.entry];
    }
    [[nodiscard]] static const Entry& entry_at(const Ladder& ladder, Spot spot) {
        return ladder.pages[spot.page].entries[spot.entry];
    }

    std::uint32_t new_block(LadderId id) {
        if (free_.empty()) {
            const auto begin = static_cast<std::uint32_t>(slabs_.size() * kSlabBlocks);
            slabs_.push_back(std::make_unique<Block[]>(kSlabBlocks));
            bodies_.push_back(std::make_unique<Body[]>(kSlabBlocks));
            for (std::size_t i = 0; i < kSlabBlocks; ++i)
                slabs_.back()[i].body = &bodies_.back()[i];
            for (std::uint32_t i = kSlabBlocks; i-- > 0;)
                free_.push_back(begin + i);
        }
        const std::uint32_t number = free_.back();
        free_.pop_back();
        Block& fresh = block(number);
        fresh.count = fresh.stale = 0;
        fresh.ladder = id;
        return number;
    }

    void open_first(Ladder& ladder, LadderId id, const Key& key) {
        ladder.first = key;
        ladder.bound = {};
        ladder.pages.push_back({key, {}, {}});
        ladder.pages.back().entries.push_back({key, {}, new_block(id)});
    }

    /// The last of `items` whose first key is not after `key`; 0 when all are. Without a branch.
    template <typename Item>
    [[nodiscard]] static std::size_t last_before(const std::vector<Item>& items, const Key& key) {
        std::size_t base = 0;
        for (std::size_t count = items.size(); count > 1;) {
            const std::size_t half = count / 2;
            base += is_before(key, items[base + half].first) ? 0 : half;
            count -= half;
        }
        return base;
    }
    [[nodiscard]] static Spot locate(const Ladder& ladder, const Key& key) {
        const std::size_t page = last_before(ladder.pages, key);
        return {page, last_before(ladder.pages[page].entries, key)};
    }

    static void widen(Ladder& ladder, Page& page, Entry& entry, const Signature& signature,
                      const Hot& hot) {
        Row::widen(ladder.bound, signature, hot);
        Row::widen(page.bound, signature, hot);
        Row::widen(entry.bound, signature, hot);
    }

    /// The block at `spot` is full: gives its later half to a new block behind it. A key behind all
    /// of a ladder gets a block of its own: rows that come in order fill their blocks.
    template <typename Moved>
    void make_room(Ladder& ladder, Spot spot, const Key& key, Moved& moved) {
        Entry& entry = entry_at(ladder, spot);
        Entry added{key, {}, new_block(block(entry.block).ladder)};
        const Block& full = block(entry.block);
        const bool is_last = spot.page + 1 == ladder.pages.size() &&
                             spot.entry + 1 == ladder.pages.back().entries.size();
        const auto is_after = [&key](const Hot& row) { return is_before(key, row.key); };
        if (!is_last || std::any_of(full.body->hot.begin(), full.body->hot.end(), is_after)) {
            added.first = split(entry.block, added.block, moved);
            entry.bound = bound_of(full);
            added.bound = bound_of(block(added.block));
        }
        put_entry(ladder, spot, added);
    }

    /// Moves the later half of a full block's rows to an empty one; the first key there.
    template <typename Moved>
    Key split(std::uint32_t full_number, std::uint32_t upper_number, Moved& moved) {
        Block& full = block(full_number);
        Block& upper = block(upper_number);
        constexpr std::uint32_t kHalf = kRows / 2;
        std::array<Key, kRows> keys;
        for (std::uint32_t i = 0; i < kRows; ++i)
            keys[i] = full.hot(i).key;
        std::nth_element(keys.begin(), keys.begin() + kHalf, keys.end(), is_before);
        const Key middle = keys[kHalf];
        full.count = full.stale = 0;
        for (std::uint32_t i = 0; i < kRows; ++i) {
            const bool goes = !is_before(full.hot(i).key, middle);
            Block& to = goes ? upper : full;
            if (!goes && full.count == i) {
                ++full.count;
                continue;
            }
            to.copy(to.count, full, i);
            moved(to.hot(to.count), (goes ? upper_number : full_number) * kRows + to.count);
            ++to.count;
        }
        return middle;
    }

    [[nodiscard]] static Bound bound_of(const Block& rows) {
        Bound out;
        for (std::uint32_t i = 0; i < rows.count; ++i)
            Row::widen(out, rows.signatures[i], rows.hot(i));
        return out;
    }

    void put_entry(Ladder& ladder, Spot spot, const Entry& added) {
        Page& page = ladder.pages[spot.page];
        page.entries.insert(page.entries.begin() + offset(spot.entry) + 1, added);
        if (page.entries.size() <= kPageEntries) return;
        // The last page is left full, as the last block is.
        const bool appended =
            spot.page + 1 == ladder.pages.size() && spot.entry + 2 == page.entries.size();
        const std::size_t keep = appended ? kPageEntries : kPageEntries / 2;
        Page upper;
        upper.entries.reserve(kPageEntries + 1);
        upper.entries.assign(page.entries.begin() + offset(keep), page.entries.end());
        upper.first = upper.entries.front().first;
        page.entries.resize(keep);
        rebound(page);
        rebound(upper);
        ladder.pages.insert(ladder.pages.begin() + offset(spot.page) + 1, std::move(upper));
    }
    [[nodiscard]] static std::ptrdiff_t offset(std::size_t at) noexcept {
        return static_cast<std::ptrdiff_t>(at);
    }

    static void rebound(Page& page) {
        page.bound = {};
        for (const Entry& entry : page.entries)
            Row::join(page.bound, entry.bound);
    }
    /// Computes the bounds of a block and what it is in again; its first key too.
    void rebound(Ladder& ladder, Spot spot) {
        Page& page = ladder.pages[spot.page];
        Entry& entry = page.entries[spot.entry];
        Block& rows = block(entry.block);
        rows.stale = 0;
        entry.bound = bound_of(rows);
        entry.first = kLastKey;
        for (std::uint32_t i = 0; i < rows.count; ++i)
            entry.first = std::min(entry.first, rows.hot(i).key, is_before);
        rebound(page);
        page.first = page.entries.front().first;
        ladder.first = ladder.pages.front().first;
        if (++ladder.stale * kMaxStale < ladder.pages.size()) return;
        ladder.stale = 0;
        ladder.bound = {};
        for (const Page& one : ladder.pages)
            Row::join(ladder.bound, one.bound);
    }

    /// Takes an empty block out.
    void drop(Ladder& ladder, Spot spot) {
        Page& page = ladder.pages[spot.page];
        free_.push_back(page.entries[spot.entry].block);
        page.entries.erase(page.entries.begin() + offset(spot.entry));
        if (page.entries.empty())
            ladder.pages.erase(ladder.pages.begin() + offset(spot.page));
        else
            page.first = page.entries.front().first;
        if (ladder.pages.empty())
            ladder.bound = {};
        else
            ladder.first = ladder.pages.front().first;
    }

    /// Bounds anew, and a thin block takes in the next one of its page.
    template <typename Moved>
    void tidy(Ladder& ladder, Spot spot, Moved& moved) {
        Page& page = ladder.pages[spot.page];
        if (spot.entry + 1 < page.entries.size()) {
            const std::uint32_t number = page.entries[spot.entry].block;
            Block& into = block(number);
            Block& next = block(page.entries[spot.entry + 1].block);
            if (into.count + next.count <= kRows * 3 / 4) {
                for (std::uint32_t i = 0; i < next.count; ++i, ++into.count) {
                    into.copy(into.count, next, i);
                    moved(into.hot(into.count), number * kRows + into.count);
                }
                free_.push_back(page.entries[spot.entry + 1].block);
                page.entries.erase(page.entries.begin() + offset(spot.entry) + 1);
            }
        }
        rebound(ladder, spot);
    }

    template <typename Check>
    [[nodiscard]] std::optional<std::string> violation_in(LadderId id, const Page& page,
                                                          const Entry& entry,
                                                          std::optional<Key>& last,
                                                          Check& check) const {
        const Ladder& ladder = ladders_[id];
        const Block& rows = block(entry.block);
        if (rows.count == 0 || rows.count > kRows) return "a block's count";
        if (rows.ladder != id) return "a block's ladder";
        if (entry.first < page.first || page.first < ladder.first) return "a first key";
        if (last && !(*last < entry.first)) return "blocks out of order";
        Key greatest = kFirstKey;
        for (std::uint32_t i = 0; i < rows.count; ++i) {
            const Hot& row = rows.hot(i);
            if (row.key < entry.first) return "a row before its block";
            greatest = std::max(greatest, row.key);
            for (Bound bound : {ladder.bound, page.bound, entry.bound}) {
                const Bound before = bound;
                Row::widen(bound, rows.signatures[i], row);
                if (bound != before) return "a row outside a bound";
            }
            if (!check(row, entry.block * kRows + i)) return "a row's place";
        }
        last = greatest;
        return std::nullopt;
    }

    std::vector<Ladder> ladders_;
    std::vector<std::unique_ptr<Block[]>> slabs_;
    std::vector<std::unique_ptr<Body[]>> bodies_;  // of the slabs' blocks
    std::vector<std::uint32_t> free_;
};

}  // namespace marketplace::matching
