// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/bytes.hpp"
#include "ledger/base/result.hpp"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace marketplace::cli {

/// What the options of `train` describe. Blobs are hashes of uploaded files.
struct TrainPlan {
    std::string arch = "gpt";  ///< or "cnn", "resnet", "vit", "mlp"
    // gpt; vit has a width, layers and heads, mlp has hidden layers too
    std::uint64_t vocab = 256;
    std::uint64_t width = 192;
    std::uint64_t depth = 4;
    std::uint64_t heads = 6;
    std::uint64_t context = 128;
    // models of images
    std::uint64_t classes = 10;
    std::uint64_t colors = 1;
    std::uint64_t image_height = 28;
    std::uint64_t image_width = 28;
    std::uint64_t channels = 16;  ///< cnn, resnet
    std::uint64_t stages = 3;     ///< resnet
    std::uint64_t blocks = 2;     ///< resnet, per stage
    std::uint64_t patch = 4;      ///< vit
    std::uint64_t hidden = 128;   ///< mlp
    // data: one of text, jsonl, tokens, image_tar, or images with labels
    std::optional<ledger::base::Hash32> text;
    std::optional<ledger::base::Hash32> jsonl;
    std::string field = "text";  ///< of a line of jsonl
    std::optional<ledger::base::Hash32> tokens;
    std::optional<ledger::base::Hash32> image_tar;
    std::optional<ledger::base::Hash32> images;
    std::optional<ledger::base::Hash32> labels;
    std::optional<ledger::base::Hash32> init;
    std::optional<ledger::base::Hash32> sealed;  ///< salt of a sealed job: all blobs are sealed
    // schedule
    std::uint64_t holdout_bp = 500;
    std::uint64_t batch = 16;
    std::uint64_t steps = 300;
    std::uint64_t segment_steps = 25;
    std::uint64_t eval_batches = 8;
    std::string learning_rate = "0.001";
    std::uint64_t warmup_steps = 20;
    std::string weight_decay = "0.01";
    std::uint64_t seed = 7;
    std::string precision = "fp32";
    // what the worker has a default for: empty and 0 are left out of the spec
    std::string optimizer;  ///< "adamw" or "sgd"
    std::string beta1;
    std::string beta2;
    std::string epsilon;
    std::string momentum;
    bool nesterov = false;
    std::string schedule;  ///< "cosine", "linear" or "constant"
    std::string min_rate_share;
    std::string clip_norm;
    std::uint64_t ranks = 0;
    std::uint64_t accumulate = 0;
    std::uint64_t patience = 0;  ///< evaluations without a better one until training ends
    std::string min_delta;
};

/// The canonical job spec. invalid_field names the option that is wrong.
[[nodiscard]] ledger::base::Result<std::string> make_train_spec(const TrainPlan& plan);

/// The serve spec for a trained model: its "model" object is taken from the train spec.
[[nodiscard]] ledger::base::Result<std::string> make_serve_spec(std::string_view train_spec,
                                                                const ledger::base::Hash32& weights,
                                                                const std::string& name);

/// The serve spec for a published folder. `format` is "fp32", "bf16", "int8" or "int4".
[[nodiscard]] ledger::base::Result<std::string> make_folder_spec(
    const std::map<std::string, ledger::base::Hash32>& files, const std::string& format,
    const std::string& name);

/// Floating-point operations of one step, from the op graph: 3 x the forward's products, 2 per
/// multiply-add, plus 16 per parameter.
[[nodiscard]] std::uint64_t flops_per_step(const TrainPlan& plan) noexcept;
[[nodiscard]] std::uint64_t parameter_count(const TrainPlan& plan) noexcept;

/// What a person wants to know of a spec before paying.
struct SpecSummary {
    std::string kind;
    std::uint64_t steps = 0;  ///< train, finetune
};
[[nodiscard]] ledger::base::Result<SpecSummary> summarise(std::string_view spec);

}  // namespace marketplace::cli
