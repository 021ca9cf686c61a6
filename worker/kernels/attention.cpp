// SPDX-License-Identifier: Apache-2.0
#include "worker/kernels/attention.hpp"

#include "worker/kernels/kernel_table.hpp"
#include "worker/kernels/number_formats.hpp"

#include <cstring>

namespace worker::kernels {

namespace {

constexpr std::size_t kPageTokens = KvShape::kPageTokens;

std::size_t padded_head(const KvShape& shape) {
    return (shape.head_size + 15) / 16 * 16;
}
std::size_t number_bytes(KvType type) {
    return type == KvType::kF32 ? 4 : 2;
}

// A block holds [heads] keys [head_size][token], then [heads] values [token][head_size].
std::size_t key_at(const KvShape& shape, std::size_t head, std::size_t token, std::size_t i) {
    return (head * padded_head(shape) + i) * kPageTokens + token;
}
std::size_t value_at(const KvShape& shape, std::size_t head, std::size_t token, std::size_t i) {
    return ((shape.heads + head) * kPageTokens + token) * padded_head(shape) + i;
}

void put(KvType type, std::byte* block, std::size_t index, float value) {
    if (type == KvType::kF32) {
        std::memcpy(block + 4 * index, &value, 4);
    } else {
        const std::uint16_t bits = to_bf16(value);
        std::memcpy(block + 2 * index, &bits, 2);
    }
}
}  // namespace

std::size_t KvShape::page_bytes() const noexcept {
    return 2 * heads * kPageTokens * padded_head(*this) * number_bytes(type);
}

void store_kv(const KvShape& shape, const float* keys, const float* values, std::byte* block,
              std::size_t token) {
    for (std::size_t head = 0; head < shape.heads; ++head)
        for (std::size_t i = 0; i < padded_head(shape); ++i) {
            const bool inside = i < shape.head_size;
            const std::size_t from = head * shape.head_size + i;
            put(shape.type, block, key_at(shape, head, token, i), inside ? keys[from] : 0.0F);
            put(shape.type, block, value_at(shape, head, token, i), inside ? values[from] : 0.0F);
        }
}

void attention(const KvShape& shape, std::size_t query_heads, float scale,
               std::span<const AttentionRow> rows, Pool& pool) {
    const KernelTable& table = kernels();
    const std::size_t size = shape.head_size;
    const std::size_t share = query_heads / shape.heads;
    const std::size_t bytes = number_bytes(shape.type);
    const std::size_t thread_floats = 2 * padded_head(shape);
    auto* scratch = reinterpret_cast<float*>(
        pool.scratch(pool.threads() * thread_floats * sizeof(float)).data());
    pool.run(rows.size() * shape.heads,
             [&](std::size_t begin, std::size_t end, std::size_t thread) {
                 for (std::size_t item = begin; item < end; ++item) {
                     const AttentionRow& row = rows[item / shape.heads];
                     const std::size_t head = item % shape.heads;
                     AttentionJob job{};
                     job.type = shape.type;
                     job.head_size = size;
                     job.padded_head = padded_head(shape);
                     job.key_bytes = row.offset + bytes * key_at(shape, head, 0, 0);
                     job.value_bytes = row.offset + bytes * value_at(shape, head, 0, 0);
                     job.queries = share;
                     job.query = row.query + head * share * size;
                     job.out = row.out + head * share * size;
                     job.pages = row.pages.data();
                     job.begin = row.begin;
                     job.end = row.end;
                     job.scale = scale;
                     job.scratch = scratch + thread * thread_floats;
                     table.attention(job);
                 }
             });
}

}  // namespace worker::kernels
