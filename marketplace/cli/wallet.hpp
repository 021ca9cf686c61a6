// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"
#include "ledger/crypto/key_store.hpp"
#include "marketplace/cli/settings.hpp"

#include <cstdint>
#include <string>

namespace marketplace::cli {

enum class PasswordUse : std::uint8_t { kOpen, kChoose };

/// From the password file, or asked on the terminal without echo (twice for a new key). Never from
/// the command line. config_invalid when neither is there.
[[nodiscard]] ledger::base::Result<std::string> read_password(const Settings& settings,
                                                              PasswordUse use);

/// Opens the wallet's key; config_invalid with the next command when there is none.
[[nodiscard]] ledger::base::Result<ledger::crypto::PrivateKey> open_wallet(
    const Settings& settings);

/// The account a key file names, without its password.
[[nodiscard]] ledger::base::Result<ledger::base::Address> wallet_address(
    const std::filesystem::path& key_file);

/// A private key from text: 64 hex digits (0x or not), or a key file's JSON.
[[nodiscard]] ledger::base::Result<ledger::crypto::PrivateKey> parse_secret(
    const std::string& text, const std::string& password);

}  // namespace marketplace::cli
