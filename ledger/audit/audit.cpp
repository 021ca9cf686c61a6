// SPDX-License-Identifier: Apache-2.0
#include "ledger/audit/audit.hpp"

#include "ledger/audit/block_times.hpp"
#include "ledger/audit/chain_facts.hpp"
#include "ledger/audit/log_checker.hpp"

#include <utility>

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
    report.lease = options.lease;
    report.account = options.account;
    report.from_block = options.from_block.value_or(deployment.block);
    TRY_ASSIGN(const std::uint64_t newest, chain.block_number());
    report.to_block = options.to_block.value_or(newest);
    if (report.from_block < deployment.block || report.from_block > report.to_block ||
        report.to_block > newest)
        return fail(ErrorCode::out_of_range, "blocks " + std::to_string(report.from_block) +
                                                 " to " + std::to_string(report.to_block) + " of " +
                                                 std::to_string(deployment.block) + " to " +
                                                 std::to_string(newest));
    // The chain first: what it paid by then must be in a log read later.
    TRY_ASSIGN(detail::ChainFacts facts, detail::read_chain(chain, deployment, report));
    detail::LogChecker checker(chain, deployment, facts, report, options.threads);
    while (true) {
        TRY_ASSIGN(std::optional<LogRecord> record, log.next());
        if (!record) break;
        TRY(checker.take(std::move(*record)));
    }
    TRY(checker.finish());
    for (AuditedLease& lease : facts.leases)
        if (lease.selected) report.leases.push_back(std::move(lease));
    detail::BlockTimes times(chain);
    TRY(times.fill_places(report));
    if (options.days) TRY(times.fill_days(report));
    return report;
}

}  // namespace ledger::audit
