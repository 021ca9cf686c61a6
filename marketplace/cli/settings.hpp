// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace marketplace::cli {

/// Where things are. Later sources win: defaults, `config.toml` in the data folder, MILLRACE_*
/// variables, options.
struct Settings {
    std::string market = "http://127.0.0.1:8460";
    std::string rpc = "http://127.0.0.1:8545";
    bool rpc_given = false;               ///< by anything but the default
    std::filesystem::path data;           ///< keys, session, delegations; default ~/.millrace
    std::filesystem::path key_file;       ///< default wallet.json in the data folder
    std::filesystem::path password_file;  ///< empty: ask on the terminal
    bool json = false;
    bool yes = false;
    bool curl = false;     ///< print each request as a curl command, without secrets
    bool explain = false;  ///< say more of reasons and errors
    bool dry_run = false;  ///< stop before anything is signed away, posted or sent
    friend bool operator==(const Settings&, const Settings&) = default;
};

/// The options of the command line; empty: not given.
struct GivenSettings {
    std::string market;
    std::string rpc;
    std::string data;
    std::string key_file;
    std::string password_file;
    bool json = false;
    bool yes = false;
    bool curl = false;
    bool explain = false;
    bool dry_run = false;
};

/// Reads one environment variable; empty when unset.
using Environment = std::function<std::string(const char*)>;
[[nodiscard]] std::string system_environment(const char* name);

/// config_invalid names the setting and where it came from.
[[nodiscard]] ledger::base::Result<Settings> load_settings(const GivenSettings& given,
                                                           const Environment& environment);

/// Writes a small file of the data folder with mode 0600, atomically and synced; makes the folder
/// (0700).
[[nodiscard]] ledger::base::Result<void> write_private_file(const std::filesystem::path& path,
                                                            std::string_view text);
/// Empty when there is none; too_large above `bytes_max`.
[[nodiscard]] ledger::base::Result<std::optional<std::string>> read_small_file(
    const std::filesystem::path& path, std::size_t bytes_max);

/// URLs without a slash at their end that can be asked; config_invalid names the one that is not.
[[nodiscard]] ledger::base::Result<void> check_settings(Settings& settings);
/// config.toml with these settings, which load_settings reads back. unsupported when one of them
/// holds characters that the file cannot.
[[nodiscard]] ledger::base::Result<std::string> config_text(const Settings& settings);

}  // namespace marketplace::cli
