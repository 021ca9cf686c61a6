// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/kernels/pool.hpp"
#include "worker/model/decoder_model.hpp"
#include "worker/model/kv_cache.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace worker::model {

/// One token on its way through the model.
struct DecoderRow {
    std::uint32_t token = 0;     // below vocab
    std::uint32_t position = 0;  // below the sequence's capacity and the model's context
    KvSequence* sequence = nullptr;
    bool wanted = false;  // its result is asked for
};

/// The forward pass of any decoder over a batch of rows from any sequences. A row's result has the
/// same bits whatever else is in the batch, however a prompt is cut, and with any number of
/// threads. Not thread-safe; the model may be shared by many.
class Decoder {
 public:
    /// `cache` has this model's shape. `cache` and `pool` outlive the decoder.
    Decoder(std::shared_ptr<const DecoderModel> model, KvCache& cache, kernels::Pool& pool);

    /// Logits [wanted rows][vocab], in row order, until the next call. Rows of one sequence come in
    /// ascending position; the keys and values of all positions before them are stored or in
    /// `rows`.
    [[nodiscard]] std::span<const float> logits(std::span<const DecoderRow> rows);
    /// The normed last hidden states [wanted rows][width] instead.
    [[nodiscard]] std::span<const float> hidden(std::span<const DecoderRow> rows);

    [[nodiscard]] const DecoderModel& model() const noexcept { return *model_; }

 private:
    void resize(std::size_t rows);
    void embed(std::span<const DecoderRow> rows);
    void normalise(const NormWeights& norm, std::size_t rows);
    void linear(const std::vector<float>& x, std::size_t rows, const LinearWeights& weights,
                std::vector<float>& y);
    void turn_and_store(std::size_t layer, std::span<const DecoderRow> rows);
    void attend(std::size_t layer, std::span<const DecoderRow> rows);
    void run_mlp(const LayerWeights& layer, std::size_t rows);
    /// `rows` becomes the wanted ones with the last layer.
    void run_layer(std::size_t layer, std::span<const DecoderRow>& rows);
    [[nodiscard]] std::span<const DecoderRow> keep_wanted(std::span<const DecoderRow> rows);

    std::shared_ptr<const DecoderModel> model_;
    KvCache& cache_;
    kernels::Pool& pool_;
    // Row after row; they grow to the largest batch.
    std::vector<float> x_;         // [width], the residual stream
    std::vector<float> normed_;    // [width]
    std::vector<float> qkv_;       // [qkv_width]
    std::vector<float> mixed_;     // [query_width]
    std::vector<float> attended_;  // [width]
    std::vector<float> up_;        // [ffn], twice that with a gate
    std::vector<float> inner_;     // [ffn]
    std::vector<float> cosines_;   // [rope size]
    std::vector<float> sines_;     // [rope size]
    std::vector<float> logits_;    // [vocab]
    std::vector<kernels::AttentionRow> attention_rows_;
    std::vector<DecoderRow> wanted_;
};

}  // namespace worker::model
