// SPDX-License-Identifier: Apache-2.0
#include "ledger/audit/proof.hpp"
#include "ledger/base/hex.hpp"
#include "ledger/settlement/disputes_abi.hpp"
#include "marketplace/cli/public_log.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <map>
#include <memory>

namespace marketplace::cli {
namespace {

namespace settlement = ledger::settlement;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::to_hex;

struct AccuseOptions {
    std::string lease;
    std::string log;
    std::string deployment_file;
};

struct Evidence {
    settlement::WorkerReceipt first;
    settlement::WorkerReceipt second;
};

/// The two receipts of one sequence that the log has of this lease.
Result<Evidence> find_evidence(RecordReader& reader, const Hash32& lease) {
    std::map<std::uint64_t, settlement::WorkerReceipt> seen;
    while (true) {
        TRY_ASSIGN(const auto record, reader.next());
        if (!record) break;
        const auto found = receipt_in(*record);
        if (!found || found->receipt.lease != lease) continue;
        const auto [place, is_first] = seen.try_emplace(
            found->receipt.sequence, settlement::WorkerReceipt{found->receipt, found->signature});
        if (!is_first) return Evidence{place->second, {found->receipt, found->signature}};
    }
    return fail(ErrorCode::not_found, "the log has no two receipts of one sequence of this lease");
}

Result<void> accuse(Context& context, const AccuseOptions& options) {
    TRY_ASSIGN(const Hash32 lease, ledger::base::parse_fixed<Hash32>(options.lease));
    TRY_ASSIGN(const auto reader, open_log(context, options.log));
    TRY_ASSIGN(const auto deployment, read_deployment(context, options.deployment_file));
    if (deployment.disputes.is_zero())
        return fail(ErrorCode::unsupported, "this deployment has no Disputes contract");
    TRY_ASSIGN(const Evidence evidence, find_evidence(*reader, lease));
    TRY_ASSIGN(const settlement::Parties parties,
               ledger::audit::read_parties(context.chain(), deployment, lease));
    TRY(context.confirm(
        fmt::format("Prove on chain that worker {} signed receipt {} of the lease twice?",
                    to_hex(parties.worker_key), evidence.first.receipt.sequence),
        Context::Then::kTransaction));
    TRY_ASSIGN(const Hash32 transaction,
               send_transaction(context, deployment.disputes,
                                settlement::encode_prove_equivocation(parties, evidence.first,
                                                                      evidence.second)));
    if (context.json())
        context.print_json({{"lease", options.lease},
                            {"sequence", evidence.first.receipt.sequence},
                            {"provider", to_hex(parties.provider)},
                            {"transaction", to_hex(transaction)}});
    else
        context.say(fmt::format("Proved: provider {} lost its minimum bond. Transaction {}",
                                to_hex(parties.provider), to_hex(transaction)));
    return {};
}

}  // namespace

void add_accuse_commands(CLI::App& app, const Choose& choose) {
    auto options = std::make_shared<AccuseOptions>();
    CLI::App* command = app.add_subcommand(
        "accuse", "Prove on chain that a lease's worker signed two receipts with one sequence");
    command->add_option("LEASE", options->lease)->required();
    command->add_option("--log", options->log, "A file from `log fetch` (default: the market)");
    command->add_option("--deployment", options->deployment_file,
                        "Contracts (default: as the market says)");
    choose(command, [options](Context& c) { return accuse(c, *options); });
}

}  // namespace marketplace::cli
