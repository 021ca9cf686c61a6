// SPDX-License-Identifier: Apache-2.0
#include "worker/kernels/attention.hpp"

#include "tests/unit/worker/kernels/fixture.hpp"
#include "worker/kernels/number_formats.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <limits>

using namespace worker::kernels;
using kernel_tests::kSeed;
using kernel_tests::normals;

namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

struct Case {
    KvType type;
    std::size_t kv_heads;
    std::size_t share;  // query heads per key-value head
    std::size_t head_size;
};

/// A sequence's keys and values, plain and in pages that lie in no order, a layer's block behind
/// 128 bytes of something else; places never stored hold NaN.
class Sequence {
 public:
    Sequence(const Case& c, std::size_t tokens, std::uint64_t seed)
        : shape{c.type, c.kv_heads, c.head_size},
          keys(normals(seed, tokens * c.kv_heads * c.head_size)),
          values(normals(seed + 1, tokens * c.kv_heads * c.head_size)) {
        const std::size_t count = (tokens + KvShape::kPageTokens - 1) / KvShape::kPageTokens;
        const std::size_t stride = kOffset + shape.page_bytes();
        memory.assign(count * stride / sizeof(float), kNan);
        auto* base = reinterpret_cast<std::byte*>(memory.data());
        for (std::size_t p = 0; p < count; ++p)
            pages.push_back(base + (count - 1 - p) * stride);
        const std::size_t width = c.kv_heads * c.head_size;
        for (std::size_t t = 0; t < tokens; ++t)
            store_kv(shape, keys.data() + t * width, values.data() + t * width,
                     const_cast<std::byte*>(pages[t / KvShape::kPageTokens]) + kOffset,
                     t % KvShape::kPageTokens);
    }

    static constexpr std::size_t kOffset = 128;
    KvShape shape;
    std::vector<float> keys;
    std::vector<float> values;
    std::vector<float> memory;
    std::vector<const std::byte*> pages;
};

double kept(KvType type, float value) {
    return static_cast<double>(type == KvType::kF32 ? value : from_bf16(to_bf16(value)));
}

/// One query head by the definition, in double.
std::vector<double> oracle(const Sequence& s, const float* query, std::size_t kv_head,
                           std::size_t begin, std::size_t end, double scale) {
    const std::size_t size = s.shape.head_size;
    const std::size_t width = s.shape.heads * size;
    std::vector<double> scores;
    for (std::size_t t = begin; t < end; ++t) {
        double dot = 0.0;
        for (std::size_t i = 0; i < size; ++i)
            dot += static_cast<double>(query[i]) *
                   kept(s.shape.type, s.keys[t * width + kv_head * size + i]);
        scores.push_back(dot * scale);
    }
    const double top = *std::max_element(scores.begin(), scores.end());
    double total = 0.0;
    for (double& score : scores) {
        score = std::exp(score - top);
        total += score;
    }
    std::vector<double> out(size, 0.0);
    for (std::size_t t = begin; t < end; ++t)
        for (std::size_t i = 0; i < size; ++i)
            out[i] += scores[t - begin] / total *
                      kept(s.shape.type, s.values[t * width + kv_head * size + i]);
    return out;
}

constexpr Case kCases[] = {{KvType::kF32, 1, 1, 1},   {KvType::kF32, 2, 3, 20},
                           {KvType::kBf16, 3, 1, 7},  {KvType::kBf16, 4, 8, 64},
                           {KvType::kF32, 2, 2, 128}, {KvType::kBf16, 1, 5, 80}};

}  // namespace

TEST_CASE("attention: agrees with the definition in double, windows included") {
    for (const std::size_t threads : {1U, 2U}) {
        Pool pool(threads);
        for (const Case& c : kCases) {
            CAPTURE(c.head_size);
            CAPTURE(kSeed);
            const std::size_t tokens = 150;
            const Sequence s(c, tokens, kSeed);
            const std::size_t query_heads = c.kv_heads * c.share;
            const std::size_t width = query_heads * c.head_size;
            struct Range {
                std::size_t begin;
                std::size_t end;
            };
            const std::vector<Range> ranges{{0, 1},     {0, 15},    {0, 16},  {0, 17},   {0, 64},
                                            {0, 65},    {0, 150},   {1, 2},   {15, 17},  {16, 32},
                                            {33, 75},   {63, 64},   {64, 65}, {63, 129}, {70, 140},
                                            {127, 128}, {149, 150}, {5, 70}};
            const auto queries = normals(kSeed + 7, ranges.size() * width, 2.0);
            std::vector<float> out(queries.size(), -1.0F);
            std::vector<AttentionRow> rows;
            for (std::size_t r = 0; r < ranges.size(); ++r)
                rows.push_back({queries.data() + r * width, out.data() + r * width, s.pages,
                                Sequence::kOffset, ranges[r].begin, ranges[r].end});
            const float scale = 0.3F;
            attention(s.shape, query_heads, scale, rows, pool);
            for (std::size_t r = 0; r < ranges.size(); ++r)
                for (std::size_t h = 0; h < query_heads; ++h) {
                    const std::size_t at = r * width + h * c.head_size;
                    const auto want = oracle(s, queries.data() + at, h / c.share, ranges[r].begin,
                                             ranges[r].end, static_cast<double>(scale));
                    for (std::size_t i = 0; i < c.head_size; ++i)
                        REQUIRE(std::abs(static_cast<double>(out[at + i]) - want[i]) < 5e-6);
                }
        }
    }
}

TEST_CASE("attention: a row has the same bits alone, in any batch and on any number of threads") {
    Pool one(1);
    Pool three(3);
    for (const Case& c : kCases) {
        const std::size_t tokens = 140;
        const Sequence s(c, tokens, kSeed);
        const Sequence other(c, 20, kSeed + 9);
        const std::size_t query_heads = c.kv_heads * c.share;
        const std::size_t width = query_heads * c.head_size;
        const auto queries = normals(kSeed + 7, tokens * width);
        std::vector<float> together(queries.size());
        std::vector<float> alone(queries.size());
        std::vector<float> aside(width);
        std::vector<AttentionRow> rows;
        for (std::size_t t = 0; t < tokens; ++t) {
            rows.push_back({queries.data() + t * width, together.data() + t * width, s.pages,
                            Sequence::kOffset, 0, t + 1});
            if (t == 11)
                rows.push_back(
                    {queries.data(), aside.data(), other.pages, Sequence::kOffset, 2, 19});
        }
        attention(s.shape, query_heads, 0.5F, rows, three);
        for (std::size_t t = 0; t < tokens; ++t) {
            const AttentionRow row{queries.data() + t * width,
                                   alone.data() + t * width,
                                   s.pages,
                                   Sequence::kOffset,
                                   0,
                                   t + 1};
            attention(s.shape, query_heads, 0.5F, std::span(&row, 1), one);
        }
        CHECK(kernel_tests::same_bits(together, alone));
    }
}

TEST_CASE("attention: NaN in what a row sees reaches its output; what it does not see does not") {
    Pool pool(2);
    const Case c{KvType::kBf16, 1, 2, 16};
    for (const bool in_key : {true, false}) {
        Sequence s(c, 40, kSeed);
        auto key = normals(kSeed, 16);
        auto value = normals(kSeed, 16);
        (in_key ? key : value)[3] = kNan;
        store_kv(s.shape, key.data(), value.data(),
                 const_cast<std::byte*>(s.pages[1]) + Sequence::kOffset, 4);
        const auto query = normals(kSeed, 32);
        const auto nans = [&](std::size_t begin, std::size_t end) {
            std::vector<float> out(32);
            const AttentionRow row{query.data(),      out.data(), s.pages,
                                   Sequence::kOffset, begin,      end};
            attention(s.shape, 2, 1.0F, std::span(&row, 1), pool);
            return std::count_if(out.begin(), out.end(), [](float v) { return std::isnan(v); });
        };
        CHECK(nans(0, 20) == 0);
        CHECK(nans(21, 40) == 0);
        CHECK(nans(0, 21) == (in_key ? 32 : 2));
        CHECK(nans(20, 40) == (in_key ? 32 : 2));
    }
}

TEST_CASE("attention: scores far apart neither overflow nor lose the largest") {
    Pool pool(1);
    const Case c{KvType::kF32, 1, 1, 16};
    const std::size_t tokens = 64;
    Sequence s(c, tokens, kSeed);
    for (const std::size_t peak : {0U, 20U, 63U}) {
        for (std::size_t t = 0; t < tokens; ++t) {
            const std::vector<float> key(16, t == peak ? 50.0F : -50.0F);
            const std::vector<float> value(16, static_cast<float>(t));
            store_kv(s.shape, key.data(), value.data(),
                     const_cast<std::byte*>(s.pages[t / 16]) + Sequence::kOffset, t % 16);
        }
        const std::vector<float> query(16, 40.0F);
        std::vector<float> out(16);
        const AttentionRow row{query.data(), out.data(), s.pages, Sequence::kOffset, 0, tokens};
        attention(s.shape, 1, 1.0F, std::span(&row, 1), pool);
        for (const float value : out)
            CHECK(value == static_cast<float>(peak));
    }
}
