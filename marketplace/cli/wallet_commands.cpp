// SPDX-License-Identifier: Apache-2.0
#include "ledger/base/hex.hpp"
#include "ledger/crypto/address.hpp"
#include "marketplace/cli/context.hpp"
#include "marketplace/cli/wallet.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <memory>

namespace marketplace::cli {
namespace {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::to_hex;
using ledger::crypto::KeyStoreCost;
using ledger::crypto::PrivateKey;

struct WalletOptions {
    std::string secret_file;
    std::string new_password_file;
    bool light = false;
};

Result<void> store(Context& context, const PrivateKey& key, const std::string& password,
                   bool light) {
    TRY(store_wallet(context.settings, key, password,
                     light ? KeyStoreCost::kLight : KeyStoreCost::kStandard));
    if (context.json()) {
        context.print_json(
            {{"address", to_hex(key.address())}, {"key_file", context.settings.key_file.string()}});
        return {};
    }
    context.say(fmt::format(
        "Account   {}\nKey file  {}  (keep a copy; nobody can restore it)\n"
        "Next: send gas and settlement tokens there, then "
        "`millrace deposit AMOUNT`",
        ledger::crypto::to_checksum(key.address()), context.settings.key_file.string()));
    return {};
}

Result<void> wallet_new(Context& context, const WalletOptions& options) {
    TRY(refuse_existing_wallet(context.settings));
    TRY_ASSIGN(const std::string password, read_password(context.settings, PasswordUse::kChoose));
    return store(context, PrivateKey::generate(), password, options.light);
}

Result<void> wallet_import(Context& context, const WalletOptions& options) {
    TRY(refuse_existing_wallet(context.settings));
    TRY_ASSIGN(const std::string password, read_password(context.settings, PasswordUse::kChoose));
    TRY_ASSIGN(const PrivateKey key, read_secret(options.secret_file, password));
    return store(context, key, password, options.light);
}

Result<void> wallet_show(Context& context) {
    TRY_ASSIGN(const Address account, context.account());
    if (context.json()) {
        context.print_json(
            {{"address", to_hex(account)}, {"key_file", context.settings.key_file.string()}});
    } else {
        context.say(fmt::format("Account   {}\nKey file  {}", ledger::crypto::to_checksum(account),
                                context.settings.key_file.string()));
    }
    return {};
}

Result<void> wallet_change_password(Context& context, const WalletOptions& options) {
    const Settings& settings = context.settings;
    TRY_ASSIGN(const std::string before, read_password(settings, PasswordUse::kOpen));
    Settings chosen = settings;
    chosen.password_file = options.new_password_file;
    TRY_ASSIGN(const std::string after, read_password(chosen, PasswordUse::kChoose));
    TRY(ledger::crypto::change_password(settings.key_file, before, after));
    if (context.json())
        context.print_json({{"key_file", settings.key_file.string()}});
    else
        context.say("The key file has the new password: " + settings.key_file.string());
    return {};
}

}  // namespace

void add_wallet_commands(CLI::App& app, const Choose& choose) {
    CLI::App* wallet = app.add_subcommand("wallet", "The key that pays and signs");
    wallet->require_subcommand(1);
    auto options = std::make_shared<WalletOptions>();
    CLI::App* make = wallet->add_subcommand("new", "Make a new key file");
    CLI::App* import = wallet->add_subcommand("import", "Copy a private key into a key file");
    CLI::App* show = wallet->add_subcommand("show", "Print the account");
    CLI::App* change =
        wallet->add_subcommand("change-password", "Give the key file another password");
    change->add_option("--new-password-file", options->new_password_file,
                       "File with the new password (default: ask)");
    choose(change, [options](Context& c) { return wallet_change_password(c, *options); });
    import
        ->add_option("FILE", options->secret_file,
                     "File with the key (hex or key file); - for stdin")
        ->required();
    for (CLI::App* command : {make, import})
        command->add_flag("--light-key-file", options->light,
                          "Cheap key derivation: for tests and local chains only");
    choose(make, [options](Context& c) { return wallet_new(c, *options); });
    choose(import, [options](Context& c) { return wallet_import(c, *options); });
    choose(show, wallet_show);
}

}  // namespace marketplace::cli
