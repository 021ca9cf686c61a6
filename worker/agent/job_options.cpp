// SPDX-License-Identifier: Apache-2.0
#include "worker/agent/job_options.hpp"

#include "worker/executor/job_program.hpp"

namespace worker::agent {

using ledger::base::Result;

Result<executor::ProcessExecutorOptions> executor_options(const WorkerConfig& config) {
    executor::ProcessExecutorOptions options;
    TRY_ASSIGN(options.program, executor::find_job_program());
    options.sandbox = config.sandbox;
    return options;
}

std::string job_device(const WorkerConfig& config) {
    return config.gpu_model == "cpu" ? "cpu" : "cuda";
}

Result<std::string> job_runtime(const WorkerConfig& config) {
    TRY_ASSIGN(const executor::ProcessExecutorOptions options, executor_options(config));
    return executor::ask_runtime(options, job_device(config));
}

Result<model::MachineSpeed> job_speed(const WorkerConfig& config) {
    TRY_ASSIGN(const executor::ProcessExecutorOptions options, executor_options(config));
    return executor::ask_speed(options, {config.threads, job_device(config)});
}

}  // namespace worker::agent
