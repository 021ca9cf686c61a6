// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"
#include "worker/executor/process_executor.hpp"
#include "worker/model/machine_speed.hpp"

#include <chrono>
#include <filesystem>
#include <string>

/// The program of a job's child, which alone is linked with libtorch.
namespace worker::executor {

/// `millrace-job` beside the running program, also when that was replaced since it started.
/// config_invalid when it is not there.
[[nodiscard]] ledger::base::Result<std::filesystem::path> find_job_program();

/// What `options.program runtime` says, e.g. "libtorch-1.13.1-cpu": 1 to 64 letters, digits, dots
/// and dashes. Runs it once where jobs run, so libtorch loads there if this succeeds. `device` as
/// in RuntimeOptions. sandbox_unavailable, worker_failed, or timeout when it takes too long.
[[nodiscard]] ledger::base::Result<std::string> ask_runtime(
    const ProcessExecutorOptions& options, const std::string& device,
    std::chrono::seconds patience = std::chrono::seconds(60));

/// What `options.program measure` finds where jobs run. Errors as for ask_runtime; worker_failed
/// also when the device cannot be measured.
[[nodiscard]] ledger::base::Result<model::MachineSpeed> ask_speed(
    const ProcessExecutorOptions& options, const model::RuntimeOptions& runtime,
    std::chrono::seconds patience = std::chrono::seconds(120));

}  // namespace worker::executor
