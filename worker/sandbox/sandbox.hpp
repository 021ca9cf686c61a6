// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

/// Walls around a job's child: namespaces and mounts by bubblewrap, system calls by seccomp,
/// memory and file sizes by rlimits.
namespace worker::sandbox {

enum class Mode : std::uint8_t { kNone, kBwrap };

/// "none" or "bwrap"; config_invalid otherwise.
[[nodiscard]] ledger::base::Result<Mode> parse_mode(std::string_view text);
[[nodiscard]] std::string_view to_string(Mode mode) noexcept;

struct Bind {
    std::filesystem::path host;
    std::filesystem::path inside;
};

/// What a child may see and use.
struct Plan {
    std::vector<std::string> command;  // argv inside; command[0] is bound read-only where it lies
    std::filesystem::path job_dir;     // the only writable place besides /tmp, at /job
    std::vector<Bind> inputs;          // read-only files and folders
    std::vector<std::filesystem::path> read_only;                  // more folders, at the same path
    std::vector<std::pair<std::string, std::string>> environment;  // nothing else is passed on
    bool gpu = false;                                              // bind the NVIDIA devices
    bool ranks = false;  // may fork and use its own empty network until `forbid_exec`; with `gpu`
                         // also AF_UNIX
    std::uint64_t memory_bytes = 0;
    std::uint64_t file_bytes = 0;
    std::uint64_t tmp_bytes = 0;
};

/// Folder names inside the sandbox.
inline constexpr std::string_view kJobDir = "/job";
inline constexpr std::string_view kInputDir = "/in";

/// A started child, its pipes and its pid. The caller closes the descriptors and reaps.
struct Child {
    int pid = -1;
    int stdin_fd = -1;
    int stdout_fd = -1;
};

/// The bubblewrap command line for a plan, without the seccomp descriptor.
[[nodiscard]] std::vector<std::string> bwrap_arguments(const Plan& plan);

/// Starts the child in its own session; stderr goes to `job_dir/child.log`. The calling *thread* is
/// the child's parent: when it ends, the child is killed.
[[nodiscard]] ledger::base::Result<Child> spawn(const Plan& plan, Mode mode);

/// What a child may still do with data open.
enum class Later : std::uint8_t {
    kAlone,
    kGpuRanks,  // use its own empty network and AF_UNIX: NCCL's threads talk as long as it runs
};
/// Inside the child, after loading and before data: refuses execve as well, and what ranks could
/// do. Returns false where seccomp is missing.
[[nodiscard]] bool forbid_exec(Later later = Later::kAlone) noexcept;

/// Whether Mode::kBwrap works here: runs /bin/true in it once. sandbox_unavailable says why not and
/// what to do, e.g. in a container without user namespaces.
[[nodiscard]] ledger::base::Result<void> probe();

}  // namespace worker::sandbox
