// SPDX-License-Identifier: Apache-2.0
#include "ledger/base/hex.hpp"
#include "ledger/rpc/json.hpp"
#include "ledger/rpc/poll.hpp"
#include "marketplace/cli/public_log.hpp"
#include "marketplace/cli/witness.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <chrono>
#include <memory>

namespace marketplace::cli {
namespace {

using ledger::base::Error;
using ledger::base::ErrorCode;
using ledger::base::fail;
using nlohmann::json;

struct WitnessOptions {
    std::filesystem::path folder;
    std::string deployment_file;
    std::uint64_t every_s = 5;
    bool once = false;
};

Result<wire::SignedHead> parse_served(const json& shown) {
    json head = shown;
    head.erase("cosignature");
    return wire::parse_signed_head(ledger::rpc::to_text(head));
}

/// Reads the market's records up to this size into the copy.
Result<void> read_up_to(Context& context, Witness& witness, std::uint64_t size) {
    while (witness.size() < size) {
        TRY_ASSIGN(const std::string page, fetch_log_page(context, witness.size()));
        std::string_view rest = page;
        if (rest.empty())
            return fail(ErrorCode::audit_failed, "the market signed more records than it shows");
        while (!rest.empty() && witness.size() < size) {
            const auto end = std::min(rest.find('\n'), rest.size());
            TRY_ASSIGN(const auto record, parse_log_line(rest.substr(0, end), witness.size()));
            TRY(witness.append(record));
            rest.remove_prefix(std::min(end + 1, rest.size()));
        }
    }
    return {};
}

/// One look at the market. True when a head was co-signed.
Result<bool> look(Context& context, Witness& witness,
                  const ledger::settlement::Deployment& deployment) {
    TRY_ASSIGN(const json answer, context.market().get("/v1/log/head", Auth::kNone));
    if (!answer.contains("signed_head") || !answer["signed_head"].is_object()) return false;
    TRY_ASSIGN(const wire::SignedHead proposal, parse_served(answer["signed_head"]));
    if (!answer["signed_head"]["cosignature"].is_null() && witness.last() == proposal) return false;
    TRY_ASSIGN(const ledger::crypto::PrivateKey* key, context.key());
    TRY(read_up_to(context, witness, proposal.head.size));
    TRY_ASSIGN(const auto signature,
               witness.cosign(proposal, deployment.log_domain(), deployment.market_operator, *key));
    TRY_ASSIGN(const json body, ledger::rpc::parse_json(wire::to_json({proposal.head, signature})));
    const auto taken = context.market().post("/v1/log/head/cosignature", body, Auth::kNone);
    // The market may have signed a newer head meanwhile: that one is next.
    if (!taken && taken.error().code() == ErrorCode::wrong_state) return false;
    if (!taken) return tl::make_unexpected(taken.error());
    if (context.json())
        context.print_json({{"size", proposal.head.size},
                            {"root", ledger::base::to_hex(proposal.head.root)},
                            {"signature", ledger::base::to_hex(signature)}});
    else
        context.say(fmt::format("Co-signed the head of {} records, root {}", proposal.head.size,
                                ledger::base::to_hex(proposal.head.root)));
    return true;
}

/// What may pass by itself: the market or the disk could not be asked.
bool is_passing(const Error& error) {
    return error.code() == ErrorCode::unavailable || error.code() == ErrorCode::timeout ||
           error.code() == ErrorCode::queue_full || error.code() == ErrorCode::rate_limited;
}

Result<void> run_witness(Context& context, const WitnessOptions& options) {
    TRY_ASSIGN(const auto deployment, ledger::settlement::read_deployment(options.deployment_file));
    const auto folder = options.folder.empty() ? context.settings.data / "witness" : options.folder;
    TRY_ASSIGN(Witness witness, Witness::open(folder));
    TRY_ASSIGN(const ledger::crypto::PrivateKey* key, context.key());
    context.say(fmt::format("Witness {}, {} records in {}", ledger::base::to_hex(key->address()),
                            witness.size(), folder.string()));
    std::string trouble;
    while (true) {
        const auto signed_one = look(context, witness, deployment);
        const bool passing = !signed_one && is_passing(signed_one.error());
        if (!signed_one && (!passing || options.once))
            return tl::make_unexpected(signed_one.error());
        if (passing && trouble != signed_one.error().message())
            context.messages.line(signed_one.error().message());
        trouble = passing ? signed_one.error().message() : "";
        if (options.once && *signed_one) return {};
        ledger::rpc::pause_for(std::chrono::seconds(options.every_s));
    }
}

}  // namespace

void add_witness_commands(CLI::App& app, const Choose& choose) {
    auto options = std::make_shared<WitnessOptions>();
    CLI::App* witness = app.add_subcommand(
        "witness",
        "Keep a copy of a market's log and co-sign its heads while nothing in it changes; 7 when "
        "something did");
    witness
        ->add_option("--deployment", options->deployment_file,
                     "Contracts of the market: its operator's key is in there")
        ->required();
    witness->add_option("--folder", options->folder, "Copy and last head (witness in --data)");
    witness->add_option("--every", options->every_s, "Seconds between looks")
        ->check(CLI::Range(1, 3600));
    witness->add_flag("--once", options->once, "End after one co-signed head");
    choose(witness, [options](Context& c) { return run_witness(c, *options); });
}

}  // namespace marketplace::cli
