// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/model/kv_cache.hpp"

#include <cstdint>
#include <span>

namespace worker::model {

/// One token on its way through the model.
struct DecoderRow {
    std::uint32_t token = 0;     // below vocab
    std::uint32_t position = 0;  // below the sequence's capacity and the model's context
    KvSequence* sequence = nullptr;
    bool wanted = false;  // its result is asked for
};

/// The forward pass of any decoder over a batch of rows from any sequences. A row's result has the
/// same bits whatever else is in the batch and however a prompt is cut. Not thread-safe.
class ForwardPass {
 public:
    virtual ~ForwardPass() = default;
    /// Logits [wanted rows][vocab], in row order, until the next call. Rows of one sequence come in
    /// ascending position; the keys and values of all positions before them are stored or in
    /// `rows`.
    [[nodiscard]] virtual std::span<const float> logits(std::span<const DecoderRow> rows) = 0;
    /// The normed last hidden states [wanted rows][width] instead.
    [[nodiscard]] virtual std::span<const float> hidden(std::span<const DecoderRow> rows) = 0;
};

}  // namespace worker::model
