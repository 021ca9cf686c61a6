// SPDX-License-Identifier: Apache-2.0
#include "ledger/audit/audit.hpp"
#include "ledger/audit/html_report.hpp"
#include "ledger/audit/statement.hpp"
#include "ledger/base/hex.hpp"
#include "ledger/crypto/address.hpp"
#include "ledger/rpc/json.hpp"
#include "marketplace/cli/output_file.hpp"
#include "marketplace/cli/public_log.hpp"
#include "marketplace/cli/replay.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <memory>

namespace marketplace::cli {
namespace {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::to_hex;
using nlohmann::json;

struct AuditOptions {
    std::string log;
    std::string deployment_file;
    std::string lease;
    std::string account;
    std::optional<std::uint64_t> from_block;
    std::optional<std::uint64_t> to_block;
    std::string csv;
    std::string html;
    std::string file;
    std::optional<std::uint64_t> max_failovers;
    std::optional<std::uint64_t> voucher_period_atoms;
    std::optional<std::uint64_t> batch_period_ms;
};

Result<ledger::audit::AuditOptions> parse_selection(const AuditOptions& options) {
    ledger::audit::AuditOptions out;
    if (!options.lease.empty()) {
        const auto lease = ledger::base::parse_fixed<Hash32>(options.lease);
        if (!lease) return fail(ErrorCode::invalid_field, "--lease: " + lease.error().detail());
        out.lease = *lease;
    }
    if (!options.account.empty()) {
        const auto account = ledger::crypto::parse_address(options.account);
        if (!account)
            return fail(ErrorCode::invalid_field, "--account: " + account.error().detail());
        out.account = *account;
    }
    if (!options.csv.empty() && !out.account)
        return fail(ErrorCode::missing_field, "--csv is the statement of an --account");
    if (options.csv == "-" && options.html == "-")
        return fail(ErrorCode::invalid_field, "only one of --csv and --html may go to -");
    out.from_block = options.from_block;
    out.to_block = options.to_block;
    out.days = !options.html.empty();
    return out;
}

Result<void> audit(Context& context, const AuditOptions& options) {
    TRY_ASSIGN(const auto selection, parse_selection(options));
    TRY_ASSIGN(const auto reader, open_log(context, options.log));  // may name another market
    TRY_ASSIGN(const auto deployment, read_deployment(context, options.deployment_file));
    JournalSource source(*reader);
    TRY_ASSIGN(const auto report,
               ledger::audit::audit(context.chain(), source, deployment, selection));
    if (!options.csv.empty()) TRY(write_output(context.out, options.csv, to_csv(report)));
    if (!options.html.empty()) TRY(write_output(context.out, options.html, to_html(report)));
    // What is written to stdout is all that stands there.
    Terminal& out = options.csv == "-" || options.html == "-" ? context.messages : context.out;
    if (context.json())
        out.line(ledger::audit::to_json_text(report));
    else
        out.line(ledger::audit::to_text(report));
    if (report.ok()) return {};
    const auto& first = report.findings.front();
    return fail(ErrorCode::audit_failed,
                fmt::format("{} findings; the first: {} at {} ({})", report.findings_total,
                            ledger::audit::to_string(first.code), first.where, first.detail));
}

Result<void> fetch(Context& context, const AuditOptions& options) {
    std::ofstream out(options.file, std::ios::binary | std::ios::trunc);
    if (!out) return fail(ErrorCode::io_error, "cannot write " + options.file);
    TRY_ASSIGN(const MarketFacts* facts, context.facts());
    TRY_ASSIGN(const engine::EngineConfig rules, parse_rules(facts->document));
    out << facts_line(rules_json(rules)) << '\n';
    std::uint64_t records = 0;
    while (true) {
        TRY_ASSIGN(const std::string page, fetch_log_page(context, records));
        const auto lines = static_cast<std::uint64_t>(std::count(page.begin(), page.end(), '\n'));
        if (lines == 0) break;
        out << page;
        records += lines;
    }
    out.flush();
    if (!out) return fail(ErrorCode::io_error, "cannot write " + options.file);
    if (context.json()) {
        context.print_json({{"file", options.file}, {"records", records}});
    } else {
        context.say(fmt::format("{} records in {}\nNext: millrace audit --log {}", records,
                                options.file, options.file));
    }
    return {};
}

/// The log's own market's, unless the auditor names better ones.
Result<engine::EngineConfig> find_rules(Context& context, RecordReader& reader,
                                        const AuditOptions& options) {
    TRY_ASSIGN(json facts, reader.facts());
    engine::EngineConfig rules;
    if (facts.is_null() && options.deployment_file.empty()) {
        TRY_ASSIGN(const MarketFacts* known, context.facts());
        facts = known->document;
    }
    if (!facts.is_null()) {
        TRY_ASSIGN(rules, parse_rules(facts));
    }
    if (!options.deployment_file.empty()) {
        TRY_ASSIGN(const auto deployment,
                   ledger::settlement::read_deployment(options.deployment_file));
        rules.domain = deployment.leases_domain();
        rules.operator_address = deployment.market_operator;
    }
    if (options.max_failovers) rules.max_failovers = *options.max_failovers;
    if (options.batch_period_ms) rules.batch_period_ms = *options.batch_period_ms;
    if (options.voucher_period_atoms) rules.voucher_period_atoms = *options.voucher_period_atoms;
    return rules;
}

/// Draws how far a replay is, ten times a second.
class ReplayProgress {
 public:
    ReplayProgress(Terminal& terminal, const RecordReader& reader)
        : terminal_(terminal), reader_(reader) {}
    [[nodiscard]] double seconds() const {
        const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - start_;
        return passed.count();
    }
    [[nodiscard]] std::uint64_t per_second(const ReplayReport& report) const {
        return static_cast<std::uint64_t>(static_cast<double>(report.records) /
                                          std::max(seconds(), 1e-6));
    }
    void show(const ReplayReport& report) {
        if (seconds() < drawn_s_ + 0.1) return;
        drawn_s_ = seconds();
        const std::uint64_t permille = reader_.permille();
        terminal_.redraw({fmt::format("Replay {} {:>3} %  {} records, {}/s", bar(permille, 24),
                                      permille / 10, report.records, per_second(report))});
    }

 private:
    Terminal& terminal_;
    const RecordReader& reader_;
    std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
    double drawn_s_ = 0;
};

Result<void> run_replay(Context& context, const AuditOptions& options) {
    TRY_ASSIGN(const auto reader, open_log(context, options.log));
    TRY_ASSIGN(const engine::EngineConfig rules, find_rules(context, *reader, options));
    ReplayProgress progress(context.messages, *reader);
    TRY_ASSIGN(const ReplayReport report,
               replay(*reader, rules, [&](const ReplayReport& so_far) { progress.show(so_far); }));
    context.messages.redraw({});
    const bool ok = report.defect.empty();
    if (context.json()) {
        context.print_json({{"ok", ok},
                            {"records", report.records},
                            {"events", report.events},
                            {"state_hash", to_hex(report.state_hash)},
                            {"first_difference", ok ? json(nullptr) : json(report.records)},
                            {"defect", report.defect},
                            {"records_per_s", progress.per_second(report)},
                            {"market", rules_json(rules)}});
    } else {
        context.say(fmt::format("{} records, {} events applied anew, {}/s", report.records,
                                report.events, progress.per_second(report)));
        if (ok)
            context.say("Every decision comes out the same. State " + to_hex(report.state_hash));
    }
    if (ok) return {};
    return fail(ErrorCode::audit_failed, report.defect);
}

}  // namespace

void add_audit_commands(CLI::App& app, const Choose& choose) {
    auto options = std::make_shared<AuditOptions>();
    const auto with_deployment = [&](CLI::App* command) {
        command->add_option("--deployment", options->deployment_file,
                            "Contracts to check against (default: as the market says)");
        return command;
    };
    CLI::App* check = with_deployment(app.add_subcommand(
        "audit", "Recompute every payment from the chain and the public log; 7 when one differs"));
    check->add_option("--log", options->log, "A file from `log fetch` (default: the market)");
    check->add_option("--lease", options->lease, "Report one lease, as a story");
    check->add_option("--account", options->account,
                      "Report one buyer's, provider's or worker's part");
    check->add_option("--from-block", options->from_block,
                      "Report what was done from this block on");
    check->add_option("--to-block", options->to_block,
                      "Read up to this block (default: the newest)");
    check->add_option("--csv", options->csv, "Write the statement of --account; - for stdout");
    check->add_option("--html", options->html, "Write a page with charts; - for stdout");
    choose(check, [options](Context& c) { return audit(c, *options); });
    CLI::App* log = app.add_subcommand("log", "The public log");
    log->require_subcommand(1);
    CLI::App* get = log->add_subcommand("fetch", "Write the whole log to a file");
    get->add_option("FILE", options->file)->required();
    choose(get, [options](Context& c) { return fetch(c, *options); });
    CLI::App* again = with_deployment(
        app.add_subcommand("replay", "Take every decision of the market anew and compare"));
    again->add_option("LOG", options->log,
                      "A file from `log fetch`, or a market's URL (default: the market)");
    again->add_option("--max-failovers", options->max_failovers,
                      "Of the market, for a file that does not say (default: as the log says)");
    again
        ->add_option("--batch-period", options->batch_period_ms,
                     "Of the market, in milliseconds (default: as the log says)")
        ->check(CLI::PositiveNumber);
    again->add_option("--voucher-period", options->voucher_period_atoms,
                      "Of the market, in atoms (default: as the log says)");
    choose(again, [options](Context& c) { return run_replay(c, *options); });
}

}  // namespace marketplace::cli
