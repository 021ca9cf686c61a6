// SPDX-License-Identifier: Apache-2.0
#include "ledger/audit/audit.hpp"
#include "ledger/audit/statement.hpp"
#include "ledger/base/hex.hpp"
#include "ledger/base/money.hpp"
#include "ledger/crypto/address.hpp"
#include "ledger/rpc/json.hpp"
#include "marketplace/cli/account_statement.hpp"
#include "marketplace/cli/output_file.hpp"
#include "marketplace/cli/public_log.hpp"

#include <CLI/CLI.hpp>
#include <fmt/chrono.h>
#include <fmt/format.h>

#include <ctime>
#include <memory>

namespace marketplace::cli {
namespace {

using ledger::audit::Movement;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::to_hex;
using nlohmann::json;

struct StatementOptions {
    std::string account;
    std::string from;
    std::string to;
    std::string csv;
    std::string log;
    std::string deployment_file;
    bool leases = false;
};

std::uint64_t u64(const json& object, const char* name) {
    return ledger::rpc::u64_text_at(object, name).value_or(0);
}

std::string signed_tokens(std::int64_t atoms) {
    return ledger::base::Money(atoms).to_tokens();
}

std::string time_text(std::uint64_t time_s, const char* form) {
    return fmt::format(fmt::runtime(form), fmt::gmtime(static_cast<std::time_t>(time_s)));
}

Result<Address> account_of(Context& context, const StatementOptions& options) {
    if (options.account.empty()) return context.account();
    return ledger::crypto::parse_address(options.account);
}

/// Every lease of the account with what it cost by now, settled or not, as the market says.
Result<void> show_leases(Context& context, const Address& account, const Period& period) {
    const std::string who = ledger::crypto::to_checksum(account);
    json all = json::array();
    std::uint64_t amount = 0;
    std::uint64_t claimed = 0;
    for (std::string after;;) {
        std::string target = "/v1/leases?limit=100&buyer=" + who;
        if (!after.empty()) target += "&after=" + after;
        TRY_ASSIGN(const json page, context.market().get(target, Auth::kNone));
        for (const json& lease : page.value("data", json::array())) {
            const std::uint64_t time_s =
                ledger::rpc::integer_at(lease, "matched_ms").value_or(0) / 1000;
            if (time_s < period.from_s || time_s >= period.to_s) continue;
            amount += u64(lease, "amount");
            claimed += u64(lease, "claimed");
            all.push_back(lease);
        }
        if (!page.value("has_more", false) || !page["last_id"].is_string()) break;
        after = page["last_id"].get<std::string>();
    }
    if (context.json()) {
        context.print_json({{"account", who},
                            {"amount", std::to_string(amount)},
                            {"claimed", std::to_string(claimed)},
                            {"leases", std::move(all)}});
        return {};
    }
    Table table({{"day"},
                 {"job"},
                 {"unit"},
                 {"units", Table::Align::kRight},
                 {"price", Table::Align::kRight},
                 {"amount", Table::Align::kRight},
                 {"state"}});
    for (const json& lease : all) {
        const std::uint64_t time_s =
            ledger::rpc::integer_at(lease, "matched_ms").value_or(0) / 1000;
        table.row({time_text(time_s, "{:%Y-%m-%d}"), lease.value("job", ""),
                   lease.value("unit_kind", ""), lease.value("units", ""),
                   tokens(u64(lease, "price")), tokens(u64(lease, "amount")),
                   lease.value("state", "")});
    }
    table.print(context.out);
    context.say(fmt::format("Total {}, settled on chain {}", tokens(amount), tokens(claimed)));
    return {};
}

json movement_json(const Movement& movement) {
    return {{"time", time_text(movement.at.time_s, "{:%Y-%m-%dT%H:%M:%SZ}")},
            {"block", movement.at.block},
            {"transaction", to_hex(movement.at.transaction)},
            {"kind", std::string(to_string(movement.kind))},
            {"lease", movement.lease ? json(to_hex(*movement.lease)) : json(nullptr)},
            {"counterparty",
             movement.counterparty ? json(to_hex(*movement.counterparty)) : json(nullptr)},
            {"amount", std::to_string(movement.amount_atoms)}};
}

void print_statement_json(Context& context, const Address& account, const AccountStatement& s) {
    json movements = json::array();
    for (const Movement& movement : s.movements)
        movements.push_back(movement_json(movement));
    const auto text = [](std::int64_t atoms) { return std::to_string(atoms); };
    context.print_json({{"account", ledger::crypto::to_checksum(account)},
                        {"opening", text(s.opening_atoms)},
                        {"deposited", text(s.deposited_atoms)},
                        {"spent", text(s.spent_atoms)},
                        {"fees", text(s.fees_atoms)},
                        {"earned", text(s.earned_atoms)},
                        {"withdrawn", text(s.withdrawn_atoms)},
                        {"closing", text(s.closing_atoms)},
                        {"balances",
                         {{"free", text(s.after.free_atoms)},
                          {"locked", text(s.after.locked_atoms)},
                          {"earned", text(s.after.earned_atoms)},
                          {"withdrawing", text(s.after.withdrawing_atoms)}}},
                        {"movements", std::move(movements)}});
}

void print_statement(Context& context, const AccountStatement& s) {
    Table table({{"time"}, {"what"}, {"lease"}, {"with"}, {"amount", Table::Align::kRight}});
    for (const Movement& movement : s.movements)
        table.row({time_text(movement.at.time_s, "{:%Y-%m-%d %H:%M}"),
                   std::string(to_string(movement.kind)),
                   movement.lease ? to_hex(*movement.lease).substr(0, 12) : "",
                   movement.counterparty ? to_hex(*movement.counterparty).substr(0, 12) : "",
                   signed_tokens(movement.amount_atoms)});
    if (!table.empty()) table.print(context.out);
    Table sums({{"sum"}, {"tokens", Table::Align::kRight}});
    sums.row({"at the beginning", signed_tokens(s.opening_atoms)});
    sums.row({"deposited", signed_tokens(s.deposited_atoms)});
    sums.row({"earned", signed_tokens(s.earned_atoms)});
    sums.row({"spent", signed_tokens(-s.spent_atoms)});
    sums.row({"fees", signed_tokens(-s.fees_atoms)});
    sums.row({"withdrawn", signed_tokens(-s.withdrawn_atoms)});
    sums.row({"at the end", signed_tokens(s.closing_atoms)});
    context.say("");
    sums.print(context.out);
    context.say("Every sum was recomputed from the chain and held against the contract.");
}

Result<void> statement(Context& context, const StatementOptions& options) {
    TRY_ASSIGN(const Period period, parse_period(options.from, options.to));
    TRY_ASSIGN(const Address account, account_of(context, options));
    if (options.leases) return show_leases(context, account, period);
    TRY_ASSIGN(const auto reader, open_log(context, options.log));
    TRY_ASSIGN(const auto deployment, read_deployment(context, options.deployment_file));
    JournalSource source(*reader);
    ledger::audit::AuditOptions selection;
    selection.account = account;
    TRY_ASSIGN(auto report, ledger::audit::audit(context.chain(), source, deployment, selection));
    if (!report.ok())
        return fail(ErrorCode::audit_failed,
                    fmt::format("the books do not hold: {} findings; see `millrace audit "
                                "--account {}`",
                                report.findings_total, to_hex(account)));
    TRY_ASSIGN(const AccountStatement made, make_statement(report.movements, period));
    if (!options.csv.empty()) {
        report.movements = made.movements;  // those of the time asked for
        TRY(write_output(context.out, options.csv, to_csv(report)));
    }
    if (options.csv == "-") return {};
    if (context.json())
        print_statement_json(context, account, made);
    else
        print_statement(context, made);
    return {};
}

}  // namespace

void add_statement_command(CLI::App& app, const Choose& choose) {
    auto options = std::make_shared<StatementOptions>();
    CLI::App* command = app.add_subcommand(
        "statement", "What an account moved on chain, with sums that are checked against it");
    command->add_option("--account", options->account, "Address (default: the wallet's)");
    command->add_option("--from", options->from, "First day, 2027-01-31, or moment (UTC)");
    command->add_option("--to", options->to, "Last day, or a moment that counts no more");
    command->add_option("--csv", options->csv, "Write the movements as CSV; - for stdout");
    command->add_option("--log", options->log, "A file from `log fetch` (default: the market)");
    command->add_option("--deployment", options->deployment_file,
                        "Contracts to check against (default: as the market says)");
    command->add_flag("--leases", options->leases,
                      "Instead: what each lease cost by now, settled or not, as the market says");
    choose(command, [options](Context& c) { return statement(c, *options); });
}

}  // namespace marketplace::cli
