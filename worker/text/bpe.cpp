// SPDX-License-Identifier: Apache-2.0
#include "worker/text/bpe.hpp"

#include "worker/text/limits.hpp"
#include "worker/text/utf8.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <queue>

namespace worker::text {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

namespace {

constexpr std::size_t kCacheSlots = 1U << 15;
constexpr std::size_t kCachedBytesMax = 64;
constexpr std::size_t kShortWord = 24;  // below it a scan is quicker than a heap
constexpr char32_t kLowChars = 0x800;

}  // namespace

Result<void> Vocabulary::add(std::string token, std::int64_t id) {
    if (id < 0 || static_cast<std::uint64_t>(id) >= limits::kVocabulary)
        return fail(ErrorCode::job_limit,
                    fmt::format("the token id {} is not below {}", id, limits::kVocabulary));
    if (token.size() > limits::kTokenBytes)
        return fail(ErrorCode::job_limit,
                    fmt::format("a token is longer than {} bytes", limits::kTokenBytes));
    const auto place = static_cast<std::size_t>(id);
    if (place < by_id_.size() && by_id_[place] != nullptr)
        return fail(ErrorCode::data_invalid, fmt::format("two tokens have the id {}", id));
    const auto [entry, added] = ids_.try_emplace(std::move(token), static_cast<std::uint32_t>(id));
    if (!added)
        return fail(ErrorCode::data_invalid, fmt::format("the token of id {} is repeated", id));
    if (place >= by_id_.size()) by_id_.resize(place + 1, nullptr);
    by_id_[place] = &entry->first;
    return {};
}

std::optional<std::uint32_t> Vocabulary::find(std::string_view token) const {
    const auto found = ids_.find(token);
    if (found == ids_.end()) return std::nullopt;
    return found->second;
}

MergeTable::MergeTable(std::size_t count) {
    std::size_t slots = 16;
    while (slots < 2 * count)
        slots *= 2;
    slots_.resize(slots);
}

std::size_t MergeTable::slot_of(std::uint64_t pair) const noexcept {
    const std::size_t mask = slots_.size() - 1;
    std::uint64_t mixed = (pair ^ (pair >> 32)) * 0x9E3779B97F4A7C15ULL;
    mixed ^= mixed >> 29;
    std::size_t at = static_cast<std::size_t>(mixed) & mask;
    while (slots_[at].pair != pair && slots_[at].pair != ~std::uint64_t{0})
        at = (at + 1) & mask;
    return at;
}

void MergeTable::set(std::uint32_t left, std::uint32_t right, Merge merge) {
    const std::uint64_t pair = (std::uint64_t{left} << 32) | right;
    Slot& slot = slots_[slot_of(pair)];
    slot.pair = pair;
    slot.merge = merge;
}

const MergeTable::Merge* MergeTable::find(std::uint32_t left, std::uint32_t right) const noexcept {
    const std::uint64_t pair = (std::uint64_t{left} << 32) | right;
    const Slot& slot = slots_[slot_of(pair)];
    return slot.pair == pair ? &slot.merge : nullptr;
}

Result<std::shared_ptr<const Bpe>> Bpe::make(
    Vocabulary vocabulary, const std::vector<std::pair<std::string, std::string>>& merges,
    const BpeOptions& options) {
    if (merges.size() > limits::kMerges)
        return fail(ErrorCode::job_limit, fmt::format("more than {} merges", limits::kMerges));
    std::shared_ptr<Bpe> bpe(new Bpe(std::move(vocabulary), merges.size()));
    TRY(bpe->fill(merges, options));
    return std::shared_ptr<const Bpe>(std::move(bpe));
}

Result<void> Bpe::fill(const std::vector<std::pair<std::string, std::string>>& merges,
                       const BpeOptions& options) {
    std::uint32_t rank = 0;
    for (const auto& [left, right] : merges) {
        const auto left_id = vocabulary_.find(left);
        const auto right_id = vocabulary_.find(right);
        const auto joined = vocabulary_.find(left + right);
        if (!left_id || !right_id || !joined)
            return fail(ErrorCode::data_invalid,
                        fmt::format("merge {} names a token that is not in the vocabulary", rank));
        merges_.set(*left_id, *right_id, {rank++, *joined});
    }
    ignore_merges_ = options.ignore_merges;
    fuse_unk_ = options.fuse_unk;
    if (options.unk_token) {
        unk_ = vocabulary_.find(*options.unk_token);
        if (!unk_) return fail(ErrorCode::data_invalid, "unk_token is not in the vocabulary");
    }
    if (options.byte_fallback) {
        byte_ids_.emplace();
        for (std::size_t byte = 0; byte < 256; ++byte) {
            const auto id = vocabulary_.find(fmt::format("<0x{:02X}>", byte));
            if (!id)
                return fail(ErrorCode::data_invalid,
                            fmt::format("byte_fallback without the token <0x{:02X}>", byte));
            (*byte_ids_)[byte] = *id;
        }
    }
    for (char32_t point = 0; point < kLowChars; ++point) {
        std::string one;
        append_utf8(one, point);
        low_chars_.push_back(vocabulary_.find(one));
    }
    cache_.resize(kCacheSlots);
    return {};
}

std::optional<std::uint32_t> Bpe::id_of_char(std::string_view one) const {
    if (one.size() > 2) return vocabulary_.find(one);
    return low_chars_[char_at(one, 0).point];
}

std::vector<std::uint32_t> Bpe::split_chars(std::string_view word) const {
    std::vector<std::uint32_t> out;
    out.reserve(word.size());
    bool last_unknown = false;
    for (std::size_t at = 0; at < word.size();) {
        const std::string_view one = word.substr(at, char_size(word[at]));
        at += one.size();
        const auto id = id_of_char(one);
        if (id) {
            out.push_back(*id);
        } else if (byte_ids_) {
            for (const char c : one)
                out.push_back((*byte_ids_)[static_cast<unsigned char>(c)]);
        } else if (unk_ && !(fuse_unk_ && last_unknown)) {
            out.push_back(*unk_);
        }
        last_unknown = !id && !byte_ids_;
    }
    return out;
}

void Bpe::merge_short(std::vector<std::uint32_t>& symbols) const {
    while (symbols.size() > 1) {
        const MergeTable::Merge* best = nullptr;
        std::size_t place = 0;
        for (std::size_t i = 0; i + 1 < symbols.size(); ++i) {
            const auto* merge = merges_.find(symbols[i], symbols[i + 1]);
            if (merge != nullptr && (best == nullptr || merge->rank < best->rank)) {
                best = merge;
                place = i;
            }
        }
        if (best == nullptr) return;
        symbols[place] = best->id;
        symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(place) + 1);
    }
}

void Bpe::merge_long(std::vector<std::uint32_t>& symbols) const {
    constexpr std::uint32_t kNone = std::numeric_limits<std::uint32_t>::max();
    struct Candidate {
        std::uint32_t rank;
        std::uint32_t place;
        std::uint32_t id;
    };
    const auto later = [](const Candidate& a, const Candidate& b) {
        return a.rank != b.rank ? a.rank > b.rank : a.place > b.place;
    };
    std::priority_queue<Candidate, std::vector<Candidate>, decltype(later)> queue(later);
    const auto count = static_cast<std::uint32_t>(symbols.size());
    std::vector<std::uint32_t> next(count);
    std::vector<std::uint32_t> previous(count);
    const auto offer = [&](std::uint32_t left) {
        if (next[left] == kNone) return;
        if (const auto* merge = merges_.find(symbols[left], symbols[next[left]]))
            queue.push({merge->rank, left, merge->id});
    };
    for (std::uint32_t i = 0; i < count; ++i) {
        next[i] = i + 1 < count ? i + 1 : kNone;
        previous[i] = i > 0 ? i - 1 : kNone;
    }
    for (std::uint32_t i = 0; i < count; ++i)
        offer(i);
    // A symbol that was joined into its left neighbour is marked by kNone and never offered again.
    while (!queue.empty()) {
        const Candidate top = queue.top();
        queue.pop();
        if (symbols[top.place] == kNone || next[top.place] == kNone) continue;
        const std::uint32_t right = next[top.place];
        const auto* merge = merges_.find(symbols[top.place], symbols[right]);
        if (merge == nullptr || merge->rank != top.rank) continue;  // the pair has changed since
        symbols[top.place] = merge->id;
        symbols[right] = kNone;
        next[top.place] = next[right];
        if (next[right] != kNone) previous[next[right]] = top.place;
        offer(top.place);
        if (previous[top.place] != kNone) offer(previous[top.place]);
    }
    symbols.erase(std::remove(symbols.begin(), symbols.end(), kNone), symbols.end());
}

std::vector<std::uint32_t> Bpe::compute(std::string_view word) const {
    if (ignore_merges_) {
        if (const auto whole = vocabulary_.find(word)) return {*whole};
    }
    std::vector<std::uint32_t> symbols = split_chars(word);
    if (symbols.size() <= kShortWord)
        merge_short(symbols);
    else
        merge_long(symbols);
    return symbols;
}

void Bpe::Session::encode(std::string_view word, std::vector<std::uint32_t>& out) {
    if (word.empty()) return;
    if (!lock_.owns_lock() || word.size() > kCachedBytesMax) {
        const auto ids = bpe_.compute(word);
        out.insert(out.end(), ids.begin(), ids.end());
        return;
    }
    Cached& slot = bpe_.cache_[TextHash{}(word) % kCacheSlots];
    if (slot.word != word) {
        slot.ids = bpe_.compute(word);
        slot.word = word;
    }
    out.insert(out.end(), slot.ids.begin(), slot.ids.end());
}

}  // namespace worker::text
