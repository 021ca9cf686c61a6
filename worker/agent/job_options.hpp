// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"
#include "worker/agent/config.hpp"
#include "worker/executor/process_executor.hpp"
#include "worker/model/machine_speed.hpp"

#include <string>

/// The settings as the executor takes them.
namespace worker::agent {

/// With the program of jobs that lies beside this one; config_invalid when none does.
[[nodiscard]] ledger::base::Result<executor::ProcessExecutorOptions> executor_options(
    const WorkerConfig& config);

/// "cpu" or "cuda": what jobs run on.
[[nodiscard]] std::string job_device(const WorkerConfig& config);

/// What jobs run with, e.g. "libtorch-1.13.1-cpu", asked of their program; takes about a second.
[[nodiscard]] ledger::base::Result<std::string> job_runtime(const WorkerConfig& config);

/// What this machine does as jobs run on it, for its asks; takes a few seconds.
[[nodiscard]] ledger::base::Result<model::MachineSpeed> job_speed(const WorkerConfig& config);

}  // namespace worker::agent
