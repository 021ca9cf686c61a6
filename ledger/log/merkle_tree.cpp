// SPDX-License-Identifier: Apache-2.0
#include "ledger/log/merkle_tree.hpp"

#include "ledger/base/check.hpp"
#include "ledger/base/sha256.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <string>

namespace ledger::log {

using base::ErrorCode;
using base::fail;
using base::Hash32;
using base::Result;

Hash32 leaf_hash(base::ByteView data) {
    base::Bytes prefixed;
    prefixed.reserve(data.size() + 1);
    prefixed.push_back(0x00);
    base::append(prefixed, data);
    return base::sha256(prefixed);
}

Hash32 node_hash(const Hash32& left, const Hash32& right) {
    std::array<std::uint8_t, 65> prefixed{};
    prefixed[0] = 0x01;
    std::copy(left.begin(), left.end(), prefixed.begin() + 1);
    std::copy(right.begin(), right.end(), prefixed.begin() + 33);
    return base::sha256(prefixed);
}

Hash32 empty_root() {
    return base::sha256({});
}

// ---- CompactTree ------------------------------------------------------------------------------

Result<CompactTree> CompactTree::restore(std::uint64_t size, std::vector<Hash32> peaks) {
    if (peaks.size() != static_cast<std::size_t>(std::popcount(size)))
        return fail(ErrorCode::invalid_encoding,
                    "a tree of " + std::to_string(size) + " leaves has another count of peaks");
    CompactTree tree;
    tree.size_ = size;
    tree.peaks_ = std::move(peaks);
    return tree;
}

void CompactTree::append(const Hash32& leaf) {
    MR_CHECK(size_ != UINT64_MAX);
    Hash32 node = leaf;
    for (std::uint64_t rest = size_; (rest & 1) != 0; rest >>= 1) {
        node = node_hash(peaks_.back(), node);
        peaks_.pop_back();
    }
    peaks_.push_back(node);
    ++size_;
    MR_CHECK(peaks_.size() == static_cast<std::size_t>(std::popcount(size_)));
}

Hash32 CompactTree::root() const {
    if (peaks_.empty()) return empty_root();
    Hash32 root = peaks_.back();
    for (std::size_t i = peaks_.size() - 1; i-- > 0;)
        root = node_hash(peaks_[i], root);
    return root;
}

// ---- MerkleTree -------------------------------------------------------------------------------

namespace {

/// Largest power of two below n (n >= 2), as RFC 9162 splits a tree.
std::uint64_t split_point(std::uint64_t n) {
    return std::bit_floor(n - 1);
}

}  // namespace

std::uint64_t MerkleTree::size() const noexcept {
    return levels_.empty() ? 0 : levels_.front().size();
}

MerkleTree::MerkleTree(std::vector<Hash32> leaves) {
    levels_.push_back(std::move(leaves));
    while (levels_.back().size() >= 2) {
        const auto& below = levels_.back();
        std::vector<Hash32> level;
        level.reserve(below.size() / 2);
        for (std::size_t i = 0; i + 1 < below.size(); i += 2)
            level.push_back(node_hash(below[i], below[i + 1]));
        levels_.push_back(std::move(level));
    }
}

std::span<const Hash32> MerkleTree::leaves() const noexcept {
    if (levels_.empty()) return {};
    return levels_.front();
}

std::uint64_t MerkleTree::append(const Hash32& leaf) {
    if (levels_.empty()) levels_.emplace_back();
    levels_.front().push_back(leaf);
    const std::uint64_t index = levels_.front().size() - 1;
    for (std::size_t level = 0; levels_[level].size() % 2 == 0; ++level) {
        if (levels_.size() == level + 1) levels_.emplace_back();
        const auto& below = levels_[level];
        levels_[level + 1].push_back(node_hash(below[below.size() - 2], below.back()));
    }
    return index;
}

Hash32 MerkleTree::range_root(std::uint64_t begin, std::uint64_t end) const {
    MR_CHECK(begin < end);
    MR_CHECK(end <= size());
    // The range starts on a multiple of its largest block: fold its complete blocks from the right.
    std::array<Hash32, 64> blocks;
    std::size_t count = 0;
    while (begin < end) {
        const std::uint64_t block = std::bit_floor(end - begin);
        MR_CHECK(begin % block == 0);
        blocks[count++] = levels_[static_cast<std::size_t>(std::countr_zero(block))][begin / block];
        begin += block;
    }
    Hash32 root = blocks[--count];
    while (count > 0)
        root = node_hash(blocks[--count], root);
    return root;
}

Hash32 MerkleTree::root() const {
    return size() == 0 ? empty_root() : range_root(0, size());
}

Result<Hash32> MerkleTree::root_at(std::uint64_t at) const {
    if (at > size())
        return fail(ErrorCode::out_of_range, "the log has " + std::to_string(size()) + " leaves");
    return at == 0 ? empty_root() : range_root(0, at);
}

Result<Hash32> MerkleTree::leaf(std::uint64_t index) const {
    if (index >= size())
        return fail(ErrorCode::out_of_range, "the log has " + std::to_string(size()) + " leaves");
    return levels_.front()[index];
}

Result<Proof> MerkleTree::inclusion_proof(std::uint64_t index, std::uint64_t at) const {
    if (at > size())
        return fail(ErrorCode::out_of_range, "the log has " + std::to_string(size()) + " leaves");
    if (index >= at)
        return fail(ErrorCode::out_of_range, "the leaf is not below the size asked for");
    Proof proof;
    std::uint64_t begin = 0;
    std::uint64_t end = at;
    while (end - begin > 1) {
        const std::uint64_t middle = begin + split_point(end - begin);
        if (index < middle) {
            proof.push_back(range_root(middle, end));
            end = middle;
        } else {
            proof.push_back(range_root(begin, middle));
            begin = middle;
        }
    }
    std::reverse(proof.begin(), proof.end());
    return proof;
}

Result<Proof> MerkleTree::consistency_proof(std::uint64_t old_size, std::uint64_t new_size) const {
    if (new_size > size())
        return fail(ErrorCode::out_of_range, "the log has " + std::to_string(size()) + " leaves");
    if (old_size > new_size)
        return fail(ErrorCode::out_of_range, "the old size is above the new one");
    Proof proof;
    if (old_size == 0 || old_size == new_size) return proof;
    // SUBPROOF of RFC 9162, section 2.1.4.1, as a walk down to the edge of the old tree.
    std::uint64_t begin = 0;
    std::uint64_t end = new_size;
    bool old_root_known = true;  // the verifier has it: it is the whole old tree
    while (old_size != end) {
        const std::uint64_t middle = begin + split_point(end - begin);
        if (old_size <= middle) {
            proof.push_back(range_root(middle, end));
            end = middle;
        } else {
            proof.push_back(range_root(begin, middle));
            begin = middle;
            old_root_known = false;
        }
    }
    if (!old_root_known) proof.push_back(range_root(begin, end));
    std::reverse(proof.begin(), proof.end());
    return proof;
}

// ---- verification -----------------------------------------------------------------------------

namespace {

tl::unexpected<base::Error> bad_proof(const char* what) {
    return fail(ErrorCode::audit_failed, what);
}

}  // namespace

Result<Hash32> root_from_inclusion(const Hash32& leaf, std::uint64_t index, std::uint64_t size,
                                   std::span<const Hash32> proof) {
    if (index >= size) return bad_proof("the leaf's index is not below the log's size");
    std::uint64_t node = index;
    std::uint64_t last = size - 1;
    Hash32 root = leaf;
    for (const Hash32& step : proof) {
        if (last == 0) return bad_proof("the inclusion proof is too long");
        if ((node & 1) != 0 || node == last) {
            root = node_hash(step, root);
            while ((node & 1) == 0 && node != 0) {
                node >>= 1;
                last >>= 1;
            }
        } else {
            root = node_hash(root, step);
        }
        node >>= 1;
        last >>= 1;
    }
    if (last != 0) return bad_proof("the inclusion proof is too short");
    return root;
}

Result<void> verify_inclusion(const Hash32& leaf, std::uint64_t index, std::uint64_t size,
                              std::span<const Hash32> proof, const Hash32& root) {
    TRY_ASSIGN(const Hash32 led_to, root_from_inclusion(leaf, index, size, proof));
    if (led_to != root) return bad_proof("the inclusion proof does not lead to the root");
    return {};
}

Result<void> verify_consistency(std::uint64_t old_size, std::uint64_t new_size,
                                const Hash32& old_root, const Hash32& new_root,
                                std::span<const Hash32> proof) {
    if (old_size > new_size) return bad_proof("the log became shorter");
    if (old_size == 0) {
        if (!proof.empty()) return bad_proof("the consistency proof is too long");
        if (old_root != empty_root()) return bad_proof("the empty log has another root");
        return {};
    }
    if (old_size == new_size) {
        if (!proof.empty()) return bad_proof("the consistency proof is too long");
        if (old_root != new_root) return bad_proof("two roots for one size");
        return {};
    }
    std::uint64_t node = old_size - 1;
    std::uint64_t last = new_size - 1;
    while ((node & 1) != 0) {
        node >>= 1;
        last >>= 1;
    }
    std::size_t next = 0;
    Hash32 old_led_to = old_root;
    if (!std::has_single_bit(old_size)) {
        if (proof.empty()) return bad_proof("the consistency proof is too short");
        old_led_to = proof[next++];
    }
    Hash32 new_led_to = old_led_to;
    for (; next < proof.size(); ++next) {
        if (last == 0) return bad_proof("the consistency proof is too long");
        if ((node & 1) != 0 || node == last) {
            old_led_to = node_hash(proof[next], old_led_to);
            new_led_to = node_hash(proof[next], new_led_to);
            while ((node & 1) == 0 && node != 0) {
                node >>= 1;
                last >>= 1;
            }
        } else {
            new_led_to = node_hash(new_led_to, proof[next]);
        }
        node >>= 1;
        last >>= 1;
    }
    if (last != 0) return bad_proof("the consistency proof is too short");
    if (old_led_to != old_root) return bad_proof("the consistency proof misses the old root");
    if (new_led_to != new_root) return bad_proof("the consistency proof misses the new root");
    return {};
}

}  // namespace ledger::log
