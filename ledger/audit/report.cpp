// SPDX-License-Identifier: Apache-2.0
#include "ledger/audit/report.hpp"

#include "ledger/audit/format.hpp"
#include "ledger/base/hex.hpp"
#include "ledger/base/money.hpp"
#include "ledger/rpc/json.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <span>

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

std::string_view to_string(MovementKind kind) noexcept {
    constexpr std::array<std::string_view, 11> kNames{
        "deposit",         "lock",     "claim",      "fee",
        "refund",          "credit",   "fee_credit", "withdraw_request",
        "withdraw_cancel", "withdraw", "sweep"};
    return kNames[static_cast<std::size_t>(kind)];
}

namespace {

constexpr std::size_t kFindingsShown = 12;
constexpr std::size_t kClaimsShown = 10;

std::string tokens(std::uint64_t atoms) {
    return detail::tokens(static_cast<std::int64_t>(atoms));
}

void line(std::string& out, std::string_view what, const std::string& value) {
    out += fmt::format("  {:<34}{:>20}\n", what, value);
}

void count(std::string& out, std::string_view what, std::uint64_t value) {
    line(out, what, std::to_string(value));
}

std::string at(const Place& place) {
    return fmt::format("{}  block {}, transaction {}", detail::time_text(place.time_s), place.block,
                       base::to_hex(place.transaction));
}

std::string record_text(const std::optional<std::uint64_t>& record) {
    return record ? fmt::format("record {} of the log", *record) : "not in the log";
}

/// A lease from its orders to its end, for people.
std::string story(const AuditedLease& lease) {
    const settlement::LeaseOpened& opened = lease.opened;
    const auto kind = eth::to_string(opened.unit_kind);
    std::string out = fmt::format("Lease {}\n", base::to_hex(opened.lease));
    out += fmt::format("  buyer     {}\n  provider  {}\n  worker    {}\n  vouchers  {}\n",
                       base::to_hex(opened.buyer), base::to_hex(opened.provider),
                       base::to_hex(opened.worker_key), base::to_hex(opened.voucher_signer));
    out += fmt::format("\nOrders\n  ask  {}  {}\n  bid  {}  {}\n", base::to_hex(opened.ask_hash),
                       record_text(lease.ask_record), base::to_hex(opened.bid_hash),
                       record_text(lease.bid_record));
    out += fmt::format("\nOpened\n  {}\n  {} {} at most, {} for {} of them: {} locked\n",
                       at(lease.opened_at), opened.max_units, kind, tokens(opened.price_atoms),
                       eth::unit_scale(opened.unit_kind), tokens(opened.locked_atoms));
    out += fmt::format("\nWorked\n  {} receipts", lease.receipts);
    if (lease.first_receipt_record)
        out += fmt::format(" (records {} to {})", *lease.first_receipt_record,
                           lease.last_receipt_record);
    out += fmt::format(", {} vouchers\n\nPaid ({} claims)\n", lease.vouchers, lease.claims.size());
    const std::size_t shown = std::min(lease.claims.size(), kClaimsShown);
    for (const auto& [claim, place, is_lone] : std::span(lease.claims).last(shown))
        out += fmt::format("  {}\n    receipts up to {}, {} {}: {} paid, of it {} fee\n", at(place),
                           claim.sequence, claim.cumulative_units, kind, tokens(claim.paid_atoms),
                           tokens(claim.fee_atoms));
    if (lease.claims.size() > shown)
        out += fmt::format("  … and {} before (see --json)\n", lease.claims.size() - shown);
    out += fmt::format("  in all {}, of it {} fee\n\n", tokens(lease.paid_atoms),
                       tokens(lease.fee_atoms));
    if (!lease.closed) return out + "Open\n";
    return out + fmt::format("Closed: {}\n  {}\n  {} refunded\n",
                             to_string(settlement::CloseReason{lease.closed->reason}),
                             at(lease.closed_at), tokens(lease.closed->refunded_atoms));
}

std::string verdict(const AuditReport& report) {
    if (!report.ok())
        return fmt::format("\nVERDICT: FAILED, {} finding{}.\n", report.findings_total,
                           report.findings_total == 1 ? "" : "s");
    if (report.leases_checked == 0 && report.movements.empty())
        return "\nVERDICT: nothing wrong; no lease was opened, paid or closed here.\n";
    return "\nVERDICT: every payment is explained.\n";
}

}  // namespace

namespace detail {

std::string tokens(std::int64_t atoms) {
    return base::Money(atoms).to_tokens();
}

std::string time_text(std::uint64_t time_s) {
    constexpr std::uint64_t kLast = 253'402'300'799;  // of the year 9999
    return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}",
                       fmt::gmtime(static_cast<std::time_t>(std::min(time_s, kLast))));
}

}  // namespace detail

std::string to_text(const AuditReport& report) {
    std::string out = fmt::format("Audit of chain {}, blocks {} to {}\n", report.chain_id,
                                  report.from_block, report.to_block);
    if (report.account) out += fmt::format("Account {}\n", base::to_hex(*report.account));
    out += "\n";
    if (report.lease && report.leases.size() == 1) out += story(report.leases.front()) + "\n";
    out += "Checked\n";
    count(out, "log records", report.records);
    count(out, "of them anchored on chain", report.records_anchored);
    count(out, "anchored heads", report.heads_checked);
    count(out, "asks and bids", report.asks_checked + report.bids_checked);
    count(out, "leases", report.leases_checked);
    count(out, "receipts", report.receipts_checked);
    count(out, "vouchers", report.vouchers_checked);
    count(out, "claims", report.claims_checked);
    if (report.lone_claims != 0)
        count(out, "of them by the worker's receipt alone", report.lone_claims);
    count(out, "token transfers explained", report.transfers_explained);
    if (!report.equivocations.empty())
        count(out, "receipts signed twice by a worker", report.equivocations.size());
    out += "\nMoney (tokens)\n";
    if (!report.lease) line(out, "deposited", tokens(report.deposited_atoms));
    line(out, "locked by leases, in all", tokens(report.locked_atoms));
    line(out, "paid for work", tokens(report.paid_atoms));
    line(out, "of it fees", tokens(report.fee_atoms));
    line(out, "refunded to buyers", tokens(report.refunded_atoms));
    if (!report.lease) {
        line(out, "swept out by earners", tokens(report.swept_atoms));
        line(out, "withdrawn by depositors", tokens(report.withdrawn_atoms));
    }
    if (report.account) {
        line(out, "free now", detail::tokens(report.balances.free_atoms));
        line(out, "locked now", detail::tokens(report.balances.locked_atoms));
        line(out, "earned, not swept", detail::tokens(report.balances.earned_atoms));
        line(out, "being withdrawn", detail::tokens(report.balances.withdrawing_atoms));
    }
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
    return out + verdict(report);
}

namespace {

nlohmann::json json_of(const Place& place) {
    return {{"block", place.block},
            {"transaction", base::to_hex(place.transaction)},
            {"time_s", place.time_s}};
}

nlohmann::json json_of(const std::optional<std::uint64_t>& number) {
    return number ? nlohmann::json(*number) : nlohmann::json(nullptr);
}

nlohmann::json json_of(const AuditedLease& lease) {
    const settlement::LeaseOpened& opened = lease.opened;
    nlohmann::json claims = nlohmann::json::array();
    for (const auto& [claim, place, is_lone] : lease.claims)
        claims.push_back({{"at", json_of(place)},
                          {"sequence", claim.sequence},
                          {"units", std::to_string(claim.cumulative_units)},
                          {"amount", std::to_string(claim.cumulative_amount_atoms)},
                          {"paid", std::to_string(claim.paid_atoms)},
                          {"fee", std::to_string(claim.fee_atoms)}});
    nlohmann::json closed;
    if (lease.closed)
        closed = {{"at", json_of(lease.closed_at)},
                  {"reason", to_string(settlement::CloseReason{lease.closed->reason})},
                  {"refunded", std::to_string(lease.closed->refunded_atoms)}};
    return {{"lease", base::to_hex(opened.lease)},
            {"buyer", base::to_hex(opened.buyer)},
            {"provider", base::to_hex(opened.provider)},
            {"voucher_signer", base::to_hex(opened.voucher_signer)},
            {"worker_key", base::to_hex(opened.worker_key)},
            {"ask", base::to_hex(opened.ask_hash)},
            {"ask_record", json_of(lease.ask_record)},
            {"bid", base::to_hex(opened.bid_hash)},
            {"bid_record", json_of(lease.bid_record)},
            {"unit_kind", eth::to_string(opened.unit_kind)},
            {"price", std::to_string(opened.price_atoms)},
            {"max_units", std::to_string(opened.max_units)},
            {"locked", std::to_string(opened.locked_atoms)},
            {"opened", json_of(lease.opened_at)},
            {"receipts", lease.receipts},
            {"first_receipt_record", json_of(lease.first_receipt_record)},
            {"last_receipt_record",
             lease.receipts > 0 ? nlohmann::json(lease.last_receipt_record) : nullptr},
            {"vouchers", lease.vouchers},
            {"claims", std::move(claims)},
            {"paid", std::to_string(lease.paid_atoms)},
            {"fee", std::to_string(lease.fee_atoms)},
            {"closed", std::move(closed)},
            {"findings", lease.findings}};
}

}  // namespace

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
    out["lone_claims"] = report.lone_claims;
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
    if (report.lease) out["lease"] = base::to_hex(*report.lease);
    if (report.account) {
        out["account"] = base::to_hex(*report.account);
        out["balances"] = {{"free", std::to_string(report.balances.free_atoms)},
                           {"locked", std::to_string(report.balances.locked_atoms)},
                           {"earned", std::to_string(report.balances.earned_atoms)},
                           {"withdrawing", std::to_string(report.balances.withdrawing_atoms)}};
    }
    if (report.lease || report.account) {
        nlohmann::json leases = nlohmann::json::array();
        for (const AuditedLease& lease : report.leases)
            leases.push_back(json_of(lease));
        out["leases"] = std::move(leases);
    }
    nlohmann::json equivocations = nlohmann::json::array();
    for (const Equivocation& one : report.equivocations)
        equivocations.push_back({{"lease", base::to_hex(one.lease)},
                                 {"sequence", one.sequence},
                                 {"record", one.record}});
    out["equivocations"] = std::move(equivocations);
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
