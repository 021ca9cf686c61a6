// SPDX-License-Identifier: Apache-2.0
#include "marketplace/cli/job_order.hpp"

#include "ledger/base/clock.hpp"
#include "ledger/base/hex.hpp"
#include "ledger/crypto/address.hpp"
#include "ledger/eth/abi.hpp"
#include "ledger/rpc/json.hpp"
#include "ledger/settlement/escrow_abi.hpp"
#include "ledger/settlement/leases_abi.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <algorithm>

namespace marketplace::cli {
namespace {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::to_hex;
using ledger::rpc::BlockTag;
using nlohmann::json;

constexpr std::uint64_t kClockSkewSeconds = 300;
/// A job that fails over locks its rest anew before the old lock is free.
constexpr std::uint64_t kLocksAtOnce = 6;

Hash32 random_hash() {
    const auto bytes = ledger::crypto::random_bytes(Hash32::kSize);
    Hash32 out;
    std::copy(bytes.begin(), bytes.end(), out.data());
    return out;
}

domain::JobId random_job_id() {
    const auto bytes = ledger::crypto::random_bytes(domain::JobId::kSize);
    domain::JobId out;
    std::copy(bytes.begin(), bytes.end(), out.data());
    return out;
}

Result<std::vector<Address>> parse_addresses(const std::vector<std::string>& texts,
                                             const char* option) {
    std::vector<Address> out;
    for (const std::string& text : texts) {
        const auto address = ledger::crypto::parse_address(text);
        if (!address)
            return fail(ErrorCode::invalid_field,
                        fmt::format("{} \"{}\": {}", option, text, address.error().detail()));
        out.push_back(*address);
    }
    std::sort(out.begin(), out.end());
    return out;
}

/// What the delegate has locked or paid for this owner so far: the cap counts it.
Result<std::uint64_t> read_spent(Context& context, const Address& leases, const Address& owner,
                                 const Address& delegate) {
    ledger::eth::abi::Encoder arguments;
    arguments.address(owner).address(delegate);
    ledger::rpc::CallRequest request;
    request.to = leases;
    request.data = ledger::eth::abi::encode_call("spentBy(address,address)", arguments);
    TRY_ASSIGN(const auto data, context.chain().call(request, BlockTag::Name::kLatest));
    return ledger::eth::abi::Decoder(data).u64(0);
}

Result<ledger::eth::Delegation> make_delegation(Context& context, const Address& owner,
                                                std::uint64_t cost_atoms,
                                                std::uint64_t deadline_s) {
    TRY(context.check_chain());
    TRY_ASSIGN(const MarketFacts* facts, context.facts());
    const Address& leases = facts->deployment.leases;
    TRY_ASSIGN(const std::uint64_t spent,
               read_spent(context, leases, owner, facts->delegate_address));
    TRY_ASSIGN(const auto escrow,
               ledger::settlement::read_escrow_account(context.chain(), facts->deployment.escrow,
                                                       owner, BlockTag::Name::kLatest));
    ledger::eth::Delegation delegation;
    delegation.owner = owner;
    delegation.delegate = facts->delegate_address;
    delegation.scope = ledger::eth::kScopeVouchers;
    // The chain counts all jobs of the account against one sum: leave room for those beside this.
    delegation.spend_cap_atoms =
        spent + escrow.free_atoms + escrow.locked_atoms + cost_atoms * kLocksAtOnce;
    delegation.expiry_s = deadline_s + 24 * 3600;
    TRY_ASSIGN(delegation.nonce, ledger::settlement::read_delegation_nonce(
                                     context.chain(), leases, owner, BlockTag::Name::kLatest));
    return delegation;
}

std::string mismatch_text(const json& document) {
    const json& reasons = document.contains("reasons") ? document["reasons"] : document;
    return printable(ledger::rpc::string_at(reasons, "text").value_or("no ask fits"));
}

}  // namespace

void add_order_options(CLI::App& command, OrderOptions& options) {
    command.add_option("--gpu-model", options.gpu_models,
                       "Accept only these models (cpu for none)");
    command.add_option("--min-gpus", options.min_gpu_count, "GPUs per machine")
        ->capture_default_str();
    command.add_option("--min-vram-mib", options.min_vram_mib, "GPU memory");
    command.add_option("--region", options.regions, "Accept only these regions");
    command.add_option("--runtime", options.runtimes, "Accept only these runtimes");
    command.add_option("--provider", options.providers, "Accept only these providers");
    command.add_option("--exclude-provider", options.exclude_providers, "Refuse these providers");
    command.add_option("--hours", options.hours, "Give up after")
        ->check(CLI::Range(std::uint64_t{1}, std::uint64_t{24 * 365}))
        ->capture_default_str();
}

Result<domain::Constraints> to_constraints(const OrderOptions& options) {
    domain::Constraints out;
    out.gpu_models = options.gpu_models;
    out.min_gpu_count = options.min_gpu_count;
    out.min_vram_mib = options.min_vram_mib;
    out.regions = options.regions;
    out.runtimes = options.runtimes;
    TRY_ASSIGN(out.providers, parse_addresses(options.providers, "--provider"));
    TRY_ASSIGN(out.exclude_providers,
               parse_addresses(options.exclude_providers, "--exclude-provider"));
    return out;
}

std::uint64_t worst_case_atoms(const std::vector<BidTerms>& bids) {
    std::uint64_t total = 0;
    for (const BidTerms& bid : bids) {
        const auto amount =
            ledger::eth::amount_for(bid.unit_kind, bid.volume_units, bid.price_ceiling_atoms);
        total += std::min(amount.value_or(bid.max_amount_atoms), bid.max_amount_atoms);
    }
    return total;
}

Result<wire::PostJobBody> sign_job(Context& context, std::string spec,
                                   const std::vector<BidTerms>& bids, const OrderOptions& options) {
    TRY_ASSIGN(const MarketFacts* facts, context.facts());
    TRY_ASSIGN(const auto* key, context.key());
    const ledger::eth::Domain where = facts->deployment.leases_domain();
    const std::uint64_t now_s = ledger::base::SystemClock().now_ms() / 1000;
    wire::PostJobBody body;
    TRY_ASSIGN(body.parsed, wire::parse_job_spec(spec));
    body.command.id = random_job_id();
    body.command.terms = body.parsed.terms;
    TRY_ASSIGN(const domain::Constraints constraints, to_constraints(options));
    for (const BidTerms& terms : bids) {
        domain::BidLeg leg;
        leg.constraints = constraints;
        leg.bid.buyer = key->address();
        leg.bid.job_spec_hash = wire::document_hash(spec);
        leg.bid.unit_kind = terms.unit_kind;
        leg.bid.price_ceiling_atoms = terms.price_ceiling_atoms;
        leg.bid.max_amount_atoms = terms.max_amount_atoms;
        leg.bid.constraints_hash = wire::document_hash(wire::constraints_document(constraints));
        leg.bid.order_class = terms.order_class;
        leg.bid.earliest_s = now_s - std::min(now_s, kClockSkewSeconds);
        leg.bid.deadline_s = now_s + options.hours * 3600;
        leg.bid.expiry_s = leg.bid.deadline_s;
        leg.bid.volume_units = terms.volume_units;
        leg.bid.matcher = facts->operator_address;
        leg.bid.salt = random_hash();
        leg.signature = key->sign(ledger::eth::digest(where, leg.bid));
        body.command.legs.push_back(std::move(leg));
    }
    TRY_ASSIGN(const ledger::eth::Delegation delegation,
               make_delegation(context, key->address(), worst_case_atoms(bids),
                               now_s + options.hours * 3600));
    body.command.delegation = delegation;
    body.command.delegation_signature = key->sign(ledger::eth::digest(where, delegation));
    body.spec = std::move(spec);
    return body;
}

Result<QuoteAnswer> ask_quote(Context& context, const wire::PostJobBody& job) {
    TRY_ASSIGN(const json body, ledger::rpc::parse_json(wire::post_job_json(job)));
    QuoteAnswer out;
    TRY_ASSIGN(out.document, context.market().post("/v1/market/quotes", body, Auth::kNone));
    TRY_ASSIGN(out.matches, ledger::rpc::boolean_at(out.document, "matches"));
    for (const json& leg : out.document.value("legs", json::array()))
        out.locked_atoms += ledger::rpc::u64_text_at(leg, "locked").value_or(0);
    if (!out.matches) out.why = mismatch_text(out.document);
    return out;
}

void print_quote(Context& context, const QuoteAnswer& quote, std::uint64_t worst_case) {
    if (context.json()) return;
    if (!quote.matches) {
        context.messages.line("No ask fits now: " + quote.why);
    } else {
        Table table({{"ask"},
                     {"price", Table::Align::kRight},
                     {"units", Table::Align::kRight},
                     {"cost", Table::Align::kRight}});
        for (const json& leg : quote.document.value("legs", json::array()))
            table.row({leg.value("ask", "").substr(0, 12),
                       tokens(ledger::rpc::u64_text_at(leg, "price").value_or(0)),
                       leg.value("max_units", ""),
                       tokens(ledger::rpc::u64_text_at(leg, "locked").value_or(0))});
        table.print(context.messages);
        context.messages.line("Total now   " + tokens(quote.locked_atoms));
    }
    context.messages.line("Never above " + tokens(worst_case));
}

Result<std::string> post_job(Context& context, const wire::PostJobBody& job) {
    TRY_ASSIGN(const json body, ledger::rpc::parse_json(wire::post_job_json(job)));
    TRY_ASSIGN(const json answer, context.market().post("/v1/jobs", body, Auth::kSession));
    return ledger::rpc::string_at(answer, "id");
}

}  // namespace marketplace::cli
