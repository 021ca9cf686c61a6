// SPDX-License-Identifier: Apache-2.0
#include "marketplace/cli/settings.hpp"

#include "ledger/rpc/http_client.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <toml++/toml.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

namespace marketplace::cli {
namespace {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

constexpr std::size_t kConfigBytesMax = 64 * 1024;

Result<void> apply_file(std::string_view text, Settings& settings) {
    toml::table table;
    try {
        table = toml::parse(text);
    } catch (const toml::parse_error& error) {
        return fail(ErrorCode::config_invalid,
                    fmt::format("config.toml, line {}: {}", error.source().begin.line,
                                error.description()));
    }
    for (const auto& [key, node] : table) {
        const auto value = node.value_exact<std::string>();
        if (!value || value->empty())
            return fail(ErrorCode::config_invalid,
                        fmt::format("config.toml: {} must be a text in quotes", key.str()));
        if (key == "market") {
            settings.market = *value;
        } else if (key == "rpc") {
            settings.rpc = *value;
            settings.rpc_given = true;
        } else if (key == "key_file") {
            settings.key_file = settings.data / *value;
        } else if (key == "password_file") {
            settings.password_file = settings.data / *value;
        } else {
            return fail(ErrorCode::config_invalid,
                        fmt::format("config.toml: unknown setting {}", key.str()));
        }
    }
    return {};
}

Result<void> check_url(const char* name, std::string& url) {
    while (url.ends_with('/'))
        url.pop_back();
    if (const auto parsed = ledger::rpc::parse_url(url); !parsed)
        return fail(ErrorCode::config_invalid,
                    fmt::format("{} \"{}\": {}", name, url, parsed.error().detail()));
    return {};
}

/// A new name is on disk when its folder is.
bool sync_folder(const std::filesystem::path& folder) {
    const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return false;
    const bool synced = ::fsync(fd) == 0;
    ::close(fd);
    return synced;
}

std::filesystem::path default_data(const Environment& environment) {
    const std::string home = environment("HOME");
    return std::filesystem::path(home.empty() ? "." : home) / ".millrace";
}

}  // namespace

std::string system_environment(const char* name) {
    const char* value = std::getenv(name);
    return value == nullptr ? std::string() : std::string(value);
}

Result<Settings> load_settings(const GivenSettings& given, const Environment& environment) {
    const auto pick = [&](const std::string& option, const char* variable) {
        return option.empty() ? environment(variable) : option;
    };
    Settings settings;
    const std::string data = pick(given.data, "MILLRACE_DATA");
    settings.data = std::filesystem::absolute(data.empty() ? default_data(environment)
                                                           : std::filesystem::path(data));
    settings.key_file = settings.data / "wallet.json";
    TRY_ASSIGN(const auto text, read_small_file(settings.data / "config.toml", kConfigBytesMax));
    if (text) TRY(apply_file(*text, settings));
    if (auto market = pick(given.market, "MILLRACE_MARKET"); !market.empty())
        settings.market = std::move(market);
    if (auto rpc = pick(given.rpc, "MILLRACE_RPC"); !rpc.empty()) {
        settings.rpc = std::move(rpc);
        settings.rpc_given = true;
    }
    if (const auto key = pick(given.key_file, "MILLRACE_KEY_FILE"); !key.empty())
        settings.key_file = std::filesystem::absolute(key);
    if (const auto file = pick(given.password_file, "MILLRACE_PASSWORD_FILE"); !file.empty())
        settings.password_file = std::filesystem::absolute(file);
    settings.json = given.json;
    settings.yes = given.yes;
    settings.curl = given.curl;
    settings.explain = given.explain;
    settings.dry_run = given.dry_run;
    TRY(check_settings(settings));
    return settings;
}

Result<void> check_settings(Settings& settings) {
    TRY(check_url("market", settings.market));
    return check_url("rpc", settings.rpc);
}

Result<std::string> config_text(const Settings& settings) {
    std::string out =
        "# Settings of millrace. MILLRACE_… variables win over them, options over both.\n";
    const auto add = [&out](const char* name, const std::string& value) -> Result<void> {
        for (const char c : value)
            if (c == '\'' || static_cast<unsigned char>(c) < 0x20)
                return fail(ErrorCode::unsupported,
                            fmt::format("{}: quotes and control characters cannot be kept", name));
        out += fmt::format("{} = '{}'\n", name, value);
        return {};
    };
    TRY(add("market", settings.market));
    TRY(add("rpc", settings.rpc));
    if (settings.key_file != settings.data / "wallet.json")
        TRY(add("key_file", settings.key_file.string()));
    if (!settings.password_file.empty()) TRY(add("password_file", settings.password_file.string()));
    return out;
}

Result<void> write_private_file(const std::filesystem::path& path, std::string_view text) {
    std::error_code error;
    const bool had_folder = std::filesystem::exists(path.parent_path(), error);
    std::filesystem::create_directories(path.parent_path(), error);
    if (error) return fail(ErrorCode::io_error, "cannot make " + path.parent_path().string());
    if (!had_folder)
        std::filesystem::permissions(path.parent_path(), std::filesystem::perms::owner_all, error);
    std::filesystem::path temporary = path;
    temporary += ".tmp";
    const int fd =
        ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, S_IRUSR | S_IWUSR);
    if (fd < 0) return fail(ErrorCode::io_error, "cannot write " + path.string());
    const bool written = ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
    const bool synced = written && ::fsync(fd) == 0;
    ::close(fd);
    if (!synced || ::rename(temporary.c_str(), path.c_str()) != 0 ||
        !sync_folder(path.parent_path()))
        return fail(ErrorCode::io_error, "cannot write " + path.string());
    return {};
}

Result<std::optional<std::string>> read_small_file(const std::filesystem::path& path,
                                                   std::size_t bytes_max) {
    std::error_code error;
    if (!std::filesystem::exists(path, error)) return std::optional<std::string>();
    std::ifstream in(path, std::ios::binary);
    if (!in) return fail(ErrorCode::io_error, "cannot read " + path.string());
    std::string text(bytes_max + 1, '\0');
    in.read(text.data(), static_cast<std::streamsize>(text.size()));
    text.resize(static_cast<std::size_t>(in.gcount()));
    if (text.size() > bytes_max)
        return fail(ErrorCode::too_large,
                    fmt::format("{} is larger than {} bytes", path.string(), bytes_max));
    return std::optional<std::string>(std::move(text));
}

}  // namespace marketplace::cli
