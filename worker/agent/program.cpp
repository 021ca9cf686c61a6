// SPDX-License-Identifier: Apache-2.0
#include "worker/agent/program.hpp"

#include "ledger/base/hex.hpp"
#include "ledger/base/money.hpp"
#include "ledger/crypto/secp256k1.hpp"
#include "ledger/rpc/json.hpp"
#include "worker/agent/commands.hpp"
#include "worker/agent/gpu_facts.hpp"
#include "worker/agent/keys.hpp"
#include "worker/agent/recheck.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>

namespace worker::agent {
namespace {

using ledger::base::Error;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Hash32;
using ledger::base::Money;
using ledger::base::Result;

constexpr const char* kFooter =
    "Exit status: 0 done, 1 failed, 2 wrong usage or settings, 3 not registered or signed in, "
    "4 bond or balance too small, 8 market or chain unreachable.\n"
    "First steps: millrace-worker setup, register, doctor, run.";

int exit_status(ErrorCode code) {
    switch (code) {
        case ErrorCode::config_invalid:
        case ErrorCode::invalid_field:
        case ErrorCode::out_of_range:
            return 2;
        case ErrorCode::unauthorized:
        case ErrorCode::forbidden:
        case ErrorCode::unknown_worker:
        case ErrorCode::invalid_signature:
            return 3;
        case ErrorCode::insufficient_bond:
        case ErrorCode::insufficient_funds:
            return 4;
        case ErrorCode::unavailable:
        case ErrorCode::timeout:
        case ErrorCode::chain_unreachable:
        case ErrorCode::chain_bad_answer:
            return 8;
        default:
            return 1;
    }
}

/// Options of all subcommands, as given.
struct Given {
    std::string data;
    std::string market;
    std::string rpc;
    std::string password_file;
    bool json = false;
    // setup
    bool yes = false;
    bool light = false;
    std::string provider_key;
    std::string worker_key;
    std::string import_provider_key;
    std::string price_step;
    std::string price_input_token;
    std::string price_output_token;
    std::string bond;
    std::string region;
    std::string gpu_model;
    std::string sandbox;
    std::uint64_t ram_mib = 0;
    std::uint64_t vram_mib = 0;
    std::uint32_t cpu_cores = 0;
    int threads = 0;
    std::uint64_t job_memory_mib = 0;
    std::uint64_t max_flops_per_step = 0;
    // recheck
    RecheckOptions recheck;
    std::string seed;

    [[nodiscard]] Output output() const { return json ? Output::kJson : Output::kText; }
};

void apply_common(const Given& given, WorkerConfig& config) {
    apply_environment(config);
    if (!given.market.empty()) config.market = given.market;
    if (!given.rpc.empty()) config.rpc = given.rpc;
    if (!given.password_file.empty()) config.password_file = given.password_file;
    while (config.market.ends_with('/'))
        config.market.pop_back();
}

std::filesystem::path data_folder(const Given& given) {
    return std::filesystem::absolute(given.data.empty() ? default_data_folder()
                                                        : std::filesystem::path(given.data));
}

Result<WorkerConfig> load(const Given& given) {
    TRY_ASSIGN(WorkerConfig config, read_config(data_folder(given)));
    apply_common(given, config);
    TRY(check_config(config));
    return config;
}

Result<void> set_price(const std::string& text, const char* name, std::uint64_t& out) {
    if (text.empty()) return {};
    const auto money = Money::parse_tokens(text);
    if (!money)
        return fail(ErrorCode::config_invalid, std::string(name) + ": " + money.error().detail());
    out = static_cast<std::uint64_t>(money->atoms());
    return {};
}

Result<WorkerConfig> setup_config(const Given& given) {
    const std::filesystem::path data = data_folder(given);
    // What an earlier setup wrote is the default of the next.
    auto known = read_config(data);
    WorkerConfig config = known ? std::move(*known) : default_config(data);
    apply_common(given, config);
    config.password_file = std::filesystem::absolute(config.password_file);
    TRY(set_price(given.price_step, "--price-step", config.price_step_atoms));
    TRY(set_price(given.price_input_token, "--price-input-token", config.price_input_token_atoms));
    TRY(set_price(given.price_output_token, "--price-output-token",
                  config.price_output_token_atoms));
    TRY(set_price(given.bond, "--bond", config.bond_atoms));
    if (!given.provider_key.empty())
        config.provider_key = std::filesystem::absolute(given.provider_key);
    if (!given.worker_key.empty()) config.worker_key = std::filesystem::absolute(given.worker_key);
    if (!given.region.empty()) config.region = given.region;
    if (!given.gpu_model.empty()) config.gpu_model = given.gpu_model;
    if (given.ram_mib > 0) config.ram_mib = given.ram_mib;
    if (given.vram_mib > 0) config.vram_mib = given.vram_mib;
    if (given.cpu_cores > 0) config.cpu_cores = given.cpu_cores;
    if (given.threads > 0) config.threads = given.threads;
    if (given.job_memory_mib > 0) config.job_memory_mib = given.job_memory_mib;
    if (given.max_flops_per_step > 0) config.max_flops_per_step = given.max_flops_per_step;
    if (!given.sandbox.empty()) {
        TRY_ASSIGN(config.sandbox, sandbox::parse_mode(given.sandbox));
    }
    // What the driver says of the card goes into the ask, unless the operator said it.
    if (config.gpu_model != "cpu" && config.vram_mib == 0)
        if (const auto gpus = read_gpus(); gpus && !gpus->gpus.empty())
            config.vram_mib = gpus->gpus.front().memory_mib;
    return config;
}

Result<void> setup(const Given& given) {
    SetupOptions options;
    TRY_ASSIGN(options.config, setup_config(given));
    options.import_provider_key = given.import_provider_key;
    options.ask_questions = !given.yes && !given.json && isatty(STDIN_FILENO) == 1;
    options.light_key_files = given.light;
    options.output = given.output();
    return run_setup(options);
}

void add_setup(CLI::App& app, Given& given) {
    app.add_option("--provider-key", given.provider_key, "Key file of the provider");
    app.add_option("--worker-key", given.worker_key, "Key file of the worker");
    app.add_option("--import-provider-key", given.import_provider_key,
                   "File with the provider's private key (hex, or a key file) to copy in");
    app.add_option("--price-step", given.price_step, "Tokens per training step; 0: not offered");
    app.add_option("--price-input-token", given.price_input_token,
                   "Tokens per million input tokens; 0: not offered");
    app.add_option("--price-output-token", given.price_output_token,
                   "Tokens per million output tokens; 0: not offered");
    app.add_option("--bond", given.bond, "Bond in tokens (default: the least allowed)");
    app.add_option("--region", given.region, "Where the machine stands, e.g. eu-north");
    app.add_option("--gpu-model", given.gpu_model, "Model as buyers filter for it, or cpu");
    app.add_option("--ram-mib", given.ram_mib, "Memory offered");
    app.add_option("--vram-mib", given.vram_mib, "GPU memory offered");
    app.add_option("--cpu-cores", given.cpu_cores, "Cores offered");
    app.add_option("--threads", given.threads, "Threads of a job's process");
    app.add_option("--job-memory-mib", given.job_memory_mib, "Memory limit of a job");
    app.add_option("--max-flops-per-step", given.max_flops_per_step,
                   "Largest training step taken at the step price");
    app.add_option("--sandbox", given.sandbox, "bwrap, or none for jobs of your own");
    app.add_flag("--yes,-y", given.yes, "No questions: take defaults and options");
    app.add_flag("--light-key-files", given.light,
                 "Cheap key derivation: for tests and local chains only");
}

void add_recheck(CLI::App& app, Given& given) {
    app.add_option("DIR", given.recheck.folder, "Folder from `millrace jobs evidence`")->required();
    app.add_option("--segment", given.recheck.segments, "Only these, counted from 1: 2 or 2,5")
        ->delimiter(',')
        ->allow_extra_args(false);
    auto* sample = app.add_option("--sample", given.recheck.sample, "Only so many, by chance");
    app.add_option("--seed", given.seed, "0x and 64 hex digits that the choice follows from")
        ->needs(sample);
    app.add_option("--threads", given.threads,
                   "As the worker ran (default: what its machine most likely used)")
        ->check(CLI::Range(1, 1024));
    app.add_option("--device", given.recheck.device)
        ->check(CLI::IsMember({"cpu", "cuda"}))
        ->capture_default_str();
    app.add_option("--memory-mib", given.job_memory_mib, "Memory that a segment may take");
    app.add_option("--deployment", given.recheck.deployment,
                   "Contracts that the receipts must be signed for (default: as they say)");
    app.add_option("--sandbox", given.sandbox, "bwrap, or none for jobs of your own");
    app.footer(
        "Exit status: 0 every segment came out the same, 1 one differs, 2 one could not be "
        "checked or is only close. With --rpc the leases are looked up on the chain.");
}

/// Without a seed the choice is nobody's: the operating system's.
Result<RecheckResult> recheck(const Given& given) {
    RecheckOptions options = given.recheck;
    if (options.sample > 0 && given.seed.empty()) {
        const auto random = ledger::crypto::random_bytes(Hash32::kSize);
        std::copy(random.begin(), random.end(), options.seed.data());
    } else if (!given.seed.empty()) {
        TRY_ASSIGN(options.seed, ledger::base::parse_fixed<Hash32>(given.seed));
    }
    options.threads = given.threads;
    options.memory_mib = given.job_memory_mib;
    if (options.memory_mib == 0)
        options.memory_mib = default_config(data_folder(given)).job_memory_mib;
    options.rpc = given.rpc;
    if (!given.sandbox.empty()) {
        TRY_ASSIGN(options.sandbox, sandbox::parse_mode(given.sandbox));
    }
    return run_recheck(options, given.output());
}

void print_error(const Error& error, bool json) {
    if (json) {
        const nlohmann::json problem{{"code", std::string(to_string(error.code()))},
                                     {"detail", error.detail()},
                                     {"help", std::string(help_for(error.code()))}};
        fmt::print(stderr, "{}\n", ledger::rpc::to_text(problem));
        return;
    }
    fmt::print(stderr, "{}: {}\n  → {}\n", to_string(error.code()), error.detail(),
               help_for(error.code()));
}

}  // namespace

int run_program(int argc, char** argv) {
    Given given;
    std::function<Result<void>()> chosen;
    std::optional<RecheckResult> rechecked;
    CLI::App app("Lends this machine to the Millrace market.", "millrace-worker");
    app.require_subcommand(1);
    app.fallthrough();
    app.footer(kFooter);
    app.add_option("--data", given.data, "Folder of keys, settings and records");
    app.add_option("--market", given.market, "Market, http://host:port");
    app.add_option("--rpc", given.rpc, "Node of the chain, http://host:port");
    app.add_option("--password-file", given.password_file, "File with the key files' password");
    app.add_flag("--json", given.json, "Machine-readable output");

    const auto add = [&](const char* name, const char* text, std::function<Result<void>()> action) {
        CLI::App* command = app.add_subcommand(name, text);
        command->fallthrough();
        command->callback([&chosen, action = std::move(action)] { chosen = action; });
        return command;
    };
    const auto with_config = [&given](auto run) {
        return [&given, run]() -> Result<void> {
            TRY_ASSIGN(const WorkerConfig config, load(given));
            return run(config);
        };
    };
    add_setup(
        *add("setup", "Make keys and settings; asks three questions", [&] { return setup(given); }),
        given);
    add("register", "Register the worker key and put down the bond",
        with_config([&](const WorkerConfig& c) { return run_register(c, given.output()); }));
    add("run", "List asks, take work, earn", with_config(run_agent));
    add("doctor", "Check this machine, keys, chain and market; says how to fix what fails",
        with_config([&](const WorkerConfig& c) { return run_doctor(c, given.output()); }));
    add("status", "What runs, what was earned",
        with_config([&](const WorkerConfig& c) { return run_status(c, given.output()); }));
    add("collect", "Without the market: claim what was earned, straight on the chain",
        with_config([&](const WorkerConfig& c) { return run_collect(c, given.output()); }));
    add("why", "Why no work comes",
        with_config([&](const WorkerConfig& c) { return run_why(c, given.output()); }));
    add("benchmark", "Measure training speed in the sandbox",
        with_config([&](const WorkerConfig& c) { return run_benchmark(c, given.output()); }));
    CLI::App* again =
        add("recheck", "Run a job's segments again and compare them with its receipts",
            [&]() -> Result<void> {
                rechecked = RecheckResult::kUnsure;
                TRY_ASSIGN(rechecked, recheck(given));
                return {};
            });
    add_recheck(*again, given);
    for (const char* word : {"pause", "drain", "resume"}) {
        const std::string text = std::string(word) == "pause" ? "Take no new work"
                                 : std::string(word) == "drain"
                                     ? "Finish the work in hand, then end"
                                     : "Take work again after a pause";
        add(word, text.c_str(),
            with_config([word](const WorkerConfig& c) { return run_control(c, word); }));
    }
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        const int status = app.exit(error);
        return status == 0 ? 0 : 2;
    }
    const Result<void> result = chosen();
    if (!result) print_error(result.error(), given.json);
    if (rechecked) return static_cast<int>(*rechecked);
    if (result) return 0;
    return exit_status(result.error().code());
}

}  // namespace worker::agent
