// SPDX-License-Identifier: Apache-2.0
#include "ledger/log/merkle_tree.hpp"

#include "ledger/base/hex.hpp"
#include "ledger/base/sha256.hpp"

#include <doctest/doctest.h>

#include <bit>
#include <string>
#include <vector>

namespace {

using ledger::base::Bytes;
using ledger::base::ByteView;
using ledger::base::ErrorCode;
using ledger::base::Hash32;
using ledger::log::CompactTree;
using ledger::log::MerkleTree;
using ledger::log::Proof;

Hash32 hash(const std::string& text) {
    return ledger::base::parse_fixed<Hash32>(text).value();
}

Bytes data(const std::string& text) {
    return ledger::base::parse_hex(text, 64).value();
}

/// MTH of RFC 9162, section 2.1.1, word for word: the oracle.
Hash32 slow_root(const std::vector<Hash32>& leaves, std::size_t begin, std::size_t end) {
    if (begin == end) return ledger::log::empty_root();
    if (end - begin == 1) return leaves[begin];
    const std::size_t split = std::bit_floor(end - begin - 1);
    return ledger::log::node_hash(slow_root(leaves, begin, begin + split),
                                  slow_root(leaves, begin + split, end));
}

/// PATH of RFC 9162, section 2.1.3.1.
Proof slow_path(const std::vector<Hash32>& leaves, std::size_t index, std::size_t begin,
                std::size_t end) {
    if (end - begin == 1) return {};
    const std::size_t split = std::bit_floor(end - begin - 1);
    const bool left = index < split;
    Proof proof = left ? slow_path(leaves, index, begin, begin + split)
                       : slow_path(leaves, index - split, begin + split, end);
    proof.push_back(left ? slow_root(leaves, begin + split, end)
                         : slow_root(leaves, begin, begin + split));
    return proof;
}

/// SUBPROOF of RFC 9162, section 2.1.4.1.
Proof slow_subproof(const std::vector<Hash32>& leaves, std::size_t m, std::size_t begin,
                    std::size_t end, bool known) {
    const std::size_t n = end - begin;
    if (m == n) return known ? Proof{} : Proof{slow_root(leaves, begin, end)};
    const std::size_t split = std::bit_floor(n - 1);
    Proof proof;
    if (m <= split) {
        proof = slow_subproof(leaves, m, begin, begin + split, known);
        proof.push_back(slow_root(leaves, begin + split, end));
    } else {
        proof = slow_subproof(leaves, m - split, begin + split, end, false);
        proof.push_back(slow_root(leaves, begin, begin + split));
    }
    return proof;
}

std::vector<Hash32> numbered_leaves(std::size_t count) {
    std::vector<Hash32> leaves;
    for (std::size_t i = 0; i < count; ++i)
        leaves.push_back(ledger::log::leaf_hash(ledger::base::as_bytes(std::to_string(i))));
    return leaves;
}

MerkleTree tree_of(const std::vector<Hash32>& leaves) {
    MerkleTree tree;
    for (const Hash32& leaf : leaves)
        tree.append(leaf);
    return tree;
}

Hash32 flipped(Hash32 value, std::size_t bit) {
    value.data()[bit / 8] ^= static_cast<std::uint8_t>(1U << (bit % 8));
    return value;
}

// Leaves and roots of the test data every Certificate Transparency implementation carries
// (google/certificate-transparency, merkletree/merkle_tree_test.cc).
const std::vector<std::string> kLeafData = {
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
};
const std::vector<std::string> kRoots = {
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
};

}  // namespace

TEST_CASE("merkle_tree: sizes and indices outside the tree are refused") {
    MerkleTree tree = tree_of(numbered_leaves(5));
    CHECK(tree.root_at(6).error().code() == ErrorCode::out_of_range);
    CHECK(tree.leaf(5).error().code() == ErrorCode::out_of_range);
    CHECK(tree.inclusion_proof(5, 5).error().code() == ErrorCode::out_of_range);
    CHECK(tree.inclusion_proof(0, 6).error().code() == ErrorCode::out_of_range);
    CHECK(tree.inclusion_proof(0, 0).error().code() == ErrorCode::out_of_range);
    CHECK(tree.consistency_proof(4, 6).error().code() == ErrorCode::out_of_range);
    CHECK(tree.consistency_proof(5, 4).error().code() == ErrorCode::out_of_range);
    CHECK(MerkleTree().inclusion_proof(0, 0).error().code() == ErrorCode::out_of_range);
}

TEST_CASE("compact_tree: an edge that does not fit its size is refused") {
    CHECK(!CompactTree::restore(3, {Hash32()}));
    CHECK(!CompactTree::restore(0, {Hash32()}));
    CHECK(!CompactTree::restore(4, {}));
}

TEST_CASE("merkle_tree: the empty tree has the hash of nothing") {
    const Hash32 empty = hash("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    CHECK(MerkleTree().root() == empty);
    CHECK(CompactTree().root() == empty);
    CHECK(tree_of(numbered_leaves(3)).root_at(0).value() == empty);
}

TEST_CASE("merkle_tree: agrees with the Certificate Transparency vectors") {
    MerkleTree tree;
    CompactTree compact;
    for (std::size_t i = 0; i < kLeafData.size(); ++i) {
        CHECK(tree.append_data(data(kLeafData[i])) == i);
        compact.append_data(data(kLeafData[i]));
        CHECK(tree.root() == hash(kRoots[i]));
        CHECK(compact.root() == hash(kRoots[i]));
    }
    CHECK(tree.inclusion_proof(5, 8).value() ==
          Proof{hash("bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"),
                hash("ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"),
                hash("d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7")});
    CHECK(tree.inclusion_proof(2, 3).value() ==
          Proof{hash("fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125")});
    CHECK(tree.consistency_proof(6, 8).value() ==
          Proof{hash("0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a"),
                hash("ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"),
                hash("d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7")});
}

TEST_CASE("merkle_tree: roots and inclusion proofs of every leaf up to 256 leaves") {
    constexpr std::size_t kMost = 256;
    const std::vector<Hash32> leaves = numbered_leaves(kMost);
    const MerkleTree tree = tree_of(leaves);
    CompactTree compact;
    for (std::size_t n = 1; n <= kMost; ++n) {
        compact.append(leaves[n - 1]);
        const Hash32 root = tree.root_at(n).value();
        REQUIRE(root == compact.root());
        if (n <= 64) REQUIRE(root == slow_root(leaves, 0, n));
        REQUIRE(CompactTree::restore(n, compact.peaks()).value() == compact);
        for (std::size_t i = 0; i < n; ++i) {
            const Proof proof = tree.inclusion_proof(i, n).value();
            if (n <= 33) REQUIRE(proof == slow_path(leaves, i, 0, n));
            REQUIRE(ledger::log::verify_inclusion(leaves[i], i, n, proof, root));
            // Another index or size of the same proof never holds, unless the path is the same.
            REQUIRE(!ledger::log::verify_inclusion(leaves[i], i + 1, n, proof, root));
        }
    }
    CHECK(compact.root() == tree.root());
}

TEST_CASE("merkle_tree: consistency proofs of every pair of sizes up to 256") {
    constexpr std::size_t kMost = 256;
    const std::vector<Hash32> leaves = numbered_leaves(kMost);
    const MerkleTree tree = tree_of(leaves);
    for (std::size_t n = 0; n <= kMost; ++n) {
        const Hash32 new_root = tree.root_at(n).value();
        for (std::size_t m = 0; m <= n; ++m) {
            const Hash32 old_root = tree.root_at(m).value();
            const Proof proof = tree.consistency_proof(m, n).value();
            if (m > 0 && n <= 33) REQUIRE(proof == slow_subproof(leaves, m, 0, n, true));
            REQUIRE(ledger::log::verify_consistency(m, n, old_root, new_root, proof));
            if (m == 0 || m == n) continue;
            REQUIRE(!ledger::log::verify_consistency(m, n, new_root, new_root, proof));
            REQUIRE(!ledger::log::verify_consistency(m, n, old_root, old_root, proof));
            REQUIRE(!ledger::log::verify_consistency(n, m, old_root, new_root, proof));
        }
    }
}

TEST_CASE("merkle_tree: every flipped bit of a proof, leaf or root is refused") {
    const std::vector<Hash32> leaves = numbered_leaves(23);
    const MerkleTree tree = tree_of(leaves);
    const Hash32 root = tree.root();
    for (std::size_t i = 0; i < leaves.size(); ++i) {
        const Proof proof = tree.inclusion_proof(i, 23).value();
        for (std::size_t bit = 0; bit < 256; ++bit) {
            REQUIRE(!ledger::log::verify_inclusion(flipped(leaves[i], bit), i, 23, proof, root));
            REQUIRE(!ledger::log::verify_inclusion(leaves[i], i, 23, proof, flipped(root, bit)));
            for (std::size_t step = 0; step < proof.size(); ++step) {
                Proof bad = proof;
                bad[step] = flipped(bad[step], bit);
                REQUIRE(!ledger::log::verify_inclusion(leaves[i], i, 23, bad, root));
            }
        }
    }
    for (const std::size_t m : {1U, 7U, 8U, 16U, 22U}) {
        const Hash32 old_root = tree.root_at(m).value();
        const Proof proof = tree.consistency_proof(m, 23).value();
        for (std::size_t step = 0; step < proof.size(); ++step) {
            for (std::size_t bit = 0; bit < 256; ++bit) {
                Proof bad = proof;
                bad[step] = flipped(bad[step], bit);
                REQUIRE(!ledger::log::verify_consistency(m, 23, old_root, root, bad));
            }
        }
    }
}

TEST_CASE("merkle_tree: a proof one step too long or too short is refused") {
    const std::vector<Hash32> leaves = numbered_leaves(13);
    const MerkleTree tree = tree_of(leaves);
    for (std::size_t i = 0; i < leaves.size(); ++i) {
        Proof proof = tree.inclusion_proof(i, 13).value();
        proof.push_back(Hash32());
        CHECK(!ledger::log::verify_inclusion(leaves[i], i, 13, proof, tree.root()));
        proof.resize(proof.size() - 2);
        CHECK(!ledger::log::verify_inclusion(leaves[i], i, 13, proof, tree.root()));
    }
    for (std::size_t m = 1; m < 13; ++m) {
        Proof proof = tree.consistency_proof(m, 13).value();
        const Hash32 old_root = tree.root_at(m).value();
        proof.push_back(Hash32());
        CHECK(!ledger::log::verify_consistency(m, 13, old_root, tree.root(), proof));
        proof.resize(proof.size() - 2);
        CHECK(!ledger::log::verify_consistency(m, 13, old_root, tree.root(), proof));
    }
    CHECK(!ledger::log::verify_inclusion(leaves[0], 0, 0, {}, leaves[0]));
    CHECK(!ledger::log::verify_consistency(0, 5, leaves[0], tree.root(), {}));
    CHECK(!ledger::log::verify_consistency(5, 5, leaves[0], leaves[1], {}));
}

TEST_CASE("merkle_tree: sizes near 2^64 do not loop or overflow") {
    const Hash32 root;
    CHECK(!ledger::log::verify_inclusion(root, UINT64_MAX - 1, UINT64_MAX, {}, root));
    CHECK(!ledger::log::verify_consistency(UINT64_MAX - 1, UINT64_MAX, root, root, {}));
    const Proof long_proof(200);
    CHECK(!ledger::log::verify_inclusion(root, UINT64_MAX - 1, UINT64_MAX, long_proof, root));
}
