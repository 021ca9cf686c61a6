// SPDX-License-Identifier: Apache-2.0
#include "marketplace/app/application.hpp"
#include "marketplace/app/log_format.hpp"

#include <CLI/CLI.hpp>
#include <signal.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <cerrno>
#include <ctime>

namespace marketplace::app {
namespace {

using ledger::base::Error;
using ledger::base::ErrorCode;

enum ExitCode : int { kOk = 0, kFailed = 1, kUsage = 2, kUnreachable = 8 };

int exit_code(const Error& error) {
    switch (error.code()) {
        case ErrorCode::config_invalid:
        case ErrorCode::data_missing:
            return kUsage;
        case ErrorCode::chain_unreachable:
        case ErrorCode::chain_bad_answer:
        case ErrorCode::chain_mismatch:
        case ErrorCode::timeout:
        case ErrorCode::unavailable:
            return kUnreachable;
        default:
            return kFailed;
    }
}

int fail_with(const Error& error) {
    std::fprintf(stderr, "millrace-market: %s\n", error.message().c_str());
    return exit_code(error);
}

// Signals are taken by this thread alone; every other thread inherits the mask.
sigset_t block_signals() {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &set, nullptr);
    signal(SIGPIPE, SIG_IGN);
    return set;
}

}  // namespace

int run_program(int argc, char** argv) {
    CLI::App arguments{"The market: order book, public log, settlement and API in one process"};
    std::string file;
    bool verbose = false;
    arguments.add_option("--config", file, "settings file (TOML); see marketplace/app/README.md")
        ->required();
    bool adopt_chain_nonce = false;
    arguments.add_flag("--adopt-chain-nonce", adopt_chain_nonce,
                       "after foreign_nonce: go on from the chain's nonce; "
                       "see ledger/settlement/README.md");
    arguments.add_flag("--verbose", verbose, "log details");
    arguments.set_version_flag("--version", "millrace-market 0.1.0");
    try {
        arguments.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        return arguments.exit(error) == 0 ? kOk : kUsage;
    }
    spdlog::set_default_logger(spdlog::stderr_color_mt("market"));
    spdlog::set_pattern("%Y-%m-%dT%H:%M:%S.%eZ %^%l%$ %v", spdlog::pattern_time_type::utc);
    spdlog::set_level(verbose ? spdlog::level::debug : spdlog::level::info);

    const sigset_t signals = block_signals();
    auto config = read_config(file);
    if (!config) return fail_with(config.error());
    config->adopt_chain_nonce = adopt_chain_nonce;
    if (config->log_json) log_as_json();
    const std::string address = config->listen_address;
    auto application = Application::start(std::move(*config));
    if (!application) return fail_with(application.error());
    spdlog::info("listening on http://{}:{}", address, (*application)->port());
    const timespec tick{0, 200'000'000};
    for (;;) {
        const int number = sigtimedwait(&signals, nullptr, &tick);
        if (number == SIGINT || number == SIGTERM) break;
        (*application)->tick();
    }
    spdlog::info("stopping");
    application->reset();
    return kOk;
}

}  // namespace marketplace::app
