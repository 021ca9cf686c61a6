// SPDX-License-Identifier: Apache-2.0
#include "worker/model/embeddings.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace worker::model {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

Result<std::vector<float>> embed_text(ForwardPass& decoder, const DecoderConfig& config,
                                      KvCache& cache, std::span<const std::uint32_t> tokens,
                                      Pooling pooling) {
    if (tokens.empty() || tokens.size() > config.context)
        return fail(ErrorCode::context_length_exceeded, "a text has 1 to context tokens");
    if (std::any_of(tokens.begin(), tokens.end(), [&](auto t) { return t >= config.vocab; }))
        return fail(ErrorCode::out_of_range, "no such token");
    // A mean needs every row, so nothing is taken over from earlier texts.
    TRY_ASSIGN(KvSequence sequence, pooling == Pooling::kMean ? cache.begin({}, tokens.size())
                                                              : cache.begin(tokens, tokens.size()));
    std::vector<double> sum(config.width);
    std::vector<DecoderRow> rows;
    for (std::size_t first = sequence.reused(); first < tokens.size(); first += kChunkRows) {
        rows.clear();
        for (std::size_t i = first; i < std::min(first + kChunkRows, tokens.size()); ++i)
            rows.push_back({tokens[i], static_cast<std::uint32_t>(i), &sequence,
                            pooling == Pooling::kMean || i + 1 == tokens.size()});
        const std::span<const float> hidden = decoder.hidden(rows);
        for (std::size_t i = 0; i < hidden.size(); ++i)
            sum[i % config.width] += static_cast<double>(hidden[i]);
    }
    double squares = 0;
    for (const double value : sum)
        squares += value * value;
    const double scale = squares > 0 ? 1.0 / std::sqrt(squares) : 0.0;
    std::vector<float> out(config.width);
    for (std::size_t i = 0; i < out.size(); ++i)
        out[i] = static_cast<float>(sum[i] * scale);
    return out;
}

}  // namespace worker::model
