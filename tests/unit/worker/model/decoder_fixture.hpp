// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tests/unit/worker/model/fixture.hpp"
#include "tests/unit/worker/model/random_model.hpp"
#include "worker/model/decoder.hpp"
#include "worker/model/hf_config.hpp"
#include "worker/model/model_folder.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <vector>

namespace worker::model::test {

using Tokens = std::vector<std::uint32_t>;
using Floats = std::vector<float>;

inline ledger::base::Result<std::shared_ptr<const DecoderModel>> load_folder(
    const std::filesystem::path& folder, kernels::WeightFormat format, kernels::Pool& pool) {
    TRY_ASSIGN(PublishedModel published, load_published(folder, format, pool));
    return std::move(published.model);
}

/// A model folder written, loaded and ready to run.
struct Running {
    explicit Running(const RandomModel& model, Dtype dtype = Dtype::kF32, std::size_t shards = 1,
                     kernels::WeightFormat format = kernels::WeightFormat::kF32,
                     std::size_t threads = 1)
        : pool(threads) {
        const TempDir dir;
        write_model(model, dir.path(), dtype, shards);
        auto loaded = load_folder(dir.path(), format, pool);
        REQUIRE_MESSAGE(loaded.has_value(), loaded.error().message());
        weights = *loaded;
        cache = std::make_unique<KvCache>(weights->config, KvCache::Options{64});
        decoder = std::make_unique<Decoder>(weights, *cache, pool);
    }
    KvSequence begin(const Tokens& tokens) const {
        auto sequence = cache->begin(tokens, tokens.size());
        REQUIRE_MESSAGE(sequence.has_value(), sequence.error().message());
        return std::move(*sequence);
    }
    /// Logits [tokens][vocab], fed `chunk` tokens at a time.
    Floats run(const Tokens& tokens, std::size_t chunk) {
        KvSequence sequence = begin(tokens);
        REQUIRE(sequence.reused() == 0);
        Floats out;
        for (std::size_t first = 0; first < tokens.size(); first += chunk) {
            std::vector<DecoderRow> rows;
            for (std::size_t i = first; i < std::min(first + chunk, tokens.size()); ++i)
                rows.push_back({tokens[i], static_cast<std::uint32_t>(i), &sequence, true});
            const auto logits = decoder->logits(rows);
            out.insert(out.end(), logits.begin(), logits.end());
        }
        return out;
    }

    kernels::Pool pool;
    std::shared_ptr<const DecoderModel> weights;
    std::unique_ptr<KvCache> cache;
    std::unique_ptr<Decoder> decoder;
};

inline Tokens some_tokens(std::size_t count, std::uint32_t vocab, std::uint32_t start = 5) {
    Tokens out;
    for (std::uint32_t i = 0; i < count; ++i)
        out.push_back((start + i * 31 + i * i) % vocab);
    return out;
}

/// Largest difference over the largest expected value.
inline double worst_error(const Floats& got, const std::vector<double>& expected) {
    REQUIRE(got.size() == expected.size());
    double worst = 0;
    double scale = 0;
    for (std::size_t i = 0; i < got.size(); ++i) {
        const double difference = std::abs(static_cast<double>(got[i]) - expected[i]);
        if (!(difference <= worst)) worst = difference;  // a NaN stays
        scale = std::max(scale, std::abs(expected[i]));
    }
    return worst / scale;
}

inline double cosine(const Floats& a, const std::vector<double>& b) {
    REQUIRE(a.size() == b.size());
    double ab = 0;
    double aa = 0;
    double bb = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
        const auto x = static_cast<double>(a[i]);
        ab += x * b[i];
        aa += x * x;
        bb += b[i] * b[i];
    }
    return ab / std::sqrt(aa * bb);
}

}  // namespace worker::model::test
