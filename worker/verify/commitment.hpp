// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/bytes.hpp"
#include "ledger/base/result.hpp"
#include "worker/model/safetensors.hpp"

#include <cstdint>
#include <string>
#include <vector>

/// Ties a job's state to one hash, opens pieces of it, and re-runs segments to check them.
namespace worker::verify {

/// Size of one committed piece of a tensor: 256 fp32 values.
inline constexpr std::size_t kChunkBytes = 1024;

/// Merkle root with the log's rule (RFC 9162): leaf SHA-256(0x00 ‖ data), node SHA-256(0x01 ‖ l ‖
/// r).
[[nodiscard]] ledger::base::Hash32 merkle_root(const std::vector<ledger::base::Bytes>& leaves);

/// Root over the chunks of a tensor's bytes.
[[nodiscard]] ledger::base::Hash32 chunk_root(ledger::base::ByteView data);

/// Root over SHA-256(name ‖ 0 ‖ dtype ‖ 0 ‖ shape ‖ chunk root) of all tensors, sorted by name: the
/// identity of a state whatever file it lies in.
[[nodiscard]] ledger::base::Hash32 state_root(const model::SafetensorsIndex& state);

/// Opens one chunk of a tensor against its chunk root.
struct ChunkProof {
    std::uint64_t index = 0;
    std::uint64_t count = 0;  // chunks of the tensor
    std::vector<ledger::base::Hash32> path;
};
/// out_of_range when the tensor has no such chunk.
[[nodiscard]] ledger::base::Result<ChunkProof> prove_chunk(ledger::base::ByteView data,
                                                           std::uint64_t index);
/// audit_failed when the chunk is not the one committed.
[[nodiscard]] ledger::base::Result<void> verify_chunk(const ledger::base::Hash32& root,
                                                      const ChunkProof& proof,
                                                      ledger::base::ByteView chunk);

}  // namespace worker::verify
