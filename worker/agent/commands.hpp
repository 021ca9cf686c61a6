// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"
#include "worker/agent/config.hpp"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

/// The subcommands of `millrace-worker`. Data on stdout, messages on stderr.
namespace worker::agent {

enum class Output : std::uint8_t { kText, kJson };

struct SetupOptions {
    WorkerConfig config;                        ///< defaults with the options given already applied
    std::filesystem::path import_provider_key;  ///< file with a private key in hex, or a key file
    bool ask_questions = false;                 ///< a person is there and did not say --yes
    bool light_key_files = false;               ///< cheap scrypt: for tests and local chains
    Output output = Output::kText;
};
/// Folder, password file, keys (kept when they are there), settings file.
[[nodiscard]] ledger::base::Result<void> run_setup(const SetupOptions& options);

/// Registers the worker key with its bond, or finds it registered.
[[nodiscard]] ledger::base::Result<void> run_register(const WorkerConfig& config, Output output);

/// Works until SIGTERM or SIGINT.
[[nodiscard]] ledger::base::Result<void> run_agent(const WorkerConfig& config);

/// A line per check with the fix of what failed; an error when one did.
[[nodiscard]] ledger::base::Result<void> run_doctor(const WorkerConfig& config, Output output);

[[nodiscard]] ledger::base::Result<void> run_status(const WorkerConfig& config, Output output);

/// Without the market: takes the next step for the pay of every lease, straight on the chain, with
/// the provider's key. To be run again until nothing is due.
[[nodiscard]] ledger::base::Result<void> run_collect(const WorkerConfig& config, Output output);

/// Why does no work come? Own asks against the book, what keeps bids away.
[[nodiscard]] ledger::base::Result<void> run_why(const WorkerConfig& config, Output output);

/// Trains a small model in the sandbox for a few seconds: steps and FLOP/s of this machine.
[[nodiscard]] ledger::base::Result<void> run_benchmark(const WorkerConfig& config, Output output);

/// Tells a running worker to take no new work ("pause"), to end when its work is done ("drain"), or
/// to go on ("resume").
[[nodiscard]] ledger::base::Result<void> run_control(const WorkerConfig& config,
                                                     std::string_view word);

/// "2026-11-22T06:40:00Z info text" on stderr. Thread-safe.
void log_line(std::string_view level, std::string_view text);

}  // namespace worker::agent
