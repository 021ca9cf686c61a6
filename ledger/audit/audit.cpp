// SPDX-License-Identifier: Apache-2.0
#include "ledger/audit/audit.hpp"

#include "ledger/audit/chain_facts.hpp"
#include "ledger/audit/log_checker.hpp"

namespace ledger::audit {

using base::ErrorCode;
using base::fail;
using base::Result;

Result<AuditReport> audit(rpc::Chain& chain, LogSource& log,
                          const settlement::Deployment& deployment, const AuditOptions& options) {
    AuditReport report;
    TRY_ASSIGN(report.chain_id, chain.chain_id());
    if (report.chain_id != deployment.chain_id)
        return fail(ErrorCode::chain_mismatch,
                    "the node serves chain " + std::to_string(report.chain_id) +
                        ", the market is on " + std::to_string(deployment.chain_id));
    report.from_block = deployment.block;
    TRY_ASSIGN(const std::uint64_t newest, chain.block_number());
    report.to_block = options.to_block.value_or(newest);
    if (report.to_block > newest || report.to_block < report.from_block)
        return fail(ErrorCode::out_of_range, "blocks " + std::to_string(report.from_block) +
                                                 " to " + std::to_string(newest) + " are there");
    // The chain first: what it paid by then must be in a log read later.
    TRY_ASSIGN(const detail::ChainFacts facts,
               detail::read_chain(chain, deployment, report.to_block, report));
    detail::LogChecker checker(chain, deployment, facts, report, options.threads);
    while (true) {
        TRY_ASSIGN(const std::optional<LogRecord> record, log.next());
        if (!record) break;
        TRY(checker.take(*record));
    }
    checker.finish();
    return report;
}

}  // namespace ledger::audit
