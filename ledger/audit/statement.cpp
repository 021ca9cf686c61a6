// SPDX-License-Identifier: Apache-2.0
#include "ledger/audit/statement.hpp"

#include "ledger/audit/format.hpp"
#include "ledger/base/hex.hpp"

#include <fmt/format.h>

namespace ledger::audit {

std::string to_csv(const AuditReport& report) {
    // No field holds a comma, a quote or a line's end: none needs quotes.
    std::string out =
        "time,block,transaction,kind,lease,counterparty,amount,free,locked,earned,withdrawing\r\n";
    for (const Movement& movement : report.movements)
        out += fmt::format(
            "{},{},{},{},{},{},{},{},{},{},{}\r\n", detail::time_text(movement.at.time_s),
            movement.at.block, base::to_hex(movement.at.transaction), to_string(movement.kind),
            movement.lease ? base::to_hex(*movement.lease) : "",
            movement.counterparty ? base::to_hex(*movement.counterparty) : "",
            detail::tokens(movement.amount_atoms), detail::tokens(movement.after.free_atoms),
            detail::tokens(movement.after.locked_atoms),
            detail::tokens(movement.after.earned_atoms),
            detail::tokens(movement.after.withdrawing_atoms));
    return out;
}

}  // namespace ledger::audit
