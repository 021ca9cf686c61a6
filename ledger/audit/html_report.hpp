// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/audit/report.hpp"

#include <string>

namespace ledger::audit {

/// The report as one page that needs nothing else: no script, no request. Verdict first, then
/// charts and tables; long lists are cut and say so. Made from a report with its days.
[[nodiscard]] std::string to_html(const AuditReport& report);

}  // namespace ledger::audit
