// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/kernels/pool.hpp"
#include "worker/model/decoder_model.hpp"
#include "worker/model/forward_pass.hpp"
#include "worker/model/kv_cache.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace worker::model {

/// The forward pass on the processor. A row's result has the same bits with any number of threads.
/// The model may be shared by many.
class Decoder final : public ForwardPass {
 public:
    /// `cache` has this model's shape. `cache` and `pool` outlive the decoder.
    Decoder(std::shared_ptr<const DecoderModel> model, KvCache& cache, kernels::Pool& pool);

    [[nodiscard]] std::span<const float> logits(std::span<const DecoderRow> rows) override;
    [[nodiscard]] std::span<const Shortlist> shorten(
        std::span<const DecoderRow> rows, std::span<const ShortlistWish> wishes) override;
    [[nodiscard]] std::span<const float> row(std::size_t wanted) override;
    [[nodiscard]] std::span<const float> hidden(std::span<const DecoderRow> rows) override;

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
