// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"
#include "ledger/crypto/key_store.hpp"
#include "worker/agent/config.hpp"

#include <string>

namespace worker::agent {

/// First line of the password file. config_invalid when it is missing or readable by others.
[[nodiscard]] ledger::base::Result<std::string> read_password(const WorkerConfig& config);

/// Opens a key file; config_invalid with the next command when there is none.
[[nodiscard]] ledger::base::Result<ledger::crypto::PrivateKey> open_key(
    const std::filesystem::path& file, const WorkerConfig& config);

/// Writes a new random password file (mode 0600) unless there is one.
[[nodiscard]] ledger::base::Result<void> make_password_file(const WorkerConfig& config);

}  // namespace worker::agent
