// SPDX-License-Identifier: Apache-2.0
#include "worker/agent/config.hpp"

#include "ledger/base/cpu_count.hpp"
#include "ledger/base/limits.hpp"
#include "ledger/base/money.hpp"
#include "ledger/rpc/http_client.hpp"
#include "worker/agent/durable_file.hpp"

#include <fmt/format.h>
#include <toml++/toml.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <limits>

namespace worker::agent {
namespace {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Money;
using ledger::base::Result;

constexpr std::size_t kFileBytesMax = 64 * 1024;
constexpr std::uint64_t kAny = std::numeric_limits<std::int64_t>::max();

Result<void> set_text(const toml::node& node, std::string_view key, std::string& out) {
    const auto value = node.value_exact<std::string>();
    if (!value || value->empty() || value->size() > 1024)
        return fail(ErrorCode::config_invalid, std::string(key) + " must be a text in quotes");
    out = *value;
    return {};
}

Result<void> set_path(const toml::node& node, std::string_view key,
                      const std::filesystem::path& data, std::filesystem::path& out) {
    std::string text;
    TRY(set_text(node, key, text));
    out = data / text;
    return {};
}

template <typename Number>
Result<void> set_number(const toml::node& node, std::string_view key, Number& out,
                        std::uint64_t least, std::uint64_t most) {
    const auto value = node.value_exact<std::int64_t>();
    if (!value || *value < 0 || static_cast<std::uint64_t>(*value) < least ||
        static_cast<std::uint64_t>(*value) > most)
        return fail(ErrorCode::config_invalid,
                    fmt::format("{} must be a whole number from {} to {}", key, least, most));
    out = static_cast<Number>(*value);
    return {};
}

Result<void> set_price(const toml::node& node, std::string_view key, std::uint64_t& out) {
    std::string text;
    TRY(set_text(node, key, text));
    const Result<Money> price = Money::parse_tokens(text);
    if (!price)
        return fail(ErrorCode::config_invalid,
                    std::string(key) + " must be tokens in quotes, like \"0.0005\"");
    out = static_cast<std::uint64_t>(price->atoms());
    return {};
}

Result<void> set_sandbox(const toml::node& node, sandbox::Mode& out) {
    std::string text;
    TRY(set_text(node, "sandbox", text));
    TRY_ASSIGN(out, sandbox::parse_mode(text));
    return {};
}

Result<void> set_key(std::string_view key, const toml::node& node, WorkerConfig& c) {
    if (key == "market") return set_text(node, key, c.market);
    if (key == "rpc") return set_text(node, key, c.rpc);
    if (key == "provider_key") return set_path(node, key, c.data, c.provider_key);
    if (key == "worker_key") return set_path(node, key, c.data, c.worker_key);
    if (key == "password_file") return set_path(node, key, c.data, c.password_file);
    if (key == "region") return set_text(node, key, c.region);
    if (key == "gpu_model") return set_text(node, key, c.gpu_model);
    if (key == "gpu_count") return set_number(node, key, c.gpu_count, 1, 1024);
    if (key == "vram_mib") return set_number(node, key, c.vram_mib, 1, kAny);
    if (key == "ram_mib") return set_number(node, key, c.ram_mib, 1, kAny);
    if (key == "cpu_cores") return set_number(node, key, c.cpu_cores, 1, 4096);
    if (key == "disk_mib") return set_number(node, key, c.disk_mib, 0, kAny);
    if (key == "bandwidth_mbps") return set_number(node, key, c.bandwidth_mbps, 0, 1'000'000);
    if (key == "gflop_per_s") return set_number(node, key, c.gflop_per_s, 0, UINT32_MAX);
    if (key == "memory_mb_per_s") return set_number(node, key, c.memory_mb_per_s, 0, UINT32_MAX);
    if (key == "interconnect") return set_text(node, key, c.interconnect);
    if (key == "max_flops_per_step") return set_number(node, key, c.max_flops_per_step, 1, kAny);
    if (key == "price_step") return set_price(node, key, c.price_step_atoms);
    if (key == "price_input_token") return set_price(node, key, c.price_input_token_atoms);
    if (key == "price_output_token") return set_price(node, key, c.price_output_token_atoms);
    if (key == "bond") return set_price(node, key, c.bond_atoms);
    if (key == "threads") return set_number(node, key, c.threads, 1, 1024);
    if (key == "job_memory_mib") return set_number(node, key, c.job_memory_mib, 64, kAny);
    if (key == "cache_mib") return set_number(node, key, c.cache_mib, 64, kAny);
    if (key == "ask_hours") return set_number(node, key, c.ask_hours, 1, 24 * 365);
    if (key == "sandbox") return set_sandbox(node, c.sandbox);
    return fail(ErrorCode::config_invalid, "unknown setting " + std::string(key));
}

/// The folder itself stays out of the file: paths below it are written relative.
std::string below(const std::filesystem::path& path, const std::filesystem::path& data) {
    const auto inside = path.lexically_relative(data);
    const bool is_inside = !inside.empty() && *inside.begin() != "..";
    return is_inside ? inside.string() : path.string();
}

/// Can stand between quotes in TOML as it is.
bool is_plain(std::string_view text) {
    return std::none_of(text.begin(), text.end(), [](char c) {
        return c == '"' || c == '\\' || static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
    });
}

std::string tokens(std::uint64_t atoms) {
    return Money(static_cast<std::int64_t>(atoms)).to_tokens();
}

/// Half of what is free where the data lies, in whole GiB so that it says the same tomorrow.
std::uint64_t free_disk_mib(std::filesystem::path folder) {
    std::error_code error;
    while (!std::filesystem::exists(folder, error) && folder.has_relative_path())
        folder = folder.parent_path();
    const auto space = std::filesystem::space(folder, error);
    return error ? 0 : (space.available / 2 >> 30U) * 1024;
}

}  // namespace

std::filesystem::path default_data_folder() {
    if (const char* folder = std::getenv("MILLRACE_WORKER_DATA"); folder && *folder) return folder;
    const char* home = std::getenv("HOME");
    return std::filesystem::path(home && *home ? home : ".") / ".millrace-worker";
}

WorkerConfig default_config(const std::filesystem::path& data) {
    WorkerConfig config;
    config.data = data;
    config.provider_key = data / "provider.json";
    config.worker_key = data / "worker.json";
    config.password_file = data / "password";
    config.cpu_cores = ledger::base::cpu_count();
    config.threads = static_cast<int>(config.cpu_cores);
    const long pages = sysconf(_SC_PHYS_PAGES);
    const long page_bytes = sysconf(_SC_PAGE_SIZE);
    const std::uint64_t bytes =
        pages > 0 && page_bytes > 0
            ? static_cast<std::uint64_t>(pages) * static_cast<std::uint64_t>(page_bytes)
            : std::uint64_t{1} << 30;
    config.ram_mib = std::max<std::uint64_t>(bytes >> 20U, 512);
    config.job_memory_mib = std::max<std::uint64_t>(config.ram_mib / 2, 256);
    config.vram_mib = config.job_memory_mib;
    config.disk_mib = free_disk_mib(data);
    config.max_flops_per_step = 1'000'000'000'000;
    config.price_step_atoms = 500;              // 0.0005 a step
    config.price_input_token_atoms = 100'000;   // 0.1 a million
    config.price_output_token_atoms = 300'000;  // 0.3 a million
    return config;
}

Result<WorkerConfig> parse_config(std::string_view text, const std::filesystem::path& data) {
    toml::table table;
    try {
        table = toml::parse(text);
    } catch (const toml::parse_error& error) {
        return fail(
            ErrorCode::config_invalid,
            fmt::format("line {} is not TOML: {}", error.source().begin.line, error.description()));
    }
    WorkerConfig config = default_config(data);
    for (const auto& [key, node] : table)
        TRY(set_key(key.str(), node, config));
    TRY(check_config(config));
    return config;
}

Result<WorkerConfig> read_config(const std::filesystem::path& data) {
    const Result<std::string> text = read_file(data / "worker.toml", kFileBytesMax);
    if (!text && text.error().code() == ErrorCode::data_missing)
        return fail(ErrorCode::config_invalid, "there is no " + (data / "worker.toml").string() +
                                                   ": run `millrace-worker setup` first");
    if (!text) return tl::make_unexpected(text.error());
    return parse_config(*text, data);
}

std::string to_toml(const WorkerConfig& config) {
    return fmt::format(
        R"(# Settings of millrace-worker. Environment (MILLRACE_MARKET, …) and options win over this file.

# Where the market listens, and a node of the chain it settles on: use one you trust.
market = "{}"
rpc = "{}"

# Keys (Web3 key files). The provider key owns bond and earnings: it is opened to register and to
# sign asks. The worker key only signs receipts. Relative paths are below this folder.
provider_key = "{}"
worker_key = "{}"
password_file = "{}"

# What is offered.
region = "{}"
gpu_model = "{}"
gpu_count = {}
vram_mib = {}
ram_mib = {}
cpu_cores = {}
disk_mib = {}
# To the outside, in Mbit/s; 0: not told.
bandwidth_mbps = {}
# Of one GPU, or of the CPU: `setup` measures and writes them; 0: not told.
gflop_per_s = {}
memory_mb_per_s = {}
{}max_flops_per_step = {}

# Prices in settlement tokens: per training step, and per million tokens. "0": not offered.
price_step = "{}"
price_input_token = "{}"
price_output_token = "{}"
# How long an ask stays listed before it is signed anew.
ask_hours = {}

# Bond put down by `register`, in settlement tokens; "0": the least the contract takes.
bond = "{}"

# Limits of this machine. Threads are part of what makes training bitwise repeatable: keep them.
threads = {}
# A training job may use this much; the models that are served share it (vram_mib on a GPU), and those without
# requests make room for others.
job_memory_mib = {}
cache_mib = {}
# "bwrap" (bubblewrap, seccomp, no network) or "none" (only for jobs of your own).
sandbox = "{}"
)",
        config.market, config.rpc, below(config.provider_key, config.data),
        below(config.worker_key, config.data), below(config.password_file, config.data),
        config.region, config.gpu_model, config.gpu_count, config.vram_mib, config.ram_mib,
        config.cpu_cores, config.disk_mib, config.bandwidth_mbps, config.gflop_per_s,
        config.memory_mb_per_s,
        config.interconnect.empty() ? std::string()
                                    : fmt::format("interconnect = \"{}\"\n", config.interconnect),
        config.max_flops_per_step, tokens(config.price_step_atoms),
        tokens(config.price_input_token_atoms), tokens(config.price_output_token_atoms),
        config.ask_hours, tokens(config.bond_atoms), config.threads, config.job_memory_mib,
        config.cache_mib, sandbox::to_string(config.sandbox));
}

void apply_environment(WorkerConfig& config) {
    const auto set = [](const char* name, auto& out) {
        if (const char* value = std::getenv(name); value && *value) out = value;
    };
    set("MILLRACE_MARKET", config.market);
    set("MILLRACE_RPC", config.rpc);
    set("MILLRACE_PASSWORD_FILE", config.password_file);
}

Result<void> check_config(const WorkerConfig& config) {
    for (const auto& [name, url] : {std::pair{"market", config.market}, {"rpc", config.rpc}})
        if (const auto parsed = ledger::rpc::parse_url(url); !parsed)
            return fail(ErrorCode::config_invalid,
                        fmt::format("{}: {}", name, parsed.error().detail()));
    if (config.market.ends_with('/'))
        return fail(ErrorCode::config_invalid, "market must be http://host:port without a path");
    const bool tokens_offered =
        config.price_input_token_atoms > 0 && config.price_output_token_atoms > 0;
    if (config.price_step_atoms == 0 && !tokens_offered)
        return fail(ErrorCode::config_invalid,
                    "offer something: price_step, or both price_input_token and "
                    "price_output_token, above 0");
    for (const std::uint64_t price :
         {config.price_step_atoms, config.price_input_token_atoms, config.price_output_token_atoms})
        if (price > ledger::base::limits::kMaxPriceAtoms)
            return fail(ErrorCode::config_invalid, "a price is above the market's limit");
    if (!is_plain(config.interconnect) || config.interconnect.size() > 64)
        return fail(ErrorCode::config_invalid, "interconnect: at most 64 bytes, no quotes");
    for (const std::string& text : {config.region, config.gpu_model})
        if (text.empty() || text.size() > 64 || !is_plain(text))
            return fail(ErrorCode::config_invalid,
                        "region and gpu_model: 1 to 64 bytes without quotes or control characters");
    for (const auto& path : {config.provider_key, config.worker_key, config.password_file})
        if (!is_plain(path.string()))
            return fail(ErrorCode::config_invalid,
                        "paths must not hold quotes, backslashes or control characters");
    return {};
}

}  // namespace worker::agent
