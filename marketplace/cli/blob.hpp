// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "marketplace/cli/context.hpp"

#include <filesystem>

namespace marketplace::cli {

/// SHA-256 of a file; data_missing when it cannot be read.
[[nodiscard]] Result<Hash32> hash_file(const std::filesystem::path& file);

/// Uploads a file unless the market has it; gives its hash.
[[nodiscard]] Result<Hash32> upload_file(Context& context, const std::filesystem::path& file);

/// Fetches a blob and checks its hash.
[[nodiscard]] Result<void> download_blob(Context& context, const Hash32& hash,
                                         const std::filesystem::path& file);

}  // namespace marketplace::cli
