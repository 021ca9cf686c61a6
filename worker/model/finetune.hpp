// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"
#include "worker/model/examples.hpp"
#include "worker/model/finetune_spec.hpp"
#include "worker/model/objective.hpp"

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

namespace worker::model {

/// The config of a folder and what is only known with it. Errors as ModelFolder, parse_hf_config
/// and check_finetune.
[[nodiscard]] ledger::base::Result<DecoderConfig> read_finetune_config(
    const FinetuneSpec& spec, const std::filesystem::path& folder);

/// Training on of the model in `folder` with `training`, judged by `validation`; neither is empty.
/// What the run leaves at its end is the folder's `model.safetensors` with the trained weights, in
/// the types of the folder's own, or LoRA's adapter with its config in the metadata
/// ("adapter_config"). `device` as in RuntimeOptions. data_invalid: a token beyond the model's
/// vocabulary, a tensor that is missing, of another shape or not finite.
[[nodiscard]] ledger::base::Result<std::unique_ptr<Objective>> make_finetune_objective(
    const FinetuneSpec& spec, const std::filesystem::path& folder, ExampleSet training,
    std::optional<ExampleSet> validation, const std::string& device);

}  // namespace worker::model
