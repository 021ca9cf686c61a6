// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/bytes.hpp"
#include "ledger/base/result.hpp"
#include "worker/kernels/weight_matrix.hpp"
#include "worker/model/finetune_spec.hpp"
#include "worker/model/folder_files.hpp"
#include "worker/model/loop_spec.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

/// What a job spec asks for, as plain values. Nothing here knows torch.
namespace worker::model {

enum class Arch : std::uint8_t { kGpt, kCnn, kResnet, kVit, kMlp };

/// A decoder-only transformer: GPT-2's layers with a head tied to the embedding.
struct GptShape {
    std::uint32_t vocab = 256;
    std::uint32_t width = 0;
    std::uint32_t depth = 0;
    std::uint32_t heads = 0;
    std::uint32_t context = 0;  // tokens
    friend bool operator==(const GptShape&, const GptShape&) = default;
};

/// Two 3×3 convolutions with pooling and a linear head, for one-channel images.
struct CnnShape {
    std::uint32_t classes = 0;
    std::uint32_t channels = 0;
    std::uint32_t height = 0;
    std::uint32_t width = 0;
    friend bool operator==(const CnnShape&, const CnnShape&) = default;
};

/// What a classifier sees and says.
struct ImageShape {
    std::uint32_t classes = 0;
    std::uint32_t colors = 0;  // 1 or 3
    std::uint32_t height = 0;
    std::uint32_t width = 0;
    friend bool operator==(const ImageShape&, const ImageShape&) = default;
};

/// A residual network with norms over groups of eight channels, so that no image depends on its
/// batch. Stage i has channels · 2^i channels; each stage after the first halves the image.
struct ResnetShape {
    ImageShape image;
    std::uint32_t channels = 0;  // of the first stage, a multiple of 8
    std::uint32_t stages = 0;
    std::uint32_t blocks = 0;  // a stage, of two 3×3 convolutions
    friend bool operator==(const ResnetShape&, const ResnetShape&) = default;
};

/// A vision transformer: pre-norm layers over square patches, learned positions, a mean over
/// patches before the head.
struct VitShape {
    ImageShape image;
    std::uint32_t patch = 0;  // pixels a side, divides both of the image's
    std::uint32_t dim = 0;
    std::uint32_t depth = 0;
    std::uint32_t heads = 0;
    friend bool operator==(const VitShape&, const VitShape&) = default;
};

/// Hidden layers with ReLU over all pixels.
struct MlpShape {
    ImageShape image;
    std::uint32_t hidden = 0;
    std::uint32_t depth = 0;  // hidden layers
    friend bool operator==(const MlpShape&, const MlpShape&) = default;
};

using ModelSpec = std::variant<GptShape, CnnShape, ResnetShape, VitShape, MlpShape>;

[[nodiscard]] Arch arch_of(const ModelSpec& model) noexcept;
/// "gpt", "cnn", "resnet", "vit" or "mlp".
[[nodiscard]] std::string_view to_string(Arch arch) noexcept;
[[nodiscard]] std::uint64_t parameter_count(const ModelSpec& model) noexcept;
/// Of a model for images; none for "gpt".
[[nodiscard]] std::optional<ImageShape> image_shape(const ModelSpec& model) noexcept;

/// Text as bytes.
struct TextData {
    ledger::base::Hash32 blob;
    friend bool operator==(const TextData&, const TextData&) = default;
};
/// A text per line, in a field of its JSON object, as bytes.
struct JsonlData {
    ledger::base::Hash32 blob;
    std::string field;
    friend bool operator==(const JsonlData&, const JsonlData&) = default;
};
/// Tokens as a one-dimensional .npy array of uint16 or uint32.
struct TokenData {
    ledger::base::Hash32 blob;
    friend bool operator==(const TokenData&, const TokenData&) = default;
};
struct IdxData {
    ledger::base::Hash32 images;
    ledger::base::Hash32 labels;
    friend bool operator==(const IdxData&, const IdxData&) = default;
};
/// A labelled image per line.
struct ImageJsonlData {
    ledger::base::Hash32 blob;
    friend bool operator==(const ImageJsonlData&, const ImageJsonlData&) = default;
};
/// A tar with a folder of images per label.
struct TarData {
    ledger::base::Hash32 blob;
    friend bool operator==(const TarData&, const TarData&) = default;
};
using DataSpec = std::variant<TextData, IdxData, JsonlData, TokenData, TarData, ImageJsonlData>;

/// The blobs of a data set by the file that each becomes (TrainFiles).
struct DataBlobs {
    std::optional<ledger::base::Hash32> text;    // text, jsonl, tokens
    std::optional<ledger::base::Hash32> images;  // idx, tar, jsonl of images
    std::optional<ledger::base::Hash32> labels;  // idx
};
[[nodiscard]] DataBlobs blobs_of(const DataSpec& data) noexcept;

struct TrainSpec : LoopSpec {
    ModelSpec model;
    DataSpec data;
    std::uint32_t holdout_bp = 500;  // share of the data kept back, in 1/10,000
    std::optional<ledger::base::Hash32> init;
    std::string numeric_class = "D1";
    /// As the buyer declared it; compare `flops_per_step(spec)` with what the ask allows.
    std::uint64_t declared_flops_per_step = 0;
};

/// One of the project's own models, over bytes.
struct OwnModel {
    ModelSpec model;
    ledger::base::Hash32 weights;
};

/// A folder as model hubs publish them, by the blobs of its files.
struct FolderFiles {
    FileBlobs blobs;
    kernels::WeightFormat format = kernels::WeightFormat::kBf16;
};

struct ServeSpec {
    std::variant<OwnModel, FolderFiles> source;
    std::string name;
};

/// What receipts say of the model: the hash of its weights, or SHA-256 of a folder's canonical
/// "files".
[[nodiscard]] ledger::base::Hash32 model_hash(const ServeSpec& spec);
[[nodiscard]] ledger::base::Hash32 model_hash(const FileBlobs& files);

using JobSpec = std::variant<TrainSpec, ServeSpec, FinetuneSpec>;

/// Parses the canonical job spec of any kind. job_spec_invalid names the field that is wrong;
/// job_limit says which limit a correct but too large job passes.
[[nodiscard]] ledger::base::Result<JobSpec> parse_job_spec(std::string_view json);

/// Floating-point operations of one training step (forward, backward, optimiser) from the op
/// graph: 3 × the forward's products, 2 per multiply-add, plus 16 per parameter.
[[nodiscard]] std::uint64_t flops_per_step(const TrainSpec& spec) noexcept;

/// Tokens (text) or images (idx) that one step consumes.
[[nodiscard]] std::uint64_t samples_per_step(const TrainSpec& spec) noexcept;

/// An upper estimate of the memory the job needs, in bytes; 0 for a folder, whose sizes the spec
/// does not tell (finetune_spec.hpp has an estimate that knows the config): there the job's limit
/// decides.
[[nodiscard]] std::uint64_t memory_estimate(const JobSpec& spec) noexcept;

}  // namespace worker::model
