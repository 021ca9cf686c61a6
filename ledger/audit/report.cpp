// SPDX-License-Identifier: Apache-2.0
#include "ledger/audit/report.hpp"

#include "ledger/base/money.hpp"
#include "ledger/rpc/json.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace ledger::audit {

std::string_view to_string(FindingCode code) noexcept {
    switch (code) {
#define MILLRACE_FINDING_CASE(name, text) \
    case FindingCode::name:               \
        return #name;
        MILLRACE_AUDIT_FINDINGS(MILLRACE_FINDING_CASE)
#undef MILLRACE_FINDING_CASE
    }
    return "unknown";
}

std::string_view describe(FindingCode code) noexcept {
    switch (code) {
#define MILLRACE_FINDING_CASE(name, text) \
    case FindingCode::name:               \
        return text;
        MILLRACE_AUDIT_FINDINGS(MILLRACE_FINDING_CASE)
#undef MILLRACE_FINDING_CASE
    }
    return "unknown";
}

namespace {

constexpr std::size_t kFindingsShown = 12;

std::string tokens(std::uint64_t atoms) {
    return base::Money(static_cast<std::int64_t>(atoms)).to_tokens();
}

void line(std::string& out, std::string_view what, const std::string& value) {
    out += fmt::format("  {:<34}{:>20}\n", what, value);
}

void count(std::string& out, std::string_view what, std::uint64_t value) {
    line(out, what, std::to_string(value));
}

}  // namespace

std::string to_text(const AuditReport& report) {
    std::string out = fmt::format("Audit of chain {}, blocks {} to {}\n\n", report.chain_id,
                                  report.from_block, report.to_block);
    out += "Checked\n";
    count(out, "log records", report.records);
    count(out, "of them anchored on chain", report.records_anchored);
    count(out, "anchored heads", report.heads_checked);
    count(out, "asks and bids", report.asks_checked + report.bids_checked);
    count(out, "leases", report.leases_checked);
    count(out, "receipts", report.receipts_checked);
    count(out, "vouchers", report.vouchers_checked);
    count(out, "claims", report.claims_checked);
    count(out, "token transfers explained", report.transfers_explained);
    out += "\nMoney (tokens)\n";
    line(out, "deposited", tokens(report.deposited_atoms));
    line(out, "locked by leases, in all", tokens(report.locked_atoms));
    line(out, "paid for work", tokens(report.paid_atoms));
    line(out, "of it fees", tokens(report.fee_atoms));
    line(out, "refunded to buyers", tokens(report.refunded_atoms));
    line(out, "swept out by earners", tokens(report.swept_atoms));
    line(out, "withdrawn by depositors", tokens(report.withdrawn_atoms));
    line(out, "owed by escrow", tokens(report.liabilities_atoms));
    line(out, "held by escrow (token units)", eth::to_decimal(report.escrow_token_units));
    if (!report.ok()) {
        out += fmt::format("\nFindings ({})\n", report.findings_total);
        const std::size_t shown = std::min(report.findings.size(), kFindingsShown);
        for (std::size_t i = 0; i < shown; ++i) {
            const Finding& finding = report.findings[i];
            out += fmt::format("  {}: {}\n    {}: {}\n", to_string(finding.code),
                               describe(finding.code), finding.where, finding.detail);
        }
        if (report.findings_total > shown)
            out += fmt::format("  … and {} more (see --json)\n", report.findings_total - shown);
    }
    out += report.ok() ? "\nVERDICT: every payment is explained.\n"
                       : fmt::format("\nVERDICT: FAILED, {} finding{}.\n", report.findings_total,
                                     report.findings_total == 1 ? "" : "s");
    return out;
}

std::string to_json_text(const AuditReport& report) {
    nlohmann::json out = nlohmann::json::object();
    out["ok"] = report.ok();
    out["chain_id"] = report.chain_id;
    out["from_block"] = report.from_block;
    out["to_block"] = report.to_block;
    out["records"] = report.records;
    out["records_anchored"] = report.records_anchored;
    out["heads_checked"] = report.heads_checked;
    out["asks_checked"] = report.asks_checked;
    out["bids_checked"] = report.bids_checked;
    out["receipts_checked"] = report.receipts_checked;
    out["vouchers_checked"] = report.vouchers_checked;
    out["leases_checked"] = report.leases_checked;
    out["claims_checked"] = report.claims_checked;
    out["closes_checked"] = report.closes_checked;
    out["transfers_explained"] = report.transfers_explained;
    const auto amount = [&](const char* name, std::uint64_t atoms) {
        out[name] = std::to_string(atoms);
    };
    amount("deposited", report.deposited_atoms);
    amount("withdrawn", report.withdrawn_atoms);
    amount("swept", report.swept_atoms);
    amount("locked", report.locked_atoms);
    amount("paid", report.paid_atoms);
    amount("fee", report.fee_atoms);
    amount("refunded", report.refunded_atoms);
    amount("liabilities", report.liabilities_atoms);
    out["escrow_token_units"] = eth::to_decimal(report.escrow_token_units);
    out["token_scale"] = eth::to_decimal(report.token_scale);
    out["findings_total"] = report.findings_total;
    nlohmann::json findings = nlohmann::json::array();
    for (const Finding& finding : report.findings) {
        nlohmann::json entry = nlohmann::json::object();
        entry["code"] = std::string(to_string(finding.code));
        entry["text"] = std::string(describe(finding.code));
        entry["where"] = finding.where;
        entry["detail"] = finding.detail;
        findings.push_back(std::move(entry));
    }
    out["findings"] = std::move(findings);
    return rpc::to_text(out);
}

}  // namespace ledger::audit
