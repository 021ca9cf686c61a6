// SPDX-License-Identifier: Apache-2.0
#include "marketplace/cli/program.hpp"

#include "ledger/rpc/json.hpp"
#include "marketplace/cli/context.hpp"
#include "marketplace/cli/exit_code.hpp"
#include "marketplace/cli/webhook_commands.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <csignal>
#include <set>

namespace marketplace::cli {
namespace {

using ledger::base::Error;

constexpr const char* kFooter =
    "Settings come from defaults, ~/.millrace/config.toml, MILLRACE_MARKET, MILLRACE_RPC,\n"
    "MILLRACE_DATA, MILLRACE_KEY_FILE and MILLRACE_PASSWORD_FILE, then options.\n"
    "Exit status: 0 done, 1 failed, 2 wrong usage or input, 3 not signed in or not yours,\n"
    "4 payment, 5 nobody offers it, 6 the job failed, 7 verification failed, 8 unreachable.\n"
    "First steps: millrace wallet new, deposit, train.";

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
    messages.line(error.detail().empty() ? head : fmt::format("{}: {}", head, error.detail()));
    messages.line(fmt::format("Next: {}", help_for(error.code())));
}

void collect_words(const CLI::App& app, std::set<std::string>& words) {
    for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
        words.insert(command->get_name());
        collect_words(*command, words);
    }
    for (const CLI::Option* option : app.get_options())
        for (const std::string& name : option->get_lnames())
            words.insert("--" + name);
}

/// A completion script from the tree itself.
Result<void> print_completion(Context& context, const CLI::App& app, const std::string& shell) {
    std::set<std::string> words;
    collect_words(app, words);
    std::string list;
    for (const std::string& word : words)
        list += word + " ";
    if (shell == "fish") {
        context.out.line(fmt::format("complete -c millrace -a \"{}\"", list));
    } else {
        const std::string bash =
            shell == "zsh" ? "autoload -U +X bashcompinit && bashcompinit\n" : "";
        context.out.line(fmt::format("{}complete -o default -W \"{}\" millrace", bash, list));
    }
    return {};
}

}  // namespace

int run_program(int argc, char** argv) {
    std::signal(SIGPIPE, SIG_IGN);
    GivenSettings given;
    Action chosen;
    std::string shell;
    CLI::App app("Buys work on the Millrace market, and checks it.", "millrace");
    app.require_subcommand(1);
    app.fallthrough();
    app.footer(kFooter);
    app.set_version_flag("--version", "millrace 0.1.0");
    app.add_option("--market", given.market, "Market, http://host:port");
    app.add_option("--rpc", given.rpc, "Node of the chain, http://host:port");
    app.add_option("--data", given.data, "Folder of wallet and session (~/.millrace)");
    app.add_option("--key-file", given.key_file, "Wallet (wallet.json in the data folder)");
    app.add_option("--password-file", given.password_file, "File with the wallet's password");
    app.add_flag("--json", given.json, "Machine-readable output on stdout, problems on stderr");
    app.add_flag("--yes,-y", given.yes, "Answer yes to questions about money");
    app.add_flag("--curl,--explain", given.curl, "Print every request as a curl command");

    const Choose choose = [&chosen](CLI::App* command, Action action) {
        command->fallthrough();
        command->callback([&chosen, action = std::move(action)] { chosen = action; });
    };
    add_wallet_commands(app, choose);
    add_money_commands(app, choose);
    add_blob_commands(app, choose);
    add_train_commands(app, choose);
    add_finetune_commands(app, choose);
    add_job_commands(app, choose);
    add_serve_commands(app, choose);
    add_market_commands(app, choose);
    add_order_commands(app, choose);
    add_audit_commands(app, choose);
    add_accuse_commands(app, choose);
    add_object_commands(app, choose);
    add_witness_commands(app, choose);
    add_proof_commands(app, choose);
    add_webhook_commands(app, choose);
    CLI::App* completion = app.add_subcommand("completion", "A script for your shell");
    completion->add_option("SHELL", shell, "bash, zsh or fish")
        ->required()
        ->check(CLI::IsMember({"bash", "zsh", "fish"}));
    choose(completion, [&](Context& c) { return print_completion(c, app, shell); });
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
    print_error(context, given, result.error());
    return static_cast<int>(exit_code_for(result.error().code()));
}

}  // namespace marketplace::cli
