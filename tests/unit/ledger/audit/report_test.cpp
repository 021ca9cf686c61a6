// SPDX-License-Identifier: Apache-2.0
#include "ledger/audit/html_report.hpp"
#include "ledger/audit/svg_chart.hpp"
#include "ledger/base/hex.hpp"
#include "tests/unit/ledger/audit/audit_fixture.hpp"

#include <set>

using namespace tests;  // NOLINT: test file

namespace {

/// Reads tags, their nesting and entities; false for anything a browser would have to guess at.
bool is_well_formed(const std::string& page) {
    static const std::set<std::string> kSingle{"meta", "link", "br", "!doctype"};
    std::vector<std::string> open;
    for (std::size_t at = 0; at < page.size(); ++at) {
        const char c = page[at];
        if (c == '&') {
            const std::size_t end = page.find(';', at);
            const std::string name = page.substr(at, end - at + 1);
            if (!std::set<std::string>{"&amp;", "&lt;", "&gt;", "&quot;", "&#39;"}.contains(name))
                return false;
        }
        if (c == '>') return false;
        if (c != '<') continue;
        const std::size_t end = page.find('>', at);
        if (end == std::string::npos) return false;
        const std::string tag = page.substr(at + 1, end - at - 1);
        if (tag.find('<') != std::string::npos) return false;
        const std::string name = tag.substr(0, tag.find_first_of(" /", 1));
        if (tag[0] == '/') {
            if (open.empty() || open.back() != tag.substr(1)) return false;
            open.pop_back();
        } else if (!kSingle.contains(name) && !tag.ends_with('/')) {
            open.push_back(name);
        }
        at = end;
    }
    return open.empty();
}

std::size_t count_of(const std::string& text, std::string_view part) {
    std::size_t count = 0;
    for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1))
        ++count;
    return count;
}

}  // namespace

TEST_CASE("html: the page is well formed, whole in itself, and has the report's figures") {
    Market market;
    const AuditReport report = market.audited({.days = true});
    const std::string page = to_html(report);
    CHECK(is_well_formed(page));
    CHECK(page.find("Every payment is explained.") != std::string::npos);
    CHECK(page.find("14 receipts, 3 claims, 0.0128 tokens paid, 0.000128 of it fees") !=
          std::string::npos);
    CHECK(count_of(page, "<svg ") == 6);
    CHECK(count_of(page, "<script") == 0);
    CHECK(count_of(page, "http://") + count_of(page, "https://") + count_of(page, "url(") == 0);
    for (const auto& lease : market.leases)
        CHECK(page.find(ledger::base::to_hex(lease.opened.lease)) != std::string::npos);
    REQUIRE(report.days.size() == 1);
    CHECK(report.days[0].paid_atoms == report.paid_atoms);
}

TEST_CASE("html: what strangers wrote is text, and long lists are cut") {
    Market market;
    const std::string evil = "<script>alert('1')</script>\"&\x01";
    for (std::size_t i = 0; i < 2000; ++i)
        market.log.push_back({Bytes{1}, {}, evil});
    AuditReport report = market.audited({.days = true});
    for (std::size_t i = 0; i < 5000; ++i) {
        report.leases.push_back(report.leases[0]);
        report.leases.back().opened.provider =
            Address(FakeMarket::number_hash(i).span().last<20>());
    }
    const std::string page = to_html(report);
    CHECK(is_well_formed(page));
    CHECK(page.find("&lt;script&gt;alert(&#39;1&#39;)") != std::string::npos);
    CHECK(page.find("<p class=\"verdict bad\">Failed: 2000 findings.</p>") != std::string::npos);
    CHECK(page.find("and 1800 more") != std::string::npos);
    CHECK(page.find("and 4802 more that were paid less") != std::string::npos);
    CHECK(page.find("and 4991 more") != std::string::npos);
    CHECK(page.size() < 400'000);
}

TEST_CASE("html: charts stand for an empty market and for the largest numbers") {
    ledger::audit::AuditReport empty;
    CHECK(is_well_formed(to_html(empty)));
    const auto plain = [](std::uint64_t value) { return std::to_string(value); };
    ledger::audit::detail::Chart chart{"t", "x", "y", plain, {}};
    CHECK(column_chart(chart).find("nothing to show") != std::string::npos);
    chart.points = {{"a", UINT64_MAX}, {"b", 0}, {"c", 1}};
    for (const auto& draw : {column_chart(chart), line_chart(chart), bar_chart(chart)})
        CHECK(is_well_formed(draw));
    chart.points.assign(1, {"a", 7});
    CHECK(count_of(column_chart(chart), "<rect") == 1);
}

TEST_CASE("html: days without a payment are shown, many days share a column") {
    ledger::audit::AuditReport report;
    report.days = {{20'000, 1}, {20'010, 5}};
    CHECK(to_html(report).find("Paid per day") != std::string::npos);
    report.days = {{20'000, 1}, {21'000, 5}};
    const std::string page = to_html(report);
    CHECK(page.find("Paid per 12 days") != std::string::npos);
    CHECK(page.size() < 60'000);
    report.days = {{0, 1}, {UINT64_MAX / 86'400, 5}};  // a node that lies about time
    CHECK(is_well_formed(to_html(report)));
}
