// SPDX-License-Identifier: Apache-2.0
#include "ledger/base/clock.hpp"
#include "ledger/base/hex.hpp"
#include "ledger/crypto/address.hpp"
#include "ledger/rpc/json.hpp"
#include "ledger/rpc/poll.hpp"
#include "ledger/settlement/escrow_abi.hpp"
#include "ledger/settlement/leases_abi.hpp"
#include "ledger/settlement/submitter.hpp"
#include "marketplace/cli/money.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <memory>

namespace marketplace::cli {
namespace {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::to_hex;
using ledger::rpc::BlockTag;
using nlohmann::json;
namespace settlement = ledger::settlement;

struct MoneyOptions {
    std::string amount;
    bool finish = false;
    bool sweep = false;
    bool no_wait = false;
};

Result<settlement::EscrowAccount> read_account(Context& context, const Address& account) {
    TRY(context.check_chain());
    TRY_ASSIGN(const MarketFacts* facts, context.facts());
    return settlement::read_escrow_account(context.chain(), facts->deployment.escrow, account,
                                           BlockTag::Name::kLatest);
}

/// What the market's books say is available; empty when it does not know the account yet.
Result<std::uint64_t> market_available(Context& context) {
    TRY_ASSIGN(const Address account, context.account());
    TRY_ASSIGN(
        const json document,
        context.market().get("/v1/accounts/" + ledger::crypto::to_checksum(account), Auth::kNone));
    return ledger::rpc::u64_text_at(document, "available");
}

Result<settlement::EscrowAccount> print_balance(Context& context) {
    TRY_ASSIGN(const Address account, context.account());
    TRY_ASSIGN(const auto escrow, read_account(context, account));
    TRY_ASSIGN(const MarketFacts* facts, context.facts());
    TRY_ASSIGN(const auto wallet,
               settlement::read_token_balance(context.chain(), facts->deployment.token, account,
                                              BlockTag::Name::kLatest));
    const auto available = market_available(context);
    if (context.json()) {
        json document{{"account", to_hex(account)},
                      {"wallet", ledger::eth::to_decimal(wallet)},
                      {"free", std::to_string(escrow.free_atoms)},
                      {"locked", std::to_string(escrow.locked_atoms)},
                      {"credit", std::to_string(escrow.credit_atoms)},
                      {"withdrawing", std::to_string(escrow.withdrawing_atoms)},
                      {"withdrawable_at_s", escrow.withdrawable_at_s}};
        if (available) document["available"] = std::to_string(*available);
        context.print_json(document);
        return escrow;
    }
    const auto wallet_atoms = ledger::eth::to_u64(wallet);
    context.say(fmt::format("Account      {}", ledger::crypto::to_checksum(account)));
    context.say(fmt::format("In wallet    {}", wallet_atoms && *wallet_atoms >> 63U == 0
                                                   ? tokens(*wallet_atoms)
                                                   : ledger::eth::to_decimal(wallet / 1'000'000)));
    context.say(fmt::format("In escrow    {} free, {} locked behind open leases",
                            tokens(escrow.free_atoms), tokens(escrow.locked_atoms)));
    if (escrow.credit_atoms > 0)
        context.say(fmt::format("Earned       {}  (take it out: millrace withdraw --sweep)",
                                tokens(escrow.credit_atoms)));
    if (escrow.withdrawing_atoms > 0)
        context.say(fmt::format("Withdrawing  {}  (from unix time {}: millrace withdraw --finish)",
                                tokens(escrow.withdrawing_atoms), escrow.withdrawable_at_s));
    if (available)
        context.say(fmt::format("To spend     {}  (as the market sees it)", tokens(*available)));
    return escrow;
}

/// Waits until the market's books hold at least `atoms`. It announces no balances: they are asked.
Result<void> wait_until_seen(Context& context, std::uint64_t atoms) {
    const auto look = [&]() -> Result<bool> {
        const auto available = market_available(context);
        if (!available && available.error().code() != ErrorCode::not_found)
            return tl::make_unexpected(available.error());
        return available && *available >= atoms;
    };
    TRY_ASSIGN(const bool seen, ledger::rpc::poll_until({}, look));
    if (seen) return {};
    return fail(ErrorCode::timeout,
                "the deposit is on chain, but the market has not seen it yet; look again with "
                "`millrace balance`");
}

}  // namespace

Result<Funds> read_funds(Context& context, const Address& account) {
    TRY_ASSIGN(const MarketFacts* facts, context.facts());
    Funds out;
    TRY_ASSIGN(out.coin, context.chain().balance(account, BlockTag::Name::kLatest));
    TRY_ASSIGN(out.wallet_units,
               settlement::read_token_balance(context.chain(), facts->deployment.token, account,
                                              BlockTag::Name::kLatest));
    TRY_ASSIGN(const auto escrow, read_account(context, account));
    out.free_atoms = escrow.free_atoms;
    if (const auto available = market_available(context)) out.available_atoms = *available;
    return out;
}

Result<Hash32> deposit_tokens(Context& context, std::uint64_t atoms, DepositWait wait) {
    TRY(context.check_chain());
    TRY_ASSIGN(const MarketFacts* facts, context.facts());
    TRY_ASSIGN(const auto* key, context.key());
    TRY_ASSIGN(const auto wallet,
               settlement::read_token_balance(context.chain(), facts->deployment.token,
                                              key->address(), BlockTag::Name::kLatest));
    if (wallet < atoms)
        return fail(ErrorCode::insufficient_funds,
                    fmt::format("{} holds {} tokens, not {}", to_hex(key->address()),
                                ledger::eth::to_decimal(wallet / 1'000'000), tokens(atoms)));
    const std::uint64_t before = market_available(context).value_or(0);
    const std::uint64_t deadline_s = ledger::base::SystemClock().now_ms() / 1000 + 3600;
    TRY_ASSIGN(const auto call,
               settlement::make_permit_deposit(context.chain(), facts->deployment.token,
                                               facts->deployment.escrow, *key, atoms, deadline_s));
    TRY_ASSIGN(const Hash32 transaction, send_transaction(context, facts->deployment.escrow, call));
    if (wait == DepositWait::kUntilSeen) TRY(wait_until_seen(context, before + atoms));
    return transaction;
}

namespace {

Result<void> deposit(Context& context, const MoneyOptions& options) {
    TRY_ASSIGN(const std::uint64_t atoms, parse_amount(options.amount, "AMOUNT"));
    TRY_ASSIGN(const Hash32 transaction, deposit_tokens(context, atoms,
                                                        options.no_wait ? DepositWait::kUntilMined
                                                                        : DepositWait::kUntilSeen));
    if (context.json()) {
        context.print_json({{"amount", std::to_string(atoms)},
                            {"transaction", to_hex(transaction)},
                            {"seen", !options.no_wait}});
    } else {
        context.say(fmt::format("Deposited {} in transaction {}\nNext: millrace train --help",
                                tokens(atoms), to_hex(transaction)));
    }
    return {};
}

Result<void> withdraw(Context& context, const MoneyOptions& options) {
    TRY(context.check_chain());
    TRY_ASSIGN(const MarketFacts* facts, context.facts());
    TRY_ASSIGN(const Address account, context.account());
    ledger::base::Bytes call;
    std::string what;
    if (options.sweep) {
        call = settlement::encode_sweep(account);
        what = "Earnings taken out";
    } else if (options.finish) {
        call = settlement::encode_withdraw();
        what = "Withdrawn";
    } else {
        if (options.amount.empty())
            return fail(ErrorCode::missing_field, "give AMOUNT, --finish or --sweep");
        TRY_ASSIGN(const std::uint64_t atoms, parse_amount(options.amount, "AMOUNT"));
        call = settlement::encode_request_withdraw(atoms);
        what = fmt::format(
            "Withdrawal of {} requested; finish it after {} h with `millrace "
            "withdraw --finish`",
            tokens(atoms), facts->deployment.withdraw_delay_s / 3600);
    }
    TRY_ASSIGN(const Hash32 transaction, send_transaction(context, facts->deployment.escrow, call));
    if (context.json()) {
        context.print_json({{"transaction", to_hex(transaction)}});
    } else {
        context.say(fmt::format("{}\nTransaction {}", what, to_hex(transaction)));
    }
    return {};
}

Result<void> revoke(Context& context) {
    TRY(context.check_chain());
    TRY_ASSIGN(const MarketFacts* facts, context.facts());
    TRY(
        context.confirm("Revoke every delegation signed so far? Open leases go on; new ones need "
                        "a new signature.",
                        Context::Then::kTransaction));
    TRY_ASSIGN(const Hash32 transaction, send_transaction(context, facts->deployment.leases,
                                                          settlement::encode_revoke_delegations()));
    std::error_code ignored;
    std::filesystem::remove(context.settings.data / "delegation.json", ignored);
    if (context.json()) {
        context.print_json({{"transaction", to_hex(transaction)}});
    } else {
        context.say("Revoked in transaction " + to_hex(transaction));
    }
    return {};
}

Result<void> info(Context& context) {
    TRY_ASSIGN(const MarketFacts* facts, context.facts());
    if (context.json()) {
        context.print_json(facts->document);
        return {};
    }
    const auto& deployment = facts->deployment;
    using ledger::crypto::to_checksum;
    context.say(fmt::format("Market     {} (version {})", context.settings.market,
                            printable(facts->version)));
    context.say(fmt::format("Chain      {}", deployment.chain_id));
    context.say(fmt::format("Token      {}", to_checksum(deployment.token)));
    context.say(fmt::format("Escrow     {}", to_checksum(deployment.escrow)));
    context.say(fmt::format("Leases     {}", to_checksum(deployment.leases)));
    context.say(fmt::format("Log        {}", to_checksum(deployment.receipt_log)));
    context.say(
        fmt::format("Operator   {}  (may pair orders)", to_checksum(facts->operator_address)));
    context.say(fmt::format("Delegate   {}  (signs vouchers within your cap)",
                            to_checksum(facts->delegate_address)));
    context.say(
        fmt::format("Fee        {}.{:02} %", deployment.fee_bps / 100, deployment.fee_bps % 100));
    return {};
}

}  // namespace

void add_money_commands(CLI::App& app, const Choose& choose) {
    auto options = std::make_shared<MoneyOptions>();
    choose(app.add_subcommand("info", "The market's contracts, keys and fee"), info);
    choose(app.add_subcommand("balance", "Wallet, escrow, and what the market sees"),
           [](Context& c) -> Result<void> {
               TRY(print_balance(c));
               return {};
           });
    CLI::App* put = app.add_subcommand("deposit", "Put tokens into escrow (one transaction)");
    put->add_option("AMOUNT", options->amount, "Tokens, e.g. 12.5")->required();
    put->add_flag("--no-wait", options->no_wait, "Return when it is on chain");
    choose(put, [options](Context& c) { return deposit(c, *options); });
    CLI::App* take = app.add_subcommand("withdraw", "Take tokens out of escrow");
    take->add_option("AMOUNT", options->amount, "Tokens to request");
    take->add_flag("--finish", options->finish, "Take out what was requested, after the delay");
    take->add_flag("--sweep", options->sweep, "Take out earnings at once");
    choose(take, [options](Context& c) { return withdraw(c, *options); });
    choose(app.add_subcommand("revoke", "Make all delegations signed so far invalid"), revoke);
}

}  // namespace marketplace::cli
