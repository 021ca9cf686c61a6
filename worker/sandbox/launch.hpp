// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"
#include "worker/sandbox/sandbox.hpp"

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace worker::sandbox {

/// One process to start, after the walls are decided.
struct Launch {
    std::vector<std::string> arguments;
    std::vector<std::string> environment;  // "NAME=value"
    std::filesystem::path working_dir;
    std::filesystem::path log;       // stderr
    std::uint64_t memory_bytes = 0;  // RLIMIT_DATA, 0: none
    std::uint64_t file_bytes = 0;    // RLIMIT_FSIZE, 0: none
    int kept_fd = -1;                // the one descriptor besides 0-2 that it inherits
};

/// Forks and executes; the child leads its own session and dies with the calling thread.
[[nodiscard]] ledger::base::Result<Child> start_process(const Launch& launch);

/// sandbox_unavailable with a fix, from what bubblewrap said.
[[nodiscard]] tl::unexpected<ledger::base::Error> unavailable_from(std::string_view said);

}  // namespace worker::sandbox
