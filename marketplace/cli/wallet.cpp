// SPDX-License-Identifier: Apache-2.0
#include "marketplace/cli/wallet.hpp"

#include "ledger/base/hex.hpp"
#include "ledger/rpc/json.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include <cstdio>
#include <iostream>

namespace marketplace::cli {
namespace {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;
using ledger::crypto::PrivateKey;

constexpr std::size_t kKeyFileBytesMax = 16 * 1024;

std::string without_line_end(std::string text) {
    if (const auto end = text.find_first_of("\r\n"); end != std::string::npos) text.resize(end);
    return text;
}

Result<std::string> password_from_file(const std::filesystem::path& file) {
    struct stat info {};
    if (::stat(file.c_str(), &info) == 0 && (info.st_mode & (S_IRWXG | S_IRWXO)) != 0)
        return fail(ErrorCode::config_invalid,
                    "others can read the password file: run `chmod 600 " + file.string() + "`");
    TRY_ASSIGN(const auto text, read_small_file(file, 4096));
    if (!text) return fail(ErrorCode::config_invalid, "there is no password file " + file.string());
    std::string password = without_line_end(*text);
    if (password.empty())
        return fail(ErrorCode::config_invalid, "the password file " + file.string() + " is empty");
    return password;
}

std::string ask_hidden(std::string_view question) {
    fmt::print(stderr, "{}: ", question);
    std::fflush(stderr);
    termios before{};
    const bool is_terminal = tcgetattr(STDIN_FILENO, &before) == 0;
    if (is_terminal) {
        termios hidden = before;
        hidden.c_lflag &= ~static_cast<tcflag_t>(ECHO);
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden);
    }
    std::string line;
    std::getline(std::cin, line);
    if (is_terminal) tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
    fmt::print(stderr, "\n");
    return line;
}

}  // namespace

Result<std::string> read_password(const Settings& settings, PasswordUse use) {
    if (!settings.password_file.empty()) return password_from_file(settings.password_file);
    if (isatty(STDIN_FILENO) != 1)
        return fail(ErrorCode::config_invalid,
                    "the key file has a password: give --password-file FILE or set "
                    "MILLRACE_PASSWORD_FILE");
    std::string password = ask_hidden("Password of " + settings.key_file.string());
    if (use == PasswordUse::kOpen) return password;
    if (password.size() < 8)
        return fail(ErrorCode::invalid_field, "choose a password of at least 8 characters");
    if (ask_hidden("Again") != password)
        return fail(ErrorCode::invalid_field, "the two passwords differ");
    return password;
}

Result<PrivateKey> open_wallet(const Settings& settings) {
    std::error_code ignored;
    if (!std::filesystem::exists(settings.key_file, ignored))
        return fail(
            ErrorCode::config_invalid,
            "there is no wallet at " + settings.key_file.string() + ": run `millrace init`");
    TRY_ASSIGN(const std::string password, read_password(settings, PasswordUse::kOpen));
    return ledger::crypto::read_key_file(settings.key_file, password);
}

Result<ledger::base::Address> wallet_address(const std::filesystem::path& key_file) {
    TRY_ASSIGN(const auto text, read_small_file(key_file, kKeyFileBytesMax));
    if (!text)
        return fail(ErrorCode::config_invalid,
                    "there is no wallet at " + key_file.string() + ": run `millrace init`");
    TRY_ASSIGN(const nlohmann::json document, ledger::rpc::parse_json(*text));
    TRY_ASSIGN(const std::string address, ledger::rpc::string_at(document, "address"));
    return ledger::base::parse_fixed<ledger::base::Address>(
        address.starts_with("0x") ? address : "0x" + address);
}

Result<void> refuse_existing_wallet(const Settings& settings) {
    std::error_code ignored;
    if (!std::filesystem::exists(settings.key_file, ignored)) return {};
    return fail(ErrorCode::config_invalid,
                "there is a wallet at " + settings.key_file.string() +
                    " already: move it away, or choose another folder with --data");
}

Result<void> store_wallet(const Settings& settings, const PrivateKey& key,
                          const std::string& password, ledger::crypto::KeyStoreCost cost) {
    std::error_code error;
    const auto folder = settings.key_file.parent_path();
    const bool had_folder = std::filesystem::exists(folder, error);
    std::filesystem::create_directories(folder, error);
    if (error) return fail(ErrorCode::io_error, "cannot make " + folder.string());
    if (!had_folder) std::filesystem::permissions(folder, std::filesystem::perms::owner_all, error);
    return ledger::crypto::write_key_file(settings.key_file, key, password, cost);
}

Result<PrivateKey> read_secret(const std::string& file, const std::string& password) {
    if (file == "-") {
        std::string text(kKeyFileBytesMax, '\0');
        std::cin.read(text.data(), static_cast<std::streamsize>(text.size()));
        text.resize(static_cast<std::size_t>(std::cin.gcount()));
        return parse_secret(text, password);
    }
    TRY_ASSIGN(const auto text, read_small_file(file, kKeyFileBytesMax));
    if (!text) return fail(ErrorCode::data_missing, "cannot read " + file);
    return parse_secret(*text, password);
}

Result<PrivateKey> parse_secret(const std::string& text, const std::string& password) {
    const auto first = text.find_first_not_of(" \t\r\n");
    if (first == std::string::npos) return fail(ErrorCode::invalid_field, "the secret is empty");
    if (text[first] == '{') return ledger::crypto::decrypt_key(text, password);
    const auto last = text.find_last_not_of(" \t\r\n");
    const auto bytes = ledger::base::parse_hex(text.substr(first, last - first + 1), 32);
    if (!bytes || bytes->size() != 32)
        return fail(ErrorCode::invalid_field, "a private key is 64 hex digits, or a key file");
    return PrivateKey::from_bytes(*bytes);
}

}  // namespace marketplace::cli
