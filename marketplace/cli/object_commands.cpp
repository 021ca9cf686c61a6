// SPDX-License-Identifier: Apache-2.0
#include "ledger/audit/proof.hpp"
#include "ledger/base/hex.hpp"
#include "ledger/settlement/leases_abi.hpp"
#include "marketplace/cli/public_log.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <memory>

namespace marketplace::cli {
namespace {

namespace settlement = ledger::settlement;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::to_hex;

struct ObjectOptions {
    std::string lease;
    std::string deployment_file;
};

Result<void> object_to(Context& context, const ObjectOptions& options) {
    TRY_ASSIGN(const Hash32 lease, ledger::base::parse_fixed<Hash32>(options.lease));
    TRY_ASSIGN(const auto deployment, read_deployment(context, options.deployment_file));
    TRY_ASSIGN(const settlement::LoneClaimView claim,
               settlement::read_lone_claim(context.chain(), deployment.leases, lease,
                                           ledger::rpc::BlockTag::Name::kLatest));
    if (claim.payable_at_s == 0)
        return fail(ErrorCode::not_found, claim.is_objected
                                              ? "there was an objection already"
                                              : "the worker of this lease claims nothing alone");
    TRY_ASSIGN(const settlement::Parties parties,
               ledger::audit::read_parties(context.chain(), deployment, lease));
    TRY_ASSIGN(const ledger::crypto::PrivateKey* key, context.key());
    if (key->address() != parties.buyer && key->address() != parties.voucher_signer)
        return fail(ErrorCode::forbidden,
                    "the lease is neither this account's nor does it sign "
                    "its vouchers: " +
                        to_hex(parties.buyer));
    TRY(context.confirm(
        fmt::format("The worker claims {} tokens in all without a voucher. Refuse that?",
                    tokens(claim.amount_atoms)),
        Context::Then::kTransaction));
    settlement::ObjectionItem item;
    item.parties = parties;
    item.objection = {lease, claim.receipt};
    const auto signature =
        key->sign(ledger::eth::digest(deployment.leases_domain(), item.objection));
    item.signature = {signature.begin(), signature.end()};
    TRY_ASSIGN(const Hash32 transaction,
               send_transaction(context, deployment.leases, settlement::encode_object_to({item})));
    TRY_ASSIGN(const settlement::LoneClaimView after,
               settlement::read_lone_claim(context.chain(), deployment.leases, lease,
                                           ledger::rpc::BlockTag::Name::kLatest));
    if (!after.is_objected)
        return fail(ErrorCode::chain_refused,
                    "the objection came too late, or the worker claims something else by now");
    if (context.json())
        context.print_json({{"lease", options.lease},
                            {"receipt", to_hex(claim.receipt)},
                            {"transaction", to_hex(transaction)}});
    else
        context.say(fmt::format("Objected: the lease is paid by vouchers only. Transaction {}",
                                to_hex(transaction)));
    return {};
}

}  // namespace

void add_object_commands(CLI::App& app, const Choose& choose) {
    auto options = std::make_shared<ObjectOptions>();
    CLI::App* command = app.add_subcommand(
        "object", "Refuse what a worker claims on chain without its buyer's signature");
    command->add_option("LEASE", options->lease)->required();
    command->add_option("--deployment", options->deployment_file,
                        "Contracts (default: as the market says)");
    choose(command, [options](Context& c) { return object_to(c, *options); });
}

}  // namespace marketplace::cli
