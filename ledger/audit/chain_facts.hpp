// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/audit/findings.hpp"
#include "ledger/base/result.hpp"
#include "ledger/rpc/chain.hpp"
#include "ledger/settlement/deployment.hpp"
#include "ledger/settlement/receipt_log_abi.hpp"

#include <cstdint>
#include <unordered_map>
#include <vector>

namespace ledger::audit::detail {

/// Everything the chain says about the market up to a block.
struct ChainFacts {
    std::vector<AuditedLease> leases;  ///< in the order they were opened
    std::unordered_map<base::Hash32, std::size_t> lease_index;
    std::vector<eth::TreeHead> heads;  ///< in chain order

    [[nodiscard]] AuditedLease* find(const base::Hash32& lease) {
        const auto found = lease_index.find(lease);
        return found == lease_index.end() ? nullptr : &leases[found->second];
    }
};

/// Reads all events up to `report.to_block` and checks what the chain alone can show: that claims
/// add up, that escrow's entries are explained by the leases, that each token that moved is
/// explained by an entry, and that escrow holds what it owes. Fills the report's payment figures
/// and the movements of its account.
[[nodiscard]] base::Result<ChainFacts> read_chain(rpc::Chain& chain,
                                                  const settlement::Deployment& deployment,
                                                  AuditReport& report);

}  // namespace ledger::audit::detail
