// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/audit/report.hpp"
#include "ledger/base/hex.hpp"

#include <concepts>
#include <string>
#include <utility>

namespace ledger::audit::detail {

/// Collects findings into a report: all are counted, the first 1,000 kept. Who calls `add` decides
/// whether the finding is about the part selected.
class Findings {
 public:
    explicit Findings(AuditReport& report) : report_(report) {}

    void add(FindingCode code, std::string where, std::string detail) {
        ++report_.findings_total;
        if (report_.findings.size() < kKept)
            report_.findings.push_back({code, std::move(where), std::move(detail)});
    }
    /// About a lease, as `where` names it; nothing when the lease is not selected.
    void add(AuditedLease& lease, FindingCode code, std::string where, std::string detail) {
        if (!lease.selected) return;
        ++lease.findings;
        add(code, std::move(where), std::move(detail));
    }

    /// "expected 5, found 6"; nothing when they agree.
    template <typename T>
    void expect_equal(FindingCode code, const std::string& where, const std::string& what,
                      const T& expected, const T& found) {
        if (expected == found) return;
        add(code, where, what + ": expected " + text(expected) + ", found " + text(found));
    }

 private:
    static constexpr std::size_t kKept = 1000;
    template <std::integral T>
    static std::string text(T value) {
        return std::to_string(value);
    }
    static std::string text(const base::Hash32& value) { return base::to_hex(value); }
    static std::string text(const eth::U256& value) { return eth::to_decimal(value); }

    AuditReport& report_;
};

[[nodiscard]] inline std::string lease_text(const base::Hash32& lease) {
    return "lease " + base::to_hex(lease);
}
[[nodiscard]] inline std::string transaction_text(const base::Hash32& hash) {
    return "transaction " + base::to_hex(hash);
}

}  // namespace ledger::audit::detail
