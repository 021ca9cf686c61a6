// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"
#include "worker/model/forward_pass.hpp"

#include <cstdint>
#include <span>
#include <vector>

namespace worker::model {

/// Rows of a text that goes through a decoder alone, in one call: bounds the working memory.
constexpr std::size_t kChunkRows = 128;

enum class Pooling : std::uint8_t { kMean = 0, kLast = 1 };

/// One vector of length 1, [width], for a text: its normed last hidden states, their mean or the
/// last. The same bits whatever else the decoder does. context_length_exceeded outside of 1 to
/// context tokens, out_of_range for a token that the model lacks; queue_full and too_large as
/// KvCache::begin.
[[nodiscard]] ledger::base::Result<std::vector<float>> embed_text(
    ForwardPass& decoder, const DecoderConfig& config, KvCache& cache,
    std::span<const std::uint32_t> tokens, Pooling pooling);

}  // namespace worker::model
