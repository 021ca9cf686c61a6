// SPDX-License-Identifier: Apache-2.0
// A newcomer's first command: where the market is, a wallet, and what to do next.
#include "ledger/base/hex.hpp"
#include "ledger/crypto/address.hpp"
#include "ledger/rpc/json.hpp"
#include "ledger/rpc/poll.hpp"
#include "marketplace/cli/money.hpp"
#include "marketplace/cli/wallet.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <unistd.h>

#include <iostream>
#include <memory>

namespace marketplace::cli {
namespace {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::to_hex;
using ledger::crypto::KeyStoreCost;
using ledger::crypto::PrivateKey;
using ledger::crypto::to_checksum;
using nlohmann::json;

struct InitOptions {
    std::string import_file;
    std::string deposit;
    std::uint64_t wait_s = 600;
    bool light = false;
};

/// One question; an empty answer takes what is set.
std::string ask(Context& context, std::string_view question, const std::string& preset) {
    context.messages.write(fmt::format("{} [{}]: ", question, preset));
    std::string answer;
    if (!std::getline(std::cin, answer) || answer.empty()) return preset;
    return answer;
}

std::filesystem::path config_file(const Settings& settings) {
    return settings.data / "config.toml";
}

bool is_there(const std::filesystem::path& path) {
    std::error_code ignored;
    return std::filesystem::exists(path, ignored);
}

Result<void> ask_where(Context& context) {
    Settings& settings = context.settings;
    settings.market = ask(context, "Market", settings.market);
    settings.rpc = ask(context, "Node of the chain (JSON-RPC)", settings.rpc);
    return check_settings(settings);
}

/// The settings of this run as a file that later ones read; an older file stays.
Result<void> keep_settings(const Settings& settings) {
    if (is_there(config_file(settings))) return {};
    TRY_ASSIGN(const std::string text, config_text(settings));
    return write_private_file(config_file(settings), text);
}

/// The wallet's account; a key is made, or taken from a file, when there is none.
Result<Address> keep_or_make_wallet(Context& context, const InitOptions& options) {
    const Settings& settings = context.settings;
    if (is_there(settings.key_file)) {
        if (!options.import_file.empty()) TRY(refuse_existing_wallet(settings));
        return context.account();
    }
    TRY_ASSIGN(const std::string password, read_password(settings, PasswordUse::kChoose));
    std::optional<PrivateKey> key;
    if (options.import_file.empty()) {
        key.emplace(PrivateKey::generate());
    } else {
        TRY_ASSIGN(auto imported, read_secret(options.import_file, password));
        key.emplace(std::move(imported));
    }
    TRY(store_wallet(settings, *key, password,
                     options.light ? KeyStoreCost::kLight : KeyStoreCost::kStandard));
    const Address account = key->address();
    context.keep_key(std::move(*key));
    return account;
}

/// Waits until the account holds `atoms` and something for gas; shows where to send them.
Result<void> wait_for_money(Context& context, const Address& account, std::uint64_t atoms,
                            std::uint64_t wait_s) {
    bool told = false;
    const auto look = [&]() -> Result<bool> {
        TRY_ASSIGN(const Funds funds, read_funds(context, account));
        if (funds.wallet_units >= atoms && funds.coin != 0U) return true;
        if (!std::exchange(told, true))
            context.messages.line(fmt::format("Waiting for {} tokens and some coin for gas at {} …",
                                              tokens(atoms), to_checksum(account)));
        return false;
    };
    ledger::rpc::PollOptions patience;
    patience.timeout = std::chrono::seconds(wait_s);
    TRY_ASSIGN(const bool arrived, ledger::rpc::poll_until(patience, look));
    if (arrived) return {};
    return fail(ErrorCode::insufficient_funds,
                fmt::format("{} tokens and coin for gas did not arrive at {}; when they have: "
                            "millrace deposit {}",
                            tokens(atoms), to_checksum(account), tokens(atoms)));
}

std::string next_command(const Address& account, const Funds& funds) {
    const std::uint64_t available = funds.available_atoms.value_or(0);
    if (available > 0) return "millrace train --help, or millrace models";
    if (funds.wallet_units != 0U && funds.coin != 0U) return "millrace deposit AMOUNT";
    return fmt::format(
        "send coin for gas and settlement tokens to {}, then: millrace deposit AMOUNT",
        to_checksum(account));
}

Result<void> print_result(Context& context, const Address& account) {
    TRY_ASSIGN(const MarketFacts* facts, context.facts());
    TRY_ASSIGN(const Funds funds, read_funds(context, account));
    const Settings& settings = context.settings;
    const std::string next = next_command(account, funds);
    if (context.json()) {
        context.print_json({{"account", to_hex(account)},
                            {"market", settings.market},
                            {"rpc", settings.rpc},
                            {"chain_id", facts->deployment.chain_id},
                            {"config", config_file(settings).string()},
                            {"key_file", settings.key_file.string()},
                            {"coin", ledger::eth::to_decimal(funds.coin)},
                            {"wallet", ledger::eth::to_decimal(funds.wallet_units)},
                            {"free", std::to_string(funds.free_atoms)},
                            {"available", std::to_string(funds.available_atoms.value_or(0))},
                            {"next", next}});
        return {};
    }
    context.say(
        fmt::format("Market     {} (version {})", settings.market, printable(facts->version)));
    context.say(fmt::format("Chain      {} at {}", facts->deployment.chain_id, settings.rpc));
    context.say(fmt::format("Settings   {}", config_file(settings).string()));
    context.say(fmt::format("Key file   {}  (keep a copy)", settings.key_file.string()));
    context.say(fmt::format("Account    {}", to_checksum(account)));
    context.say(fmt::format("To spend   {} tokens", tokens(funds.available_atoms.value_or(0))));
    context.say("Next: " + next);
    return {};
}

/// Nothing is written before market and node have answered and belong together.
Result<void> init(Context& context, const InitOptions& options) {
    std::uint64_t deposit_atoms = 0;
    if (!options.deposit.empty()) {
        TRY_ASSIGN(deposit_atoms, parse_amount(options.deposit, "--deposit"));
    }
    const bool asks = isatty(STDIN_FILENO) == 1 && !context.json() && !context.settings.yes;
    if (asks && !is_there(config_file(context.settings))) TRY(ask_where(context));
    TRY(context.check_chain());
    TRY_ASSIGN(const Address account, keep_or_make_wallet(context, options));
    TRY(keep_settings(context.settings));
    if (deposit_atoms > 0) {
        TRY(wait_for_money(context, account, deposit_atoms, options.wait_s));
        TRY(deposit_tokens(context, deposit_atoms, DepositWait::kUntilSeen));
    }
    return print_result(context, account);
}

}  // namespace

void add_init_command(CLI::App& app, const Choose& choose) {
    auto options = std::make_shared<InitOptions>();
    CLI::App* command =
        app.add_subcommand("init", "First steps: settings, a wallet, checks, what comes next");
    command->add_option("--import-key", options->import_file,
                        "Private key (64 hex digits, or a key file) to keep as the wallet");
    command->add_option("--deposit", options->deposit,
                        "Wait for so many tokens at the account, then put them into escrow");
    command->add_option("--wait", options->wait_s, "Seconds that --deposit waits for them")
        ->check(CLI::Range(std::uint64_t{0}, std::uint64_t{86'400}))
        ->capture_default_str();
    command->add_flag("--light-key-file", options->light,
                      "Cheap key derivation: for tests and local chains only");
    choose(command, [options](Context& c) { return init(c, *options); });
}

}  // namespace marketplace::cli
