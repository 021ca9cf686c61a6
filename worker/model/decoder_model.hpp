// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"
#include "worker/kernels/pool.hpp"
#include "worker/kernels/weight_matrix.hpp"
#include "worker/model/decoder_config.hpp"
#include "worker/model/hf_config.hpp"
#include "worker/model/model_folder.hpp"
#include "worker/model/rope.hpp"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <vector>

namespace worker::model {

struct NormWeights {
    std::vector<float> weight;
    std::vector<float> bias;  // empty: none
};

struct LinearWeights {
    kernels::WeightMatrix weight;
    std::vector<float> bias;  // empty: none
};

struct LayerWeights {
    NormWeights before_attention;
    LinearWeights qkv;              // queries, keys, values, stacked
    std::vector<float> query_norm;  // [head_dim], empty: none
    std::vector<float> key_norm;    // [head_dim], empty: none
    LinearWeights attention_out;
    NormWeights before_mlp;
    LinearWeights up;  // with a gated MLP the gate comes first
    LinearWeights down;
};

/// The weights of a decoder, packed. Built once, then shared and read-only.
struct DecoderModel {
    /// Packs the tensors one after the other, each leaving memory before the next is read.
    /// With kInt4 the head stays int8, and a table that is only looked up is bf16: both cost much
    /// accuracy for little memory. data_invalid names the tensor that is missing, of another shape
    /// than the config gives, not finite, or of no use.
    [[nodiscard]] static ledger::base::Result<std::shared_ptr<const DecoderModel>> load(
        const DecoderConfig& config, const TensorSet& tensors, kernels::WeightFormat format,
        kernels::Pool& pool);

    explicit DecoderModel(const DecoderConfig& config_in)
        : config(config_in), rope(config_in.rope) {}

    [[nodiscard]] const kernels::WeightMatrix& head() const noexcept {
        return config.tied_head ? embedding : untied_head;
    }
    /// Memory of all weights.
    [[nodiscard]] std::uint64_t bytes() const noexcept;

    DecoderConfig config;
    Rope rope;
    kernels::WeightFormat format = kernels::WeightFormat::kF32;
    kernels::WeightMatrix embedding;  // [vocab][width]
    std::vector<float> positions;     // [context][width] when they are learned
    std::vector<LayerWeights> layers;
    NormWeights last;
    kernels::WeightMatrix untied_head;
};

/// A folder's model and what its publisher says about using it.
struct PublishedModel {
    std::shared_ptr<const DecoderModel> model;
    GenerationDefaults defaults;
};
/// Reads, checks and packs a folder. Errors as ModelFolder, parse_hf_config and DecoderModel::load.
[[nodiscard]] ledger::base::Result<PublishedModel> load_published(
    const std::filesystem::path& folder, kernels::WeightFormat format, kernels::Pool& pool);

}  // namespace worker::model
