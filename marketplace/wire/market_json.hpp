// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "marketplace/domain/command.hpp"
#include "marketplace/domain/event.hpp"
#include "marketplace/domain/lease.hpp"

#include <string>

/// The market's objects as people and programs read them. Amounts and units are decimal strings.
namespace marketplace::wire {

/// {"lease","job","leg","ask","bid","index","buyer","provider","voucher_signer","worker",
///  "unit_kind","price","max_units","locked","state","close_reason","units","amount","sequence",
///  "checkpoint","claimed","fee","refunded",…}
[[nodiscard]] std::string lease_json(const domain::Lease& lease);

/// {"asks","failed":{"vram":9,…},"cheapest","text"}
[[nodiscard]] std::string mismatches_json(const domain::Mismatches& reasons);

/// Signed messages, with their EIP-712 field names.
[[nodiscard]] std::string ask_json(const ledger::eth::Ask& ask);
[[nodiscard]] std::string bid_json(const ledger::eth::Bid& bid);
[[nodiscard]] std::string receipt_json(const ledger::eth::Receipt& receipt);
[[nodiscard]] std::string voucher_json(const ledger::eth::Voucher& voucher);
[[nodiscard]] std::string delegation_json(const ledger::eth::Delegation& delegation);

}  // namespace marketplace::wire
