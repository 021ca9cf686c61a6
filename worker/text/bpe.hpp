// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace worker::text {

/// Lets a map of strings be asked with a view.
struct TextHash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const noexcept {
        return std::hash<std::string_view>{}(text);
    }
};

/// Tokens and their ids, which may leave gaps.
class Vocabulary {
 public:
    /// Errors: data_invalid (token or id taken), job_limit (id or length above the limits).
    [[nodiscard]] ledger::base::Result<void> add(std::string token, std::int64_t id);
    [[nodiscard]] std::optional<std::uint32_t> find(std::string_view token) const;
    /// Null for an id without a token.
    [[nodiscard]] const std::string* token(std::uint32_t id) const noexcept {
        return id < by_id_.size() ? by_id_[id] : nullptr;
    }
    /// The highest id plus one.
    [[nodiscard]] std::size_t size() const noexcept { return by_id_.size(); }

 private:
    std::unordered_map<std::string, std::uint32_t, TextHash, std::equal_to<>> ids_;
    std::vector<const std::string*> by_id_;  // keys of ids_, which never move
};

/// Pairs of ids that join, by one probe of a flat table.
class MergeTable {
 public:
    struct Merge {
        std::uint32_t rank = 0;
        std::uint32_t id = 0;
    };
    explicit MergeTable(std::size_t count);
    /// A later merge of the same pair replaces the earlier. At most `count` are set.
    void set(std::uint32_t left, std::uint32_t right, Merge merge);
    [[nodiscard]] const Merge* find(std::uint32_t left, std::uint32_t right) const noexcept;

 private:
    struct Slot {
        std::uint64_t pair = ~std::uint64_t{0};
        Merge merge;
    };
    [[nodiscard]] std::size_t slot_of(std::uint64_t pair) const noexcept;
    std::vector<Slot> slots_;  // a power of two, at most half full
};

/// What a file says of the model.
struct BpeOptions {
    bool byte_fallback = false;
    bool ignore_merges = false;
    bool fuse_unk = false;
    std::optional<std::string> unk_token;
};

/// Byte-pair encoding: the pair with the lowest rank joins first, the leftmost of equals. A word of
/// n characters takes O(n log n), and at most n-1 joins whatever the merges say. Safe from many
/// threads.
class Bpe {
 public:
    /// Errors: data_invalid (a merge that names or makes a token that is none), job_limit.
    [[nodiscard]] static ledger::base::Result<std::shared_ptr<const Bpe>> make(
        Vocabulary vocabulary, const std::vector<std::pair<std::string, std::string>>& merges,
        const BpeOptions& options);

    /// One encode's hold on the cache of words; a second encode at the same time goes without.
    class Session {
     public:
        explicit Session(const Bpe& bpe) : bpe_(bpe), lock_(bpe.cache_mutex_, std::try_to_lock) {}
        /// Appends the ids of one word of valid UTF-8.
        void encode(std::string_view word, std::vector<std::uint32_t>& out);

     private:
        const Bpe& bpe_;
        std::unique_lock<std::mutex> lock_;
    };

    [[nodiscard]] const Vocabulary& vocabulary() const noexcept { return vocabulary_; }

 private:
    struct Cached {
        std::string word;
        std::vector<std::uint32_t> ids;
    };
    Bpe(Vocabulary vocabulary, std::size_t merges)
        : vocabulary_(std::move(vocabulary)), merges_(merges) {}
    [[nodiscard]] ledger::base::Result<void> fill(
        const std::vector<std::pair<std::string, std::string>>& merges, const BpeOptions& options);
    [[nodiscard]] std::optional<std::uint32_t> id_of_char(std::string_view one) const;
    [[nodiscard]] std::vector<std::uint32_t> split_chars(std::string_view word) const;
    void merge_short(std::vector<std::uint32_t>& symbols) const;
    void merge_long(std::vector<std::uint32_t>& symbols) const;
    [[nodiscard]] std::vector<std::uint32_t> compute(std::string_view word) const;

    Vocabulary vocabulary_;
    MergeTable merges_;
    bool ignore_merges_ = false;
    bool fuse_unk_ = false;
    std::optional<std::uint32_t> unk_;
    std::optional<std::array<std::uint32_t, 256>> byte_ids_;
    std::vector<std::optional<std::uint32_t>> low_chars_;  // ids of the characters below U+0800
    mutable std::mutex cache_mutex_;
    mutable std::vector<Cached> cache_;  // guarded by cache_mutex_
};

}  // namespace worker::text
