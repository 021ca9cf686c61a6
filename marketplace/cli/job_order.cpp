// SPDX-License-Identifier: Apache-2.0
#include "marketplace/cli/job_order.hpp"

#include "ledger/base/clock.hpp"
#include "ledger/base/hex.hpp"
#include "ledger/base/money.hpp"
#include "ledger/crypto/address.hpp"
#include "ledger/eth/abi.hpp"
#include "ledger/rpc/json.hpp"
#include "ledger/settlement/escrow_abi.hpp"
#include "ledger/settlement/leases_abi.hpp"
#include "marketplace/cli/explain.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <ctime>

namespace marketplace::cli {
namespace {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::to_hex;
using ledger::rpc::BlockTag;
using nlohmann::json;

constexpr std::uint64_t kClockSkewSeconds = 300;
constexpr const char* kMachineGroup = "Machine";
constexpr const char* kPartyGroup = "Who";
constexpr const char* kTimeGroup = "When";
constexpr const char* kBookGroup = "How it is matched";
/// A job that fails over locks its rest anew before the old lock is free.
constexpr std::uint64_t kLocksAtOnce = 6;

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

std::string start_text(const json& quote) {
    const auto starts_ms = ledger::rpc::integer_at(quote, "starts_ms");
    if (!starts_ms) return "not foreseeable";
    const std::uint64_t now_ms = ledger::base::SystemClock().now_ms();
    if (*starts_ms <= now_ms) return "at once";
    return "in " + format_duration(*starts_ms - now_ms);
}

std::string mismatch_text(const json& document) {
    const json& reasons = document.contains("reasons") ? document["reasons"] : document;
    return printable(ledger::rpc::string_at(reasons, "text").value_or("no ask fits"));
}

}  // namespace

void add_order_options(CLI::App& command, OrderOptions& options) {
    const auto machine = [&](const char* name, auto& value, const char* text) {
        return command.add_option(name, value, text)->group(kMachineGroup);
    };
    const auto party = [&](const char* name, auto& value, const char* text) {
        return command.add_option(name, value, text)->group(kPartyGroup);
    };
    machine("--gpu-model", options.gpu_models, "Accept only these models (cpu for none)");
    machine("--min-gpus", options.min_gpu_count, "GPUs per machine")->capture_default_str();
    machine("--min-vram-mib", options.min_vram_mib, "GPU memory");
    machine("--interconnect", options.interconnects, "Accept only these: pcie, nvlink");
    machine("--min-ram-mib", options.min_ram_mib, "Main memory");
    machine("--min-cpu-cores", options.min_cpu_cores, "CPU cores");
    machine("--min-disk-mib", options.min_disk_mib, "Free disk");
    machine("--min-bandwidth-mbps", options.min_bandwidth_mbps, "To the outside, Mbit/s");
    machine("--min-gflop-per-s", options.min_gflop_per_s, "Measured compute of one GPU (or CPU)");
    machine("--min-memory-mb-per-s", options.min_memory_mb_per_s,
            "Measured memory bandwidth of one GPU (or CPU)");
    machine("--runtime", options.runtimes, "Accept only these runtimes");
    machine("--numeric-class", options.numeric_class, "any, d0, d1, d2 or d3: how exact")
        ->check(CLI::IsMember({"any", "d0", "d1", "d2", "d3"}))
        ->capture_default_str();
    party("--region", options.regions, "Accept only these regions");
    party("--provider", options.providers, "Accept only these providers");
    party("--exclude-provider", options.exclude_providers, "Refuse these providers");
    party("--min-reliability", options.min_reliability, "Percent of leases brought to their end")
        ->check(CLI::Range(0, 100));
    command.add_option("--hours", options.hours, "Give up after")
        ->group(kTimeGroup)
        ->check(CLI::Range(std::uint64_t{1}, std::uint64_t{24 * 365}))
        ->capture_default_str();
}

void add_training_options(CLI::App& command, OrderOptions& options) {
    const auto when = [&](const char* name, auto& value, const char* text) {
        return command.add_option(name, value, text)->group(kTimeGroup);
    };
    const auto how = [&](const char* name, auto& value, const char* text) {
        return command.add_option(name, value, text)->group(kBookGroup);
    };
    when("--start", options.start, "Not before: 2027-01-31T08:00Z, or +90m, +12h, +3d");
    when("--until", options.until, "Not after; instead of --hours");
    when("--max-minutes", options.max_minutes, "End a lease after it at the latest");
    how("--class", options.order_class,
        "on-demand, interruptible (cheaper, may be outbid), reserved")
        ->check(CLI::IsMember({"on-demand", "interruptible", "reserved"}))
        ->capture_default_str();
    how("--min-reclaim-seconds", options.min_reclaim_s, "interruptible: least time to leave");
    how("--gang", options.gang, "Workers that start together, all or none")->capture_default_str();
    how("--min-slice", options.min_slice, "Accept leases of this many steps; 0: all in one");
    how("--ramp-from", options.ramp_from, "First price in tokens; rises to --max-price");
    how("--ramp-minutes", options.ramp_minutes, "How long it rises");
    command
        .add_flag("--batch-auction", options.batch, "Wait, sealed, for the next batch at one price")
        ->group(kBookGroup);
}

Result<std::uint64_t> parse_moment(const std::string& text, std::uint64_t now_s) {
    const auto wrong = [&] {
        return fail(
            ErrorCode::invalid_field,
            fmt::format("\"{}\" is no moment: write 2027-01-31T08:00Z, or +90m, +12h, +3d", text));
    };
    if (!text.empty() && text.front() == '+') {
        const std::uint64_t unit = text.back() == 'm'   ? 60
                                   : text.back() == 'h' ? 3600
                                   : text.back() == 'd' ? 86'400
                                                        : 0;
        const auto count = ledger::base::parse_u64(
            std::string_view(text).substr(1, text.size() - std::min<std::size_t>(text.size(), 2)));
        if (unit == 0 || !count || *count > 1'000'000) return wrong();
        return now_s + *count * unit;
    }
    std::tm parts{};
    for (const char* form : {"%Y-%m-%dT%H:%MZ", "%Y-%m-%dT%H:%M:%SZ"}) {
        parts = {};
        const char* end = strptime(text.c_str(), form, &parts);
        if (end == nullptr || *end != '\0') continue;
        const std::time_t seconds = timegm(&parts);
        if (seconds < 0) return wrong();
        return static_cast<std::uint64_t>(seconds);
    }
    return wrong();
}

Result<OrderWindow> to_window(const OrderOptions& options, std::uint64_t now_s) {
    OrderWindow out;
    out.earliest_s = now_s - std::min(now_s, kClockSkewSeconds);
    if (!options.start.empty()) {
        TRY_ASSIGN(out.earliest_s, parse_moment(options.start, now_s));
    } else if (options.order_class == "reserved") {
        return fail(ErrorCode::missing_field, "--class reserved needs --start");
    }
    out.begins_s = std::max(now_s, out.earliest_s);
    out.deadline_s = out.begins_s + options.hours * 3600;
    if (!options.until.empty()) {
        TRY_ASSIGN(out.deadline_s, parse_moment(options.until, now_s));
    }
    if (out.deadline_s <= out.begins_s)
        return fail(ErrorCode::invalid_window, "--until must lie after --start, in the future");
    return out;
}

Result<ledger::eth::OrderClass> to_order_class(const OrderOptions& options) {
    std::string name = options.order_class;
    std::replace(name.begin(), name.end(), '-', '_');
    return ledger::eth::parse_order_class(name);
}

Result<domain::Constraints> to_constraints(const OrderOptions& options, const OrderWindow& window) {
    domain::Constraints out;
    out.gpu_models = options.gpu_models;
    out.min_gpu_count = options.min_gpu_count;
    out.min_vram_mib = options.min_vram_mib;
    out.regions = options.regions;
    out.runtimes = options.runtimes;
    TRY_ASSIGN(out.providers, parse_addresses(options.providers, "--provider"));
    TRY_ASSIGN(out.exclude_providers,
               parse_addresses(options.exclude_providers, "--exclude-provider"));
    out.interconnects = options.interconnects;
    out.min_ram_mib = options.min_ram_mib;
    out.min_disk_mib = options.min_disk_mib;
    out.min_cpu_cores = options.min_cpu_cores;
    out.min_bandwidth_mbps = options.min_bandwidth_mbps;
    out.min_gflop_per_s = options.min_gflop_per_s;
    out.min_memory_mb_per_s = options.min_memory_mb_per_s;
    out.min_reliability_bp = options.min_reliability * 100;
    out.min_reclaim_window_s = options.min_reclaim_s;
    for (std::uint8_t i = 0; i < domain::kNumericClassCount; ++i)
        if (options.numeric_class == to_string(static_cast<domain::NumericClass>(i)))
            out.numeric_class = static_cast<domain::NumericClass>(i);
    if (options.gang == 0) return fail(ErrorCode::invalid_quantity, "--gang must be 1 or more");
    out.gang = options.gang;
    out.min_slice_units = options.min_slice;
    out.max_duration_s = options.max_minutes * 60;
    if (options.batch) out.clearing = domain::Clearing::kBatch;
    if (options.ramp_from.empty() != (options.ramp_minutes == 0))
        return fail(ErrorCode::missing_field, "a ramp needs --ramp-from and --ramp-minutes");
    if (!options.ramp_from.empty()) {
        TRY_ASSIGN(out.ramp_from_atoms, parse_amount(options.ramp_from, "--ramp-from"));
        out.ramp_start_s = window.begins_s;
        out.ramp_end_s = window.begins_s + options.ramp_minutes * 60;
    }
    return out;
}

Hash32 random_hash() {
    const auto bytes = ledger::crypto::random_bytes(Hash32::kSize);
    Hash32 out;
    std::copy(bytes.begin(), bytes.end(), out.data());
    return out;
}

std::uint64_t worst_case_atoms(const std::vector<BidTerms>& bids) {
    std::uint64_t total = 0;
    for (const BidTerms& bid : bids) {
        const auto amount = ledger::eth::amount_for(bid.unit_kind, bid.volume_units / bid.gang,
                                                    bid.price_ceiling_atoms);
        total += bid.gang * std::min(amount.value_or(bid.max_amount_atoms), bid.max_amount_atoms);
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
    TRY_ASSIGN(const OrderWindow window, to_window(options, now_s));
    TRY_ASSIGN(const domain::Constraints constraints, to_constraints(options, window));
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
        leg.bid.earliest_s = window.earliest_s;
        leg.bid.deadline_s = window.deadline_s;
        leg.bid.expiry_s = window.deadline_s;
        leg.bid.volume_units = terms.volume_units;
        leg.bid.matcher = facts->operator_address;
        leg.bid.salt = random_hash();
        leg.signature = key->sign(ledger::eth::digest(where, leg.bid));
        body.command.legs.push_back(std::move(leg));
    }
    TRY_ASSIGN(const ledger::eth::Delegation delegation,
               make_delegation(context, key->address(), worst_case_atoms(bids), window.deadline_s));
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
    if (!out.matches) out.why = mismatch_text(out.document);
    return out;
}

void print_quote(Context& context, const QuoteAnswer& quote, std::uint64_t worst_case) {
    if (context.json()) return;
    const json& document = quote.document;
    if (!quote.matches) {
        context.messages.line("No ask fits now: " + quote.why);
        if (context.settings.explain)
            for (const std::string& line : explain_mismatches(document.value("reasons", json())))
                context.messages.line(line);
    } else {
        Table table({{"ask"},
                     {"price", Table::Align::kRight},
                     {"units", Table::Align::kRight},
                     {"cost", Table::Align::kRight}});
        for (const json& leg : document.value("legs", json::array()))
            table.row({leg.value("ask", "").substr(0, 12),
                       tokens(ledger::rpc::u64_text_at(leg, "price").value_or(0)),
                       leg.value("max_units", ""),
                       tokens(ledger::rpc::u64_text_at(leg, "locked").value_or(0))});
        table.print(context.messages);
        context.messages.line("Total now   " +
                              tokens(ledger::rpc::u64_text_at(document, "total").value_or(0)));
    }
    const auto candidates = ledger::rpc::integer_at(document, "candidates").value_or(0);
    context.messages.line(fmt::format("Candidates  {}", candidates));
    context.messages.line("Starts      " + start_text(document));
    context.messages.line("Never above " + tokens(worst_case));
}

Result<BidTerms> training_terms(const OrderOptions& options, const Ceiling& ceiling,
                                std::uint64_t steps) {
    BidTerms terms;
    terms.gang = std::max<std::uint64_t>(options.gang, 1);
    terms.volume_units = steps * terms.gang;
    TRY_ASSIGN(terms.order_class, to_order_class(options));
    if (ceiling.max_price.empty() && ceiling.max_amount.empty())
        return fail(ErrorCode::missing_field,
                    "say what it may cost: --max-amount TOKENS for all, or --max-price TOKENS per "
                    "step");
    if (!ceiling.max_price.empty()) {
        TRY_ASSIGN(terms.price_ceiling_atoms, parse_amount(ceiling.max_price, "--max-price"));
    }
    if (!ceiling.max_amount.empty()) {
        TRY_ASSIGN(const std::uint64_t total, parse_amount(ceiling.max_amount, "--max-amount"));
        terms.max_amount_atoms = total / terms.gang;
    }
    if (terms.price_ceiling_atoms == 0) {
        terms.price_ceiling_atoms = terms.max_amount_atoms / steps;
        if (terms.price_ceiling_atoms == 0)
            return fail(ErrorCode::invalid_price,
                        fmt::format("--max-amount is less than an atom per step for {} steps",
                                    terms.volume_units));
    }
    if (terms.max_amount_atoms == 0) {
        TRY_ASSIGN(terms.max_amount_atoms,
                   ledger::eth::amount_for(terms.unit_kind, steps, terms.price_ceiling_atoms));
    }
    return terms;
}

Result<std::string> post_job(Context& context, const wire::PostJobBody& job) {
    TRY_ASSIGN(const json body, ledger::rpc::parse_json(wire::post_job_json(job)));
    TRY_ASSIGN(const json answer, context.market().post("/v1/jobs", body, Auth::kSession));
    return ledger::rpc::string_at(answer, "id");
}

}  // namespace marketplace::cli
