// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/bytes.hpp"
#include "ledger/base/result.hpp"

#include <cstdint>
#include <span>
#include <vector>

/// The append-only Merkle tree of RFC 9162, section 2.1, with SHA-256. Pure.
namespace ledger::log {

using Proof = std::vector<base::Hash32>;

/// SHA-256(0x00 ‖ data).
[[nodiscard]] base::Hash32 leaf_hash(base::ByteView data);
/// SHA-256(0x01 ‖ left ‖ right).
[[nodiscard]] base::Hash32 node_hash(const base::Hash32& left, const base::Hash32& right);
/// Root of the tree without leaves: SHA-256 of nothing.
[[nodiscard]] base::Hash32 empty_root();

/// The tree's right edge only: O(log n) memory, enough to append and to know the root.
/// A lease's receipts root is kept this way by market, worker and delegate.
class CompactTree {
 public:
    CompactTree() = default;
    /// Restores a stored edge. invalid_encoding when the count of peaks does not fit the size.
    [[nodiscard]] static base::Result<CompactTree> restore(std::uint64_t size,
                                                           std::vector<base::Hash32> peaks);

    /// Appends a leaf given by its leaf hash.
    void append(const base::Hash32& leaf);
    /// Appends a leaf given by its data.
    void append_data(base::ByteView data) { append(leaf_hash(data)); }

    [[nodiscard]] std::uint64_t size() const noexcept { return size_; }
    [[nodiscard]] base::Hash32 root() const;
    /// Roots of the complete subtrees, largest first: one per bit set in the size.
    [[nodiscard]] const std::vector<base::Hash32>& peaks() const noexcept { return peaks_; }

    friend bool operator==(const CompactTree&, const CompactTree&) = default;

 private:
    std::uint64_t size_ = 0;
    std::vector<base::Hash32> peaks_;
};

/// All complete nodes in memory (64 bytes per leaf): roots of old sizes and proofs in O(log n).
class MerkleTree {
 public:
    MerkleTree() = default;
    /// The tree of these leaf hashes.
    explicit MerkleTree(std::vector<base::Hash32> leaves);

    /// Returns the new leaf's index.
    std::uint64_t append(const base::Hash32& leaf);
    std::uint64_t append_data(base::ByteView data) { return append(leaf_hash(data)); }

    [[nodiscard]] std::uint64_t size() const noexcept;
    [[nodiscard]] base::Hash32 root() const;
    /// out_of_range when `size` is above the tree's.
    [[nodiscard]] base::Result<base::Hash32> root_at(std::uint64_t size) const;
    /// All leaf hashes, in order.
    [[nodiscard]] std::span<const base::Hash32> leaves() const noexcept;
    /// The leaf hash at `index`.
    [[nodiscard]] base::Result<base::Hash32> leaf(std::uint64_t index) const;

    /// Audit path of leaf `index` in the tree of the first `size` leaves (section 2.1.3.1).
    [[nodiscard]] base::Result<Proof> inclusion_proof(std::uint64_t index,
                                                      std::uint64_t size) const;
    /// Proof that the first `old_size` leaves begin the first `new_size` (section 2.1.4.1).
    /// Empty when the sizes are equal or `old_size` is 0.
    [[nodiscard]] base::Result<Proof> consistency_proof(std::uint64_t old_size,
                                                        std::uint64_t new_size) const;

 private:
    /// Root of leaves [begin, end).
    [[nodiscard]] base::Hash32 range_root(std::uint64_t begin, std::uint64_t end) const;

    std::vector<std::vector<base::Hash32>> levels_;  // levels_[h][i]: root of the i-th 2^h block
};

/// The root a proof leads to (section 2.1.3.2). audit_failed when its length does not fit.
[[nodiscard]] base::Result<base::Hash32> root_from_inclusion(const base::Hash32& leaf,
                                                             std::uint64_t index,
                                                             std::uint64_t size,
                                                             std::span<const base::Hash32> proof);
/// Succeeds when `leaf` is at `index` of the tree of `size` leaves with `root`; else audit_failed.
[[nodiscard]] base::Result<void> verify_inclusion(const base::Hash32& leaf, std::uint64_t index,
                                                  std::uint64_t size,
                                                  std::span<const base::Hash32> proof,
                                                  const base::Hash32& root);
/// Succeeds when the old tree is a prefix of the new one (section 2.1.4.2); else audit_failed.
[[nodiscard]] base::Result<void> verify_consistency(std::uint64_t old_size, std::uint64_t new_size,
                                                    const base::Hash32& old_root,
                                                    const base::Hash32& new_root,
                                                    std::span<const base::Hash32> proof);

}  // namespace ledger::log
