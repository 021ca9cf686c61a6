// SPDX-License-Identifier: Apache-2.0
#include "marketplace/cli/program.hpp"

#include "ledger/rpc/json.hpp"
#include "marketplace/cli/command_tree.hpp"
#include "marketplace/cli/completion.hpp"
#include "marketplace/cli/context.hpp"
#include "marketplace/cli/event_commands.hpp"
#include "marketplace/cli/exit_code.hpp"
#include "marketplace/cli/explain.hpp"
#include "marketplace/cli/man_page.hpp"
#include "marketplace/cli/webhook_commands.hpp"
#include "marketplace/cli/wrap.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <array>
#include <cctype>
#include <csignal>

namespace marketplace::cli {
namespace {

using ledger::base::Error;
using ledger::base::ErrorCode;

constexpr const char* kVersion = "0.1.0";
constexpr std::size_t kHelpColumns = 79;
constexpr const char* kVersionDate = "2026-11-27";

constexpr const char* kFooter =
    "Settings come from defaults, ~/.millrace/config.toml, then MILLRACE_MARKET,\n"
    "MILLRACE_RPC, MILLRACE_DATA, MILLRACE_KEY_FILE, MILLRACE_PASSWORD_FILE, then\n"
    "options. Exit status: 0 done, 1 failed, 2 wrong usage or input, 3 not signed in\n"
    "or not yours, 4 payment, 5 nobody offers it, 6 the job failed, 7 verification\n"
    "failed, 8 unreachable. `millrace man | man -l -` has all of it.\n"
    "First steps: millrace init, deposit, train.";

void print_error(const Context& context, const GivenSettings& given, const Error& error) {
    Terminal messages = context.messages;
    messages.settle();
    if (given.json) {
        messages.line(ledger::rpc::to_text({{"code", std::string(to_string(error.code()))},
                                            {"detail", error.detail()},
                                            {"help", std::string(help_for(error.code()))}}));
        return;
    }
    const std::string head = messages.paint(Paint::kRed, to_string(error.code()));
    const auto say = [&messages](const std::string& text) {
        messages.line(wrap(text, messages.columns() - 1, 0));
    };
    say(error.detail().empty() ? head : fmt::format("{}: {}", head, error.detail()));
    if (given.explain) {
        for (const std::string& line : explain_error(error.code()))
            say(line);
    } else {
        std::string help(help_for(error.code()));
        help.front() = static_cast<char>(std::toupper(static_cast<unsigned char>(help.front())));
        say(help + ".");
    }
    messages.line(fmt::format("Next: {}", next_command(error.code())));
}

/// CLI11's help in 80 columns.
class NarrowFormatter final : public CLI::Formatter {
 public:
    std::string make_help(const CLI::App* app, std::string name,
                          CLI::AppFormatMode mode) const override {
        return wrap(CLI::Formatter::make_help(app, std::move(name), mode), kHelpColumns,
                    get_column_width());
    }
};

/// The man page's own words; commands and options come from the parser.
ManFacts man_facts() {
    ManFacts out{"millrace", kVersion, kVersionDate, {}, {}, {}};
    out.environment = {
        {"MILLRACE_MARKET", "The market's address, http://host:port."},
        {"MILLRACE_RPC", "The node of the chain, http://host:port."},
        {"MILLRACE_DATA", "The folder of wallet, session and settings."},
        {"MILLRACE_KEY_FILE", "The wallet's key file."},
        {"MILLRACE_PASSWORD_FILE",
         "A file with the wallet's password, readable by its owner only."},
        {"MILLRACE_API_KEY", "chat and infer: an API key instead of the wallet's session."},
        {"NO_COLOR", "Not empty: no colours. Without a terminal there are none anyway."},
        {"COLUMNS", "Width of tables where the terminal does not tell."},
    };
    out.files = {
        {"~/.millrace/config.toml",
         "Settings: market, rpc, key_file and password_file, texts in quotes. Variables of the "
         "environment win over the file, options over both."},
        {"~/.millrace/wallet.json", "The key, encrypted (Web3 Secret Storage)."},
        {"~/.millrace/session.json", "The session's token; signing in makes it anew."},
    };
    for (std::uint8_t code = 0; code <= static_cast<std::uint8_t>(ExitCode::kUnreachable); ++code)
        out.exit_codes.emplace_back(std::to_string(code),
                                    std::string(to_sentence(static_cast<ExitCode>(code))) + ".");
    return out;
}

/// Commands that move money. What they would do is shown by --dry-run; train, finetune and quote
/// have that of their own.
constexpr std::array<std::array<const char*, 2>, 8> kSpending = {{{"deposit", ""},
                                                                  {"withdraw", ""},
                                                                  {"revoke", ""},
                                                                  {"serve", ""},
                                                                  {"accuse", ""},
                                                                  {"object", ""},
                                                                  {"orders", "cancel"},
                                                                  {"jobs", "cancel"}}};

void add_dry_run(CLI::App& app, bool& dry_run) {
    for (const auto& [name, below] : kSpending) {
        CLI::App* command = app.get_subcommand(name);
        if (*below != '\0') command = command->get_subcommand(below);
        command->add_flag("--dry-run", dry_run, "Show what it would do and cost, and stop");
    }
}

void add_program_options(CLI::App& app, GivenSettings& given) {
    app.formatter(std::make_shared<NarrowFormatter>());  // commands added later take it over
    app.require_subcommand(1);
    app.fallthrough();
    app.footer(kFooter);
    app.failure_message([](const CLI::App*, const CLI::Error& error) {
        return fmt::format("{}\nNext: the same with --help\n", error.what());
    });
    app.set_version_flag("--version", fmt::format("millrace {}", kVersion));
    app.add_option("--market", given.market, "Market, http://host:port");
    app.add_option("--rpc", given.rpc, "Node of the chain, http://host:port");
    app.add_option("--data", given.data, "Folder of wallet and session (~/.millrace)");
    app.add_option("--key-file", given.key_file, "Wallet (wallet.json in the data folder)");
    app.add_option("--password-file", given.password_file, "File with the wallet's password");
    app.add_flag("--json", given.json, "Machine-readable output on stdout, problems on stderr");
    app.add_flag("--yes,-y", given.yes, "Answer yes to questions about money");
    app.add_flag("--curl", given.curl, "Print every request as a curl command, without secrets");
    app.add_flag("--explain", given.explain, "Say more of reasons and errors, in sentences");
}

void add_all_commands(CLI::App& app, const Choose& choose) {
    add_init_command(app, choose);
    add_wallet_commands(app, choose);
    add_money_commands(app, choose);
    add_blob_commands(app, choose);
    add_train_commands(app, choose);
    add_finetune_commands(app, choose);
    add_job_commands(app, choose);
    add_serve_commands(app, choose);
    add_market_commands(app, choose);
    add_key_commands(app, choose);
    add_order_commands(app, choose);
    add_statement_command(app, choose);
    add_audit_commands(app, choose);
    add_accuse_commands(app, choose);
    add_object_commands(app, choose);
    add_witness_commands(app, choose);
    add_proof_commands(app, choose);
    add_webhook_commands(app, choose);
    add_event_commands(app, choose);
}

void add_help_commands(CLI::App& app, const Choose& choose, std::string& shell) {
    CLI::App* completion = app.add_subcommand("completion", "A script for your shell");
    completion->add_option("SHELL", shell, "Of which shell")
        ->required()
        ->check(CLI::IsMember({"bash", "zsh", "fish"}));
    choose(completion, [&](Context& c) -> Result<void> {
        c.out.write(completion_script("millrace", shell, list_commands(app)));
        return {};
    });
    choose(app.add_subcommand("man", "The man page: millrace man | man -l -"),
           [&](Context& c) -> Result<void> {
               c.out.write(man_page(man_facts(), list_commands(app)));
               return {};
           });
}

}  // namespace

int run_program(int argc, char** argv) {
    std::signal(SIGPIPE, SIG_IGN);
    GivenSettings given;
    Action chosen;
    std::string shell;
    CLI::App app("Buys work on the Millrace market, and checks it.", "millrace");
    add_program_options(app, given);
    const Choose choose = [&chosen](CLI::App* command, Action action) {
        command->fallthrough();
        command->callback([&chosen, action = std::move(action)] { chosen = action; });
    };
    add_all_commands(app, choose);
    add_help_commands(app, choose, shell);
    add_dry_run(app, given.dry_run);
    // CLI11 nests: options of the program are taken after any subcommand.
    for (CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; }))
        command->fallthrough();
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        return app.exit(error) == 0 ? 0 : static_cast<int>(ExitCode::kUsage);
    }
    Context context;
    const auto settings = load_settings(given, system_environment);
    if (!settings) {
        print_error(context, given, settings.error());
        return static_cast<int>(exit_code_for(settings.error().code()));
    }
    context.settings = *settings;
    const Result<void> result = chosen(context);
    if (result) return 0;
    if (context.settings.dry_run && result.error().code() == ErrorCode::cancelled) {
        context.say("Dry run: nothing was sent.");
        return 0;
    }
    print_error(context, given, result.error());
    return static_cast<int>(exit_code_for(result.error().code()));
}

}  // namespace marketplace::cli
