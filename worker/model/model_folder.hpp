// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"
#include "worker/model/safetensors.hpp"

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace worker::model {

/// The tensors of a model, by name, mapped from one file or from shards. Views live as long as the
/// set.
class TensorSet {
 public:
    /// One safetensors file.
    [[nodiscard]] static ledger::base::Result<TensorSet> open_file(
        const std::filesystem::path& file);
    /// `model.safetensors`, or the shards that `model.safetensors.index.json` lists: each tensor
    /// must lie in the shard it is listed for and in no other. data_missing, data_invalid.
    [[nodiscard]] static ledger::base::Result<TensorSet> open_folder(
        const std::filesystem::path& folder);

    /// Null when there is none of that name.
    [[nodiscard]] const TensorView* find(std::string_view name) const;
    [[nodiscard]] const std::map<std::string, TensorView, std::less<>>& tensors() const noexcept {
        return tensors_;
    }

 private:
    TensorSet() = default;
    ledger::base::Result<void> take(SafetensorsFile file);

    std::vector<SafetensorsFile> files_;
    std::map<std::string, TensorView, std::less<>> tensors_;
};

/// A folder as model hubs publish them: `config.json`, `generation_config.json` where there is one,
/// and safetensors. Nothing outside of the folder is opened: links are refused.
struct ModelFolder {
    std::string config;                     // JSON text, at most 1 MiB
    std::optional<std::string> generation;  // JSON text, at most 1 MiB
    TensorSet tensors;

    [[nodiscard]] static ledger::base::Result<ModelFolder> open(
        const std::filesystem::path& folder);
};

}  // namespace worker::model
