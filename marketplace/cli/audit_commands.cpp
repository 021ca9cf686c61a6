// SPDX-License-Identifier: Apache-2.0
#include "ledger/audit/audit.hpp"
#include "ledger/base/hex.hpp"
#include "ledger/log/merkle_tree.hpp"
#include "ledger/rpc/json.hpp"
#include "ledger/settlement/receipt_log_abi.hpp"
#include "marketplace/cli/public_log.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <algorithm>
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
    std::string file;
    std::uint64_t record = 0;
};

/// From a file the auditor trusts, or as the market says.
Result<ledger::settlement::Deployment> read_deployment(Context& context,
                                                       const AuditOptions& options) {
    if (!options.deployment_file.empty())
        return ledger::settlement::read_deployment(options.deployment_file);
    TRY_ASSIGN(const MarketFacts* facts, context.facts());
    return facts->deployment;
}

Result<void> audit(Context& context, const AuditOptions& options) {
    TRY_ASSIGN(const auto deployment, read_deployment(context, options));
    TRY_ASSIGN(const auto reader, open_log(context, options.log));
    JournalSource source(*reader);
    TRY_ASSIGN(const auto report, ledger::audit::audit(context.chain(), source, deployment));
    if (context.json()) {
        context.out.line(ledger::audit::to_json_text(report));
    } else {
        context.out.write(ledger::audit::to_text(report));
        context.out.write("\n");
    }
    if (report.ok()) return {};
    const auto& first = report.findings.front();
    return fail(ErrorCode::audit_failed,
                fmt::format("{} findings; the first: {} at {} ({})", report.findings_total,
                            ledger::audit::to_string(first.code), first.where, first.detail));
}

Result<void> fetch(Context& context, const AuditOptions& options) {
    std::ofstream out(options.file, std::ios::binary | std::ios::trunc);
    if (!out) return fail(ErrorCode::io_error, "cannot write " + options.file);
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

Result<void> run_replay(Context& context, const AuditOptions& options) {
    TRY_ASSIGN(const auto deployment, read_deployment(context, options));
    TRY_ASSIGN(const auto reader, open_log(context, options.log));
    std::uint64_t period = 0;
    if (const auto facts = context.facts()) period = (*facts)->voucher_period_atoms;
    TRY_ASSIGN(const ReplayReport report,
               replay(*reader, deployment.leases_domain(), deployment.market_operator, period));
    if (context.json()) {
        context.print_json({{"ok", report.defect.empty()},
                            {"records", report.records},
                            {"events", report.events},
                            {"state_hash", to_hex(report.state_hash)},
                            {"defect", report.defect}});
    } else {
        context.say(
            fmt::format("{} records, {} events applied anew", report.records, report.events));
        if (report.defect.empty())
            context.say("Every decision comes out the same. State " + to_hex(report.state_hash));
    }
    if (report.defect.empty()) return {};
    return fail(ErrorCode::audit_failed, report.defect);
}

Result<std::vector<Hash32>> parse_path(const json& document) {
    TRY_ASSIGN(const json* path, ledger::rpc::member_at(document, "path"));
    std::vector<Hash32> out;
    if (!path->is_array()) return fail(ErrorCode::invalid_encoding, "the proof has no path");
    for (const json& entry : *path) {
        TRY_ASSIGN(const Hash32 hash, ledger::base::parse_fixed<Hash32>(
                                          entry.is_string() ? entry.get<std::string>() : ""));
        out.push_back(hash);
    }
    return out;
}

/// That a record is under the head anchored on chain: asked from the market, checked here.
Result<void> proof(Context& context, const AuditOptions& options) {
    TRY_ASSIGN(const auto deployment, read_deployment(context, options));
    TRY_ASSIGN(const auto head,
               ledger::settlement::read_latest_head(context.chain(), deployment.receipt_log,
                                                    ledger::rpc::BlockTag::Name::kLatest));
    if (options.record >= head.size)
        return fail(ErrorCode::wrong_state,
                    fmt::format("record {} is not anchored yet: the chain has {} records",
                                options.record, head.size));
    TRY_ASSIGN(const std::string page,
               context.market().get_text(fmt::format("/v1/log?first={}&limit=1", options.record),
                                         Auth::kNone));
    TRY_ASSIGN(const auto bytes, parse_log_line(page.substr(0, page.find('\n')), options.record));
    TRY_ASSIGN(const json answer,
               context.market().get(fmt::format("/v1/log/proof/inclusion?index={}&size={}",
                                                options.record, head.size),
                                    Auth::kNone));
    TRY_ASSIGN(const auto path, parse_path(answer));
    const Hash32 leaf = ledger::log::leaf_hash(bytes);
    TRY(ledger::log::verify_inclusion(leaf, options.record, head.size, path, head.root));
    const auto record = engine::decode_record(bytes);
    const std::string what = record ? std::string(domain::name_of(record->command)) : "unknown";
    if (context.json()) {
        json hashes = json::array();
        for (const Hash32& hash : path)
            hashes.push_back(to_hex(hash));
        context.print_json({{"record", options.record},
                            {"command", what},
                            {"leaf", to_hex(leaf)},
                            {"size", head.size},
                            {"root", to_hex(head.root)},
                            {"path", std::move(hashes)},
                            {"ok", true}});
    } else {
        context.say(
            fmt::format("Record {} ({}) is under root {}, anchored on chain with {} "
                        "records.",
                        options.record, what, to_hex(head.root), head.size));
    }
    return {};
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
    choose(check, [options](Context& c) { return audit(c, *options); });
    CLI::App* log = app.add_subcommand("log", "The public log");
    log->require_subcommand(1);
    CLI::App* get = log->add_subcommand("fetch", "Write the whole log to a file");
    get->add_option("FILE", options->file)->required();
    choose(get, [options](Context& c) { return fetch(c, *options); });
    CLI::App* again = with_deployment(
        app.add_subcommand("replay", "Take every decision of the market anew and compare"));
    again->add_option("LOG", options->log, "A file from `log fetch` (default: the market)");
    choose(again, [options](Context& c) { return run_replay(c, *options); });
    CLI::App* one = with_deployment(
        app.add_subcommand("proof", "Prove that a record is under the head anchored on chain"));
    one->add_option("RECORD", options->record, "Its number in the log")->required();
    choose(one, [options](Context& c) { return proof(c, *options); });
}

}  // namespace marketplace::cli
