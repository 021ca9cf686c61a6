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

/// What is reported. Everything is read and recomputed from the deployment on all the same: a part
/// cannot be judged without the roots. What concerns the market as a whole (roots, heads, records,
/// solvency at the last block) is always reported.
struct AuditOptions {
    /// Only this lease and its transactions.
    std::optional<base::Hash32> lease = std::nullopt;
    /// Only the leases and movements of this party.
    std::optional<base::Address> account = std::nullopt;
    /// Only what transactions from this block on did, and the receipts they paid for; empty: all.
    std::optional<std::uint64_t> from_block = std::nullopt;
    /// Last block read; empty: the newest.
    std::optional<std::uint64_t> to_block = std::nullopt;
    bool days = false;  ///< fill `AuditReport::days`
    /// Threads that verify signatures; 0: one per core.
    unsigned threads = 0;
};

/// Recomputes everything from public data, trusting neither the market nor the log: records → log
/// root → anchored heads → receipts (signature, chain, amount to the atom) → vouchers → claims →
/// escrow credits → token transfers, and solvency. Memory does not grow with the receipts.
///
/// What is wrong is in the report; an error means that it could not be done: the chain could not be
/// asked or is another one, the log could not be read, the blocks are not there (out_of_range), or
/// the chain knows no such lease or account (not_found).
[[nodiscard]] base::Result<AuditReport> audit(rpc::Chain& chain, LogSource& log,
                                              const settlement::Deployment& deployment,
                                              const AuditOptions& options = {});

}  // namespace ledger::audit
