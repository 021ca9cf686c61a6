// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"
#include "worker/model/safetensors.hpp"

#include <cstdint>
#include <filesystem>
#include <optional>

namespace worker::model {

/// Metadata of what a job leaves at its end. It is no state to go on from: who is handed it as a
/// checkpoint has nothing left to do.
[[nodiscard]] Metadata result_metadata(std::uint64_t step);

/// The step of a file that is so marked; empty for other files. Errors as SafetensorsFile::open.
[[nodiscard]] ledger::base::Result<std::optional<std::uint64_t>> result_step(
    const std::filesystem::path& path);

}  // namespace worker::model
