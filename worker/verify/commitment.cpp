// SPDX-License-Identifier: Apache-2.0
#include "worker/verify/commitment.hpp"

#include "ledger/base/sha256.hpp"

#include <algorithm>
#include <bit>
#include <string_view>

namespace worker::verify {

using ledger::base::as_bytes;
using ledger::base::Bytes;
using ledger::base::ByteView;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Hash32;
using ledger::base::Result;
using ledger::base::Sha256;

namespace {

Hash32 leaf_hash(ByteView data) {
    Sha256 hash;
    const std::uint8_t tag = 0;
    hash.update({&tag, 1});
    hash.update(data);
    return hash.finish();
}

Hash32 node_hash(const Hash32& left, const Hash32& right) {
    Sha256 hash;
    const std::uint8_t tag = 1;
    hash.update({&tag, 1});
    hash.update(left.span());
    hash.update(right.span());
    return hash.finish();
}

/// One level up; the last of an odd count is promoted, which gives RFC 9162's tree.
std::vector<Hash32> parents(const std::vector<Hash32>& level) {
    std::vector<Hash32> out;
    out.reserve((level.size() + 1) / 2);
    for (std::size_t i = 0; i + 1 < level.size(); i += 2)
        out.push_back(node_hash(level[i], level[i + 1]));
    if (level.size() % 2 == 1) out.push_back(level.back());
    return out;
}

Hash32 root_of(std::vector<Hash32> level) {
    if (level.empty()) return ledger::base::sha256({});
    while (level.size() > 1)
        level = parents(level);
    return level.front();
}

std::vector<Hash32> chunk_hashes(ByteView data) {
    std::vector<Hash32> out;
    for (std::size_t begin = 0; begin < data.size(); begin += kChunkBytes)
        out.push_back(leaf_hash(data.subspan(begin, std::min(kChunkBytes, data.size() - begin))));
    return out;
}

}  // namespace

Hash32 merkle_root(const std::vector<Bytes>& leaves) {
    std::vector<Hash32> level;
    level.reserve(leaves.size());
    for (const Bytes& leaf : leaves)
        level.push_back(leaf_hash(leaf));
    return root_of(std::move(level));
}

Hash32 chunk_root(ByteView data) {
    return root_of(chunk_hashes(data));
}

Hash32 state_root(const model::SafetensorsIndex& state) {
    std::vector<const model::TensorView*> sorted;
    for (const model::TensorView& tensor : state.tensors)
        sorted.push_back(&tensor);
    std::sort(sorted.begin(), sorted.end(),
              [](const auto* a, const auto* b) { return a->name < b->name; });
    std::vector<Hash32> level;
    for (const model::TensorView* tensor : sorted) {
        Bytes data(tensor->name.begin(), tensor->name.end());
        data.push_back(0);
        ledger::base::append(data, as_bytes(model::to_string(tensor->dtype)));
        data.push_back(0);
        for (const std::int64_t extent : tensor->shape)
            for (unsigned shift = 0; shift < 64; shift += 8)
                data.push_back(
                    static_cast<std::uint8_t>(static_cast<std::uint64_t>(extent) >> shift));
        ledger::base::append(data, chunk_root(tensor->data).span());
        level.push_back(leaf_hash(data));
    }
    return root_of(std::move(level));
}

Result<ChunkProof> prove_chunk(ByteView data, std::uint64_t index) {
    std::vector<Hash32> level = chunk_hashes(data);
    if (index >= level.size()) return fail(ErrorCode::out_of_range, "the tensor has no such chunk");
    ChunkProof proof{index, level.size(), {}};
    while (level.size() > 1) {
        const std::uint64_t sibling = index ^ 1U;
        if (sibling < level.size()) proof.path.push_back(level[sibling]);
        level = parents(level);
        index /= 2;
    }
    return proof;
}

Result<void> verify_chunk(const Hash32& root, const ChunkProof& proof, ByteView chunk) {
    const auto refused = [] {
        return fail(ErrorCode::audit_failed, "the chunk is not the one committed");
    };
    if (proof.index >= proof.count || chunk.empty() || chunk.size() > kChunkBytes) return refused();
    if (proof.index + 1 < proof.count && chunk.size() != kChunkBytes) return refused();
    Hash32 hash = leaf_hash(chunk);
    std::uint64_t index = proof.index;
    std::uint64_t size = proof.count;
    std::size_t used = 0;
    while (size > 1) {
        if ((index ^ 1U) < size) {
            if (used == proof.path.size()) return refused();
            const Hash32& sibling = proof.path[used++];
            hash = index % 2 == 0 ? node_hash(hash, sibling) : node_hash(sibling, hash);
        }
        index /= 2;
        size = (size + 1) / 2;
    }
    if (used != proof.path.size() || hash != root) return refused();
    return {};
}

}  // namespace worker::verify
