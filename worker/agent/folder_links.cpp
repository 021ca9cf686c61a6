// SPDX-License-Identifier: Apache-2.0
#include "worker/agent/folder_links.hpp"

#include <system_error>

namespace worker::agent {

using ledger::base::ErrorCode;
using ledger::base::fail;

Result<void> link_folder(Blobs& blobs, const model::FileBlobs& files,
                         const std::filesystem::path& folder) {
    std::error_code error;
    std::filesystem::remove_all(folder, error);  // of an earlier attempt
    std::filesystem::create_directories(folder, error);
    if (error) return fail(ErrorCode::io_error, "cannot make the model's folder");
    for (const auto& [name, hash] : files) {
        // Linked at once: the cache may drop this blob to make room for the next.
        TRY_ASSIGN(const std::filesystem::path blob, blobs.fetch(hash));
        std::filesystem::create_hard_link(blob, folder / name, error);
        if (error) std::filesystem::copy_file(blob, folder / name, error);
        if (error) return fail(ErrorCode::io_error, "cannot put " + name + " into its folder");
    }
    return {};
}

}  // namespace worker::agent
