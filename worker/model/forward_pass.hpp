// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/model/kv_cache.hpp"
#include "worker/model/shortlist.hpp"

#include <cstddef>
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
    /// As `logits`, for who chooses tokens: a list of each wanted row as its wish has it, or
    /// nothing from a decoder whose logits are in this memory anyway.
    [[nodiscard]] virtual std::span<const Shortlist> shorten(
        std::span<const DecoderRow> rows, std::span<const ShortlistWish> wishes) = 0;
    /// The logits [vocab] of a wanted row of the last call, which was `shorten`; until the next.
    [[nodiscard]] virtual std::span<const float> row(std::size_t wanted) = 0;
    /// The normed last hidden states [wanted rows][width] instead.
    [[nodiscard]] virtual std::span<const float> hidden(std::span<const DecoderRow> rows) = 0;
};

}  // namespace worker::model
