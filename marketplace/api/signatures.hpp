// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/clock.hpp"
#include "ledger/eth/messages.hpp"
#include "marketplace/domain/command.hpp"

/// Order signatures, checked over the message that was received. Externally owned accounts.
namespace marketplace::api {

/// invalid_signature; wrong_chain when it is good for another chain we can name.
[[nodiscard]] ledger::base::Result<void> check_ask(const ledger::eth::Domain& domain,
                                                   const domain::PostAsk& ask);
/// Each leg by the buyer, or by the delegate of a delegation that allows orders.
[[nodiscard]] ledger::base::Result<void> check_job(const ledger::eth::Domain& domain,
                                                   const domain::PostJob& job,
                                                   ledger::base::TimeMs now_ms);

}  // namespace marketplace::api
