// SPDX-License-Identifier: Apache-2.0
#include "ledger/audit/html_report.hpp"

#include "ledger/audit/format.hpp"
#include "ledger/audit/svg_chart.hpp"
#include "ledger/base/hex.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <map>
#include <span>
#include <utility>

namespace ledger::audit {
namespace {

using base::Address;
using detail::Chart;
using detail::escaped;

constexpr std::size_t kNamesShown = 10;
constexpr std::size_t kLeasesShown = 200;
constexpr std::size_t kFindingsShown = 200;
constexpr std::size_t kColumnsShown = 90;

constexpr std::string_view kHead = R"(<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Millrace audit</title>
<style>
:root { color-scheme: light dark; --page: #fff; --ink: #1b1f24; --soft: #59636e; --rule: #d9dee3; --bar: #2563a8; --good: #1a7f37; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --page: #14171a; --ink: #e6e9ec; --soft: #9aa4ae; --rule: #31373d; --bar: #6aa9ea; --good: #4cc26a; --bad: #ff8379; } }
body { margin: 0 auto; padding: 1.5rem; max-width: 84rem; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
.verdict { padding: .8rem 1rem; border-left: .4rem solid; font-size: 1.2rem; font-weight: 600; }
.good { color: var(--good); } .bad { color: var(--bad); }
.soft, figcaption span { color: var(--soft); }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 30rem), 1fr)); gap: 1.5rem; }
figure { margin: 0; } figcaption { font-weight: 600; margin-bottom: .4rem; }
svg { width: 100%; height: auto; } svg text { fill: var(--soft); font-size: 12px; }
.bar, .dot { fill: var(--bar); } .line { fill: none; stroke: var(--bar); stroke-width: 2; } .grid { stroke: var(--rule); }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .25rem .7rem .25rem 0; border-bottom: 1px solid var(--rule); vertical-align: top; }
th.number, td.number { text-align: right; } td code { font-size: .85em; overflow-wrap: anywhere; }
</style></head><body>
)";

std::string tokens(std::uint64_t atoms) {
    return detail::tokens(static_cast<std::int64_t>(atoms));
}
std::string plain(std::uint64_t value) {
    return std::to_string(value);
}
std::string shortened(const std::string& hex) {
    return hex.substr(0, 8) + "…" + hex.substr(hex.size() - 6);
}
std::string day_text(std::uint64_t day) {
    return detail::time_text(day * 86'400).substr(0, 10);
}

/// Days without a payment are days too; many of them share a column.
Chart paid_chart(const AuditReport& report) {
    Chart chart;
    const std::uint64_t first = report.days.front().day;
    const std::uint64_t count = report.days.back().day - first + 1;
    const std::uint64_t group = (count + kColumnsShown - 1) / kColumnsShown;
    chart.title = group == 1 ? "Paid per day" : fmt::format("Paid per {} days", group);
    chart.x_label = "day of the claim (UTC)";
    chart.y_label = "tokens";
    chart.format = tokens;
    for (std::uint64_t day = 0; day < count; day += group)
        chart.points.push_back({day_text(first + day), 0});
    for (const PaidDay& day : report.days)
        chart.points[(day.day - first) / group].value += day.paid_atoms;
    return chart;
}

std::string paid_charts(const AuditReport& report) {
    if (report.days.empty()) return {};
    Chart chart = paid_chart(report);
    std::string out = column_chart(chart);
    chart.title = "Paid so far";
    std::uint64_t sum = 0;
    for (auto& point : chart.points)
        point.value = sum += point.value;
    return out + line_chart(chart);
}

/// The largest first; those that are not shown share one bar.
std::string party_chart(const AuditReport& report, std::string title, std::string who,
                        Address settlement::LeaseOpened::*party) {
    std::map<Address, std::uint64_t> sums;
    for (const AuditedLease& lease : report.leases)
        for (const auto& [claim, place, is_lone] : lease.claims)
            if (place.block >= report.from_block) sums[lease.opened.*party] += claim.paid_atoms;
    std::vector<std::pair<Address, std::uint64_t>> order(sums.begin(), sums.end());
    std::stable_sort(order.begin(), order.end(),
                     [](const auto& a, const auto& b) { return a.second > b.second; });
    Chart chart{std::move(title), "tokens", std::move(who), tokens, {}};
    std::uint64_t rest = 0;
    for (std::size_t i = 0; i < order.size(); ++i) {
        if (i < kNamesShown)
            chart.points.push_back({shortened(base::to_hex(order[i].first)), order[i].second});
        else
            rest += order[i].second;
    }
    if (order.size() > kNamesShown)
        chart.points.push_back({fmt::format("and {} more", order.size() - kNamesShown), rest});
    return bar_chart(chart);
}

std::string holdings_chart(const Holdings& all) {
    return detail::bar_chart({"Where each deposited token is now",
                              "tokens",
                              "place",
                              tokens,
                              {{"free in escrow", all.free_atoms},
                               {"locked by open leases", all.locked_atoms},
                               {"fees of open leases", all.fees_due_atoms},
                               {"earned, not swept", all.earned_atoms},
                               {"being withdrawn", all.withdrawing_atoms},
                               {"paid out to earners", all.swept_atoms},
                               {"withdrawn by depositors", all.withdrawn_atoms}}});
}

std::string receipts_chart(const AuditReport& report) {
    Chart chart{"Receipts per lease", "receipts of a lease", "leases", plain, {}};
    for (const AuditedLease& lease : report.leases) {
        const auto bucket = static_cast<std::size_t>(std::bit_width(lease.receipts));
        while (chart.points.size() <= bucket) {
            const std::size_t i = chart.points.size();
            const std::uint64_t low = i == 0 ? 0 : std::uint64_t{1} << (i - 1);
            const std::uint64_t high = i < 2 ? low : low * 2 - 1;
            chart.points.push_back({low == high ? plain(low) : fmt::format("{}–{}", low, high), 0});
        }
        ++chart.points[bucket].value;
    }
    return column_chart(chart);
}

std::string cell(std::string_view content, bool number = false) {
    return fmt::format("<td{}>{}</td>", number ? " class=\"number\"" : "", content);
}

std::string figures(const AuditReport& report) {
    const std::pair<std::string_view, std::string> rows[] = {
        {"log records", plain(report.records)},
        {"of them anchored on chain", plain(report.records_anchored)},
        {"anchored heads", plain(report.heads_checked)},
        {"asks and bids", plain(report.asks_checked + report.bids_checked)},
        {"leases", plain(report.leases_checked)},
        {"receipts", plain(report.receipts_checked)},
        {"vouchers", plain(report.vouchers_checked)},
        {"claims", plain(report.claims_checked)},
        {"of them by the worker's receipt alone", plain(report.lone_claims)},
        {"token transfers explained", plain(report.transfers_explained)},
        {"receipts signed twice by a worker", plain(report.equivocations.size())},
        {"deposited (tokens)", tokens(report.deposited_atoms)},
        {"locked by leases, in all (tokens)", tokens(report.locked_atoms)},
        {"paid for work (tokens)", tokens(report.paid_atoms)},
        {"of it fees (tokens)", tokens(report.fee_atoms)},
        {"refunded to buyers (tokens)", tokens(report.refunded_atoms)},
        {"owed by escrow (tokens)", tokens(report.liabilities_atoms)},
        {"held by escrow (token units)", eth::to_decimal(report.escrow_token_units)},
    };
    std::string out = "<h2>Checked</h2><div class=\"scroll\"><table>\n";
    for (const auto& [what, value] : rows)
        out += "<tr>" + cell(what) + cell(value, true) + "</tr>\n";
    return out + "</table></div>\n";
}

std::string findings(const AuditReport& report) {
    if (report.ok()) return {};
    std::string out = fmt::format(
        "<h2>Findings ({})</h2><div class=\"scroll\"><table><tr><th>code</th><th>where</th>"
        "<th>what</th></tr>\n",
        report.findings_total);
    const std::size_t shown = std::min(report.findings.size(), kFindingsShown);
    for (const Finding& finding : std::span(report.findings).first(shown))
        out += "<tr>" + cell(to_string(finding.code)) +
               cell("<code>" + escaped(finding.where) + "</code>") +
               cell(escaped(describe(finding.code)) + "<br><span class=\"soft\">" +
                    escaped(finding.detail) + "</span>") +
               "</tr>\n";
    out += "</table></div>\n";
    if (report.findings_total > shown)
        out += fmt::format("<p class=\"soft\">and {} more</p>\n", report.findings_total - shown);
    return out;
}

/// Those that paid most first.
std::string leases(const AuditReport& report) {
    std::vector<const AuditedLease*> order;
    for (const AuditedLease& lease : report.leases)
        order.push_back(&lease);
    std::stable_sort(order.begin(), order.end(),
                     [](const auto* a, const auto* b) { return a->paid_atoms > b->paid_atoms; });
    const std::size_t shown = std::min(order.size(), kLeasesShown);
    std::string out =
        "<h2>Leases</h2><div class=\"scroll\"><table><tr><th>lease</th><th>buyer</th>"
        "<th>provider</th><th class=\"number\">receipts</th><th class=\"number\">locked</th>"
        "<th class=\"number\">paid</th><th class=\"number\">fee</th>"
        "<th class=\"number\">refunded</th><th>state</th></tr>\n";
    for (const AuditedLease* lease : std::span(order).first(shown)) {
        const settlement::LeaseOpened& opened = lease->opened;
        const std::string_view state =
            lease->closed ? to_string(settlement::CloseReason{lease->closed->reason}) : "open";
        const auto code = [](const std::string& text) { return "<code>" + text + "</code>"; };
        out += "<tr>" + cell(code(base::to_hex(opened.lease))) +
               cell(code(shortened(base::to_hex(opened.buyer)))) +
               cell(code(shortened(base::to_hex(opened.provider)))) +
               cell(plain(lease->receipts), true) + cell(tokens(opened.locked_atoms), true) +
               cell(tokens(lease->paid_atoms), true) + cell(tokens(lease->fee_atoms), true) +
               cell(lease->closed ? tokens(lease->closed->refunded_atoms) : "", true) +
               cell(lease->findings == 0 ? state : fmt::format("{} findings", lease->findings)) +
               "</tr>\n";
    }
    out += "</table></div>\n";
    if (order.size() > shown)
        out += fmt::format("<p class=\"soft\">and {} more that were paid less</p>\n",
                           order.size() - shown);
    return out;
}

}  // namespace

std::string to_html(const AuditReport& report) {
    std::string out(kHead);
    out += "<h1>Millrace audit</h1>\n";
    out += report.ok() ? "<p class=\"verdict good\">Every payment is explained.</p>\n"
                       : fmt::format("<p class=\"verdict bad\">Failed: {} finding{}.</p>\n",
                                     report.findings_total, report.findings_total == 1 ? "" : "s");
    out += fmt::format("<p class=\"soft\">Chain {}, blocks {} to {}", report.chain_id,
                       report.from_block, report.to_block);
    if (report.lease) out += ", lease <code>" + base::to_hex(*report.lease) + "</code>";
    if (report.account) out += ", account <code>" + base::to_hex(*report.account) + "</code>";
    out += fmt::format(
        ". {} receipts, {} claims, {} tokens paid, {} of it fees. Recomputed from the chain and "
        "the "
        "public log.</p>\n",
        report.receipts_checked, report.claims_checked, tokens(report.paid_atoms),
        tokens(report.fee_atoms));
    out += findings(report);
    out += "<div class=\"charts\">\n" + paid_charts(report);
    out += party_chart(report, "Paid to whom, fees included", "provider",
                       &settlement::LeaseOpened::provider);
    out += party_chart(report, "Paid by whom", "buyer", &settlement::LeaseOpened::buyer);
    out += holdings_chart(report.holdings);
    out += receipts_chart(report);
    out += "</div>\n" + leases(report) + figures(report);
    return out + "</body></html>\n";
}

}  // namespace ledger::audit
