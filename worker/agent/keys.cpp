// SPDX-License-Identifier: Apache-2.0
#include "worker/agent/keys.hpp"

#include "ledger/base/hex.hpp"
#include "worker/agent/durable_file.hpp"

#include <sys/stat.h>

namespace worker::agent {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

Result<std::string> read_password(const WorkerConfig& config) {
    constexpr std::size_t kBytesMax = 4096;
    struct stat info {};
    if (::stat(config.password_file.c_str(), &info) != 0)
        return fail(ErrorCode::config_invalid,
                    "there is no password file " + config.password_file.string() +
                        ": run `millrace-worker setup`, or name one with --password-file");
    if ((info.st_mode & (S_IRWXG | S_IRWXO)) != 0)
        return fail(ErrorCode::config_invalid,
                    "others can read the password file: run `chmod 600 " +
                        config.password_file.string() + "`");
    TRY_ASSIGN(std::string text, read_file(config.password_file, kBytesMax));
    if (const auto end = text.find_first_of("\r\n"); end != std::string::npos) text.resize(end);
    if (text.empty()) return fail(ErrorCode::config_invalid, "the password file is empty");
    return text;
}

Result<ledger::crypto::PrivateKey> open_key(const std::filesystem::path& file,
                                            const WorkerConfig& config) {
    std::error_code ignored;
    if (!std::filesystem::exists(file, ignored))
        return fail(ErrorCode::config_invalid,
                    "there is no key file " + file.string() + ": run `millrace-worker setup`");
    TRY_ASSIGN(const std::string password, read_password(config));
    return ledger::crypto::read_key_file(file, password);
}

Result<void> make_password_file(const WorkerConfig& config) {
    std::error_code ignored;
    if (std::filesystem::exists(config.password_file, ignored)) return {};
    const auto random = ledger::crypto::random_bytes(24);
    return write_file(config.password_file, ledger::base::to_hex(random).substr(2) + "\n");
}

}  // namespace worker::agent
