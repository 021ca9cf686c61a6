// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"
#include "worker/sandbox/sandbox.hpp"

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace worker::agent {

/// Settings of `millrace-worker`: `worker.toml` in the data folder, then MILLRACE_* variables, then
/// options. Prices in atoms per scale (a step; a million tokens); 0: not offered.
struct WorkerConfig {
    std::filesystem::path data;  ///< the folder the file lies in
    std::string market = "http://127.0.0.1:8460";
    std::string rpc = "http://127.0.0.1:8545";
    std::filesystem::path provider_key;   ///< Web3 key file; opened for register and for asks only
    std::filesystem::path worker_key;     ///< Web3 key file; signs receipts
    std::filesystem::path password_file;  ///< of both
    std::string region = "local";
    std::string gpu_model = "cpu";
    std::uint32_t gpu_count = 1;
    std::uint64_t vram_mib = 0;
    std::uint64_t ram_mib = 0;
    std::uint32_t cpu_cores = 1;
    std::uint64_t disk_mib = 0;         ///< offered to jobs
    std::uint32_t bandwidth_mbps = 0;   ///< to the outside; 0: not told
    std::string interconnect;           ///< between the GPUs: "pcie", "nvlink"; empty: not told
    std::uint32_t gflop_per_s = 0;      ///< of one GPU or the CPU, as setup measured; 0: not told
    std::uint32_t memory_mb_per_s = 0;  ///< likewise
    std::uint64_t max_flops_per_step = 0;
    std::uint64_t price_step_atoms = 0;
    std::uint64_t price_input_token_atoms = 0;
    std::uint64_t price_output_token_atoms = 0;
    std::uint64_t bond_atoms = 0;  ///< 0: the least the contract takes
    int threads = 1;
    std::uint64_t job_memory_mib = 0;
    std::uint64_t cache_mib = 20 * 1024;
    std::uint64_t ask_hours = 24;
    sandbox::Mode sandbox = sandbox::Mode::kBwrap;
    friend bool operator==(const WorkerConfig&, const WorkerConfig&) = default;
};

/// This machine's facts as defaults: cores, memory, and prices that a person would start with.
[[nodiscard]] WorkerConfig default_config(const std::filesystem::path& data);

/// Reads the text of a settings file over the defaults. config_invalid names the key and, for bad
/// TOML, the line; unknown keys are refused. Relative paths are below `data`.
[[nodiscard]] ledger::base::Result<WorkerConfig> parse_config(std::string_view text,
                                                              const std::filesystem::path& data);
/// config_invalid with the next command when there is no file.
[[nodiscard]] ledger::base::Result<WorkerConfig> read_config(const std::filesystem::path& data);

/// The commented file that `setup` writes; `parse_config` reads it back.
[[nodiscard]] std::string to_toml(const WorkerConfig& config);

/// MILLRACE_MARKET, MILLRACE_RPC, MILLRACE_PASSWORD_FILE and the like win over the file.
void apply_environment(WorkerConfig& config);

/// Prices above zero, sizes inside limits, http URLs.
[[nodiscard]] ledger::base::Result<void> check_config(const WorkerConfig& config);

/// Default folder: MILLRACE_WORKER_DATA, or ~/.millrace-worker.
[[nodiscard]] std::filesystem::path default_data_folder();

}  // namespace worker::agent
