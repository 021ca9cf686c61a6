// SPDX-License-Identifier: Apache-2.0
#include "worker/kernels/attention.hpp"

#include "worker/kernels/number_formats.hpp"
#include "worker/kernels/row_ops.hpp"

#include <algorithm>
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
float get(KvType type, const std::byte* block, std::size_t index) {
    if (type == KvType::kF32) {
        float value = 0;
        std::memcpy(&value, block + 4 * index, 4);
        return value;
    }
    std::uint16_t bits = 0;
    std::memcpy(&bits, block + 2 * index, 2);
    return from_bf16(bits);
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
    std::size_t longest = 0;
    for (const AttentionRow& row : rows)
        longest = std::max(longest, row.end - row.begin);
    auto* all_scores =
        reinterpret_cast<float*>(pool.scratch(pool.threads() * longest * sizeof(float)).data());
    const std::size_t size = shape.head_size;
    const std::size_t share = query_heads / shape.heads;
    pool.run(rows.size() * query_heads, [&](std::size_t begin, std::size_t end,
                                            std::size_t thread) {
        float* scores = all_scores + thread * longest;
        for (std::size_t item = begin; item < end; ++item) {
            const AttentionRow& row = rows[item / query_heads];
            const std::size_t h = item % query_heads;
            const auto block = [&](std::size_t token) {
                return row.pages[token / kPageTokens] + row.offset;
            };
            for (std::size_t t = row.begin; t < row.end; ++t) {
                float sum = 0;
                for (std::size_t i = 0; i < size; ++i)
                    sum += row.query[h * size + i] *
                           get(shape.type, block(t), key_at(shape, h / share, t % kPageTokens, i));
                scores[t - row.begin] = sum * scale;
            }
            softmax(scores, row.end - row.begin);
            float* out = row.out + h * size;
            std::fill_n(out, size, 0.0F);
            for (std::size_t t = row.begin; t < row.end; ++t)
                for (std::size_t i = 0; i < size; ++i)
                    out[i] +=
                        scores[t - row.begin] *
                        get(shape.type, block(t), value_at(shape, h / share, t % kPageTokens, i));
        }
    });
}

}  // namespace worker::kernels
