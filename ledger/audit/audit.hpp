// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/audit/log_source.hpp"
#include "ledger/audit/report.hpp"
#include "ledger/base/result.hpp"
#include "ledger/rpc/chain.hpp"
#include "ledger/settlement/deployment.hpp"

#include <cstdint>
#include <optional>

namespace ledger::audit {

struct AuditOptions {
    /// Last block read; empty: the newest.
    std::optional<std::uint64_t> to_block;
    /// Threads that verify signatures; 0: one per core.
    unsigned threads = 0;
};

/// Recomputes everything from public data, trusting neither the market nor the log: records → log
/// root → anchored heads → receipts (signature, chain, amount to the atom) → vouchers → claims →
/// escrow credits → token transfers, and solvency. Memory does not grow with the receipts.
///
/// What is wrong is in the report; an error means that it could not be done: the chain could not be
/// asked or is another one, or the log could not be read.
[[nodiscard]] base::Result<AuditReport> audit(rpc::Chain& chain, LogSource& log,
                                              const settlement::Deployment& deployment,
                                              const AuditOptions& options = {});

}  // namespace ledger::audit
