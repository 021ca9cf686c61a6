// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/executor/executor.hpp"
#include "worker/sandbox/sandbox.hpp"

#include <filesystem>
#include <memory>
#include <vector>

namespace worker::executor {

struct ProcessExecutorOptions {
    /// The program that answers to `job-child`; empty: the running program itself.
    std::filesystem::path program;
    sandbox::Mode sandbox = sandbox::Mode::kBwrap;
    std::vector<std::filesystem::path> read_only;  // more folders a child may read, e.g. libtorch's
};

/// One child process per job, in the sandbox. Starting a job in Mode::kBwrap on a machine that
/// cannot is refused with sandbox_unavailable; `sandbox::probe()` asks beforehand.
[[nodiscard]] std::unique_ptr<Executor> make_process_executor(ProcessExecutorOptions options);

}  // namespace worker::executor
