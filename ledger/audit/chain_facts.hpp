// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/audit/findings.hpp"
#include "ledger/base/result.hpp"
#include "ledger/rpc/chain.hpp"
#include "ledger/settlement/deployment.hpp"
#include "ledger/settlement/escrow_abi.hpp"
#include "ledger/settlement/leases_abi.hpp"
#include "ledger/settlement/receipt_log_abi.hpp"

#include <cstdint>
#include <map>
#include <optional>
#include <unordered_map>
#include <vector>

namespace ledger::audit::detail {

/// One lease as the chain tells it.
struct LeaseFacts {
    settlement::LeaseOpened opened;
    std::vector<settlement::Claimed> claims;  ///< in chain order
    std::optional<settlement::LeaseClosed> closed;
    std::uint64_t paid_atoms = 0;
    std::uint64_t fee_atoms = 0;
};

/// Everything the chain says about the market up to a block.
struct ChainFacts {
    std::unordered_map<base::Hash32, LeaseFacts> leases;
    std::vector<eth::TreeHead> heads;  ///< in chain order
};

/// Reads all events up to `to_block` and checks what the chain alone can show: that claims add up,
/// that escrow's entries are explained by the leases, and that each token that moved is explained
/// by an entry. Fills the report's payment figures.
[[nodiscard]] base::Result<ChainFacts> read_chain(rpc::Chain& chain,
                                                  const settlement::Deployment& deployment,
                                                  std::uint64_t to_block, AuditReport& report);

}  // namespace ledger::audit::detail
