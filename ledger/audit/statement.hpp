// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/audit/report.hpp"

#include <string>

namespace ledger::audit {

/// The movements of the report's account as CSV (RFC 4180), one a line below the names of the
/// columns. Amounts are tokens with a point and at most 6 decimals; the balances are those after
/// the movement.
[[nodiscard]] std::string to_csv(const AuditReport& report);

}  // namespace ledger::audit
