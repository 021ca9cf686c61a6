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

/// config_invalid when there is a wallet already.
[[nodiscard]] ledger::base::Result<void> refuse_existing_wallet(const Settings& settings);
/// Writes the wallet's key file, mode 0600, its folder with mode 0700.
[[nodiscard]] ledger::base::Result<void> store_wallet(const Settings& settings,
                                                      const ledger::crypto::PrivateKey& key,
                                                      const std::string& password,
                                                      ledger::crypto::KeyStoreCost cost);
/// A private key from a file ("-": standard input): see parse_secret.
[[nodiscard]] ledger::base::Result<ledger::crypto::PrivateKey> read_secret(
    const std::string& file, const std::string& password);

/// A private key from text: 64 hex digits (0x or not), or a key file's JSON.
[[nodiscard]] ledger::base::Result<ledger::crypto::PrivateKey> parse_secret(
    const std::string& text, const std::string& password);

}  // namespace marketplace::cli
