// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"
#include "worker/kernels/aligned_bytes.hpp"
#include "worker/kernels/attention.hpp"
#include "worker/model/decoder_config.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <list>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

namespace worker::model {

class KvCache;

/// The pages of one sequence; they go back to the cache when it ends. The cache outlives it.
class KvSequence {
 public:
    KvSequence() = default;
    ~KvSequence();
    KvSequence(KvSequence&& other) noexcept { swap(other); }
    KvSequence& operator=(KvSequence&& other) noexcept {
        swap(other);
        return *this;
    }
    KvSequence(const KvSequence&) = delete;
    KvSequence& operator=(const KvSequence&) = delete;

    /// Tokens from the start whose keys and values were there when the sequence began: a multiple
    /// of the page size, below the number of tokens it began with.
    [[nodiscard]] std::size_t reused() const noexcept { return reused_; }
    /// Tokens that fit.
    [[nodiscard]] std::size_t capacity() const noexcept {
        return pages_.size() * kernels::KvShape::kPageTokens;
    }
    /// Memory of each page, for attention.
    [[nodiscard]] std::span<const std::byte* const> pages() const noexcept { return pages_; }
    /// Their places in the cache, for memory that is not the cache's own.
    [[nodiscard]] std::span<const std::uint32_t> numbers() const noexcept { return numbers_; }
    /// Memory of the page that `position` lies in. Only for positions that were not reused.
    [[nodiscard]] std::byte* page_of(std::size_t position);

 private:
    friend class KvCache;
    void swap(KvSequence& other) noexcept;

    KvCache* cache_ = nullptr;
    std::vector<std::uint32_t> numbers_;   // of the pages
    std::vector<const std::byte*> pages_;  // their memory
    std::size_t reused_ = 0;
    std::size_t published_ = 0;  // pages offered to others so far
    std::uint64_t chain_ = 0;    // serial of the last of them
};

/// Keys and values of all running sequences in pages of 16 tokens from one pool of limited size.
///
/// A page that is full can be found by what it holds: its tokens and the page before it, so a new
/// sequence takes over the pages of the longest prefix it shares with an earlier one. Full
/// comparison decides, the hash only finds. Pages that no sequence uses stay findable until their
/// memory is needed; the one unused for longest goes first. Not thread-safe.
class KvCache {
 public:
    struct Options {
        std::uint32_t pages_max = 0;
        kernels::KvType type = kernels::KvType::kF32;
        bool host_memory = true;  // false: pages are numbers, their memory lies on a device
    };
    struct Counts {
        std::uint64_t tokens_reused = 0;
        std::uint64_t tokens_begun = 0;
        std::uint32_t pages_used = 0;  // by running sequences
    };

    /// Memory of one page of all layers.
    [[nodiscard]] static std::uint64_t page_bytes(const DecoderConfig& config,
                                                  kernels::KvType type) noexcept;

    KvCache(const DecoderConfig& config, const Options& options);
    KvCache(const KvCache&) = delete;
    KvCache& operator=(const KvCache&) = delete;

    /// A sequence that begins with `tokens` and has pages for `length_max` tokens now. queue_full
    /// when too few are free, too_large when there never can be enough.
    [[nodiscard]] ledger::base::Result<KvSequence> begin(std::span<const std::uint32_t> tokens,
                                                         std::size_t length_max);
    /// Takes pages until `length` tokens fit. False, with nothing changed, when too few are free.
    [[nodiscard]] bool grow(KvSequence& sequence, std::size_t length);
    /// Lets other sequences find the full pages of `tokens`, whose keys and values are all stored.
    void publish(KvSequence& sequence, std::span<const std::uint32_t> tokens);

    [[nodiscard]] const kernels::KvShape& shape() const noexcept { return shape_; }
    /// Where a layer's block lies in a page.
    [[nodiscard]] std::size_t layer_offset(std::size_t layer) const noexcept {
        return layer * shape_.page_bytes();
    }
    [[nodiscard]] std::size_t pages() const noexcept { return pages_.size(); }
    [[nodiscard]] const Counts& counts() const noexcept { return counts_; }

 private:
    friend class KvSequence;
    static constexpr std::size_t kPageTokens = kernels::KvShape::kPageTokens;

    /// What a full page holds. Serials are never used twice, so a page that is gone takes the ways
    /// to its successors with it.
    struct Key {
        std::uint64_t before = 0;  // serial of the page before it, 0: none
        std::array<std::uint32_t, kPageTokens> tokens{};
        friend bool operator==(const Key&, const Key&) = default;
    };
    struct KeyHash {
        std::size_t operator()(const Key& key) const noexcept;
    };
    struct Page {
        kernels::AlignedBytes memory;
        std::uint32_t users = 0;
        std::uint64_t serial = 0;  // 0: not findable
        Key key;
        std::list<std::uint32_t>::iterator idle;  // valid while users is 0 and serial is not
    };

    static Key key_of(std::uint64_t before, std::span<const std::uint32_t> tokens,
                      std::size_t page);
    void end(KvSequence& sequence) noexcept;
    [[nodiscard]] std::uint32_t take_page();
    void use(std::uint32_t number);

    kernels::KvShape shape_;
    std::size_t page_bytes_;
    std::vector<Page> pages_;
    std::vector<std::uint32_t> blank_;  // pages that hold nothing
    std::list<std::uint32_t> idle_;     // findable pages without users, longest unused first
    std::unordered_map<Key, std::uint32_t, KeyHash> found_;
    std::uint64_t next_serial_ = 1;
    Counts counts_;
};

}  // namespace worker::model
