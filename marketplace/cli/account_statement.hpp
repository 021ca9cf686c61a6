// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/audit/lease.hpp"
#include "ledger/base/result.hpp"

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

/// What an account moved on chain in a time, and that it adds up. Pure.
namespace marketplace::cli {

/// From the first second on, up to but without the last; unix seconds.
struct Period {
    std::uint64_t from_s = 0;
    std::uint64_t to_s = std::numeric_limits<std::uint64_t>::max();
};
/// Two days ("2027-01-31", UTC; the last one counts whole) or moments ("2027-01-31T08:00Z"); empty:
/// open. invalid_field, and invalid_window when nothing lies between them.
[[nodiscard]] ledger::base::Result<Period> parse_period(const std::string& from,
                                                        const std::string& to);

/// Atoms. "Own" is what the account has in escrow in any form, less what open leases have paid
/// from their lock already.
struct AccountStatement {
    std::vector<ledger::audit::Movement> movements;  ///< of the period
    std::int64_t opening_atoms = 0;                  ///< own before the first of them
    std::int64_t deposited_atoms = 0;
    std::int64_t spent_atoms = 0;   ///< to providers
    std::int64_t fees_atoms = 0;    ///< paid
    std::int64_t earned_atoms = 0;  ///< as provider or treasury
    std::int64_t withdrawn_atoms = 0;
    std::int64_t closing_atoms = 0;  ///< opening + deposited + earned - spent - fees - withdrawn
    ledger::audit::Balances after;   ///< the contract's balances at the end of the period
};

/// `movements`: all of the account, in order. audit_failed names the first one after which what
/// came and went is not what the balances hold.
[[nodiscard]] ledger::base::Result<AccountStatement> make_statement(
    const std::vector<ledger::audit::Movement>& movements, const Period& period);

}  // namespace marketplace::cli
