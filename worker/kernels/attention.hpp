// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/kernels/pool.hpp"

#include <cstddef>
#include <cstdint>
#include <span>

namespace worker::kernels {

/// How keys and values are kept. bf16 halves the memory and what a token reads.
enum class KvType : std::uint8_t { kF32 = 0, kBf16 = 1 };

/// The keys and values of `kPageTokens` neighbouring tokens of one layer are one block of
/// page_bytes() bytes, 64-byte aligned; what lies where in it is this room's business. A block can
/// be copied.
struct KvShape {
    static constexpr std::size_t kPageTokens = 16;

    KvType type = KvType::kF32;
    std::size_t heads = 0;      ///< key-value heads
    std::size_t head_size = 0;  ///< numbers in a head

    [[nodiscard]] std::size_t page_bytes() const noexcept;
};

/// Puts one token's keys and values, [heads][head_size] each, into place `token` (below
/// kPageTokens) of a block. Rounds to nearest even; NaN stays NaN.
void store_kv(const KvShape& shape, const float* keys, const float* values, std::byte* block,
              std::size_t token);

/// One query row: it sees the tokens [begin, end) of its sequence, begin < end. Token t lies in
/// place t mod kPageTokens of the block at pages[t / kPageTokens] + offset. `pages` reaches the
/// last token; entries of pages that lie wholly before `begin` are not read.
struct AttentionRow {
    const float* query = nullptr;  ///< [query heads][head_size]
    float* out = nullptr;          ///< the same shape; overlaps nothing
    std::span<const std::byte* const> pages;
    std::size_t offset = 0;  ///< bytes, a multiple of 64: a layer's block within a page
    std::size_t begin = 0;   ///< above 0 with a sliding window
    std::size_t end = 0;
};

/// out = softmax(scale · q·kᵀ) · v for each row and query head; query heads are a multiple of the
/// key-value heads, and query head h reads key-value head h / (query_heads / heads). A row's result
/// has the same bits whatever the other rows and the pool's threads.
void attention(const KvShape& shape, std::size_t query_heads, float scale,
               std::span<const AttentionRow> rows, Pool& pool);

}  // namespace worker::kernels
