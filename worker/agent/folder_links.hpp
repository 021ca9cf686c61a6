// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/agent/ports.hpp"
#include "worker/model/folder_files.hpp"

#include <filesystem>

namespace worker::agent {

/// Makes `folder` anew with links to the cached blobs of `files`. It must not lie in the job's own
/// folder, which the child may write to: through a link there it could change the cache.
/// Errors of `blobs`; io_error.
[[nodiscard]] Result<void> link_folder(Blobs& blobs, const model::FileBlobs& files,
                                       const std::filesystem::path& folder);

}  // namespace worker::agent
