// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "marketplace/cli/context.hpp"

#include <filesystem>
#include <string>
#include <vector>

namespace marketplace::cli {

/// The files of a published model's folder that serving needs, sorted by name: configuration,
/// tokenizer and safetensors (`model.safetensors` alone where there is one). Links are followed, as
/// hub caches have them. data_missing says what the folder lacks; too_large names a file past the
/// market's limit for one blob.
[[nodiscard]] Result<std::vector<std::string>> list_model_files(
    const std::filesystem::path& folder);

}  // namespace marketplace::cli
