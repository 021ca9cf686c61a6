// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "marketplace/cli/context.hpp"
#include "marketplace/domain/resource.hpp"
#include "marketplace/wire/order_json.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace marketplace::cli {

/// What one bid of a job offers.
struct BidTerms {
    ledger::eth::UnitKind unit_kind = ledger::eth::UnitKind::kTrainingStep;
    std::uint64_t price_ceiling_atoms = 0;  ///< per scale
    std::uint64_t volume_units = 0;
    std::uint64_t max_amount_atoms = 0;  ///< per lease
    std::uint64_t gang = 1;              ///< leases at a time; the volume is that of all
    ledger::eth::OrderClass order_class = ledger::eth::OrderClass::kOnDemand;
};

/// Options that every posted job has.
struct OrderOptions {
    std::vector<std::string> gpu_models;
    std::uint32_t min_gpu_count = 1;
    std::uint64_t min_vram_mib = 0;
    std::vector<std::string> regions;
    std::vector<std::string> runtimes;
    std::vector<std::string> providers;
    std::vector<std::string> exclude_providers;
    std::vector<std::string> interconnects;
    std::uint64_t min_ram_mib = 0;
    std::uint64_t min_disk_mib = 0;
    std::uint32_t min_cpu_cores = 0;
    std::uint32_t min_bandwidth_mbps = 0;
    std::uint32_t min_gflop_per_s = 0;
    std::uint32_t min_memory_mb_per_s = 0;
    std::uint32_t min_reliability = 0;  ///< percent
    std::uint32_t min_reclaim_s = 0;
    std::string numeric_class = "any";
    std::uint64_t hours = 24;  ///< until the bid's deadline, when its leases end
    // Training only.
    std::string order_class = "on-demand";
    std::string start;  ///< see parse_moment; empty: now
    std::string until;  ///< empty: after `hours`
    std::uint16_t gang = 1;
    std::uint64_t min_slice = 0;  ///< steps
    std::uint64_t max_minutes = 0;
    std::string ramp_from;  ///< tokens per step
    std::uint64_t ramp_minutes = 0;
    bool batch = false;
};
void add_order_options(CLI::App& command, OrderOptions& options);
/// Gangs, slices, classes, windows, ramps and batches.
void add_training_options(CLI::App& command, OrderOptions& options);

/// When a job may begin and must end, in unix seconds.
struct OrderWindow {
    std::uint64_t earliest_s = 0;  ///< clocks differ: a little before `begins_s`, or the same
    std::uint64_t begins_s = 0;
    std::uint64_t deadline_s = 0;
};
/// "2027-01-31T08:00Z" (seconds may follow), or "+90m", "+12h", "+3d" from now.
[[nodiscard]] Result<std::uint64_t> parse_moment(const std::string& text, std::uint64_t now_s);
[[nodiscard]] Result<OrderWindow> to_window(const OrderOptions& options, std::uint64_t now_s);
[[nodiscard]] Result<ledger::eth::OrderClass> to_order_class(const OrderOptions& options);
/// The document's content. invalid_field and invalid_window name the option that is wrong.
[[nodiscard]] Result<domain::Constraints> to_constraints(const OrderOptions& options,
                                                         const OrderWindow& window);

/// What a training may cost, in tokens as written by the buyer; one of them may be empty.
struct Ceiling {
    std::string max_price;   ///< --max-price, per step
    std::string max_amount;  ///< --max-amount, for the whole job; of a gang each gets its share
};
/// Price ceiling and lock of `steps` training steps; of the two each follows from the other.
[[nodiscard]] Result<BidTerms> training_terms(const OrderOptions& options, const Ceiling& ceiling,
                                              std::uint64_t steps);

/// The job with its bids signed, and the delegation that lets the market's delegate sign vouchers
/// (and nothing else) for what these bids may cost. Opens the wallet's key.
[[nodiscard]] Result<wire::PostJobBody> sign_job(Context& context, std::string spec,
                                                 const std::vector<BidTerms>& bids,
                                                 const OrderOptions& options);

/// For salts: nobody guesses it, and no two are the same.
[[nodiscard]] Hash32 random_hash();

/// Most that all bids together may cost.
[[nodiscard]] std::uint64_t worst_case_atoms(const std::vector<BidTerms>& bids);

/// What the market would do with it now.
struct QuoteAnswer {
    bool matches = false;
    nlohmann::json document;
    std::string why;  ///< for people, when nothing matches
};
[[nodiscard]] Result<QuoteAnswer> ask_quote(Context& context, const wire::PostJobBody& job);
/// Candidates, total, worst case and start; nothing with --json.
void print_quote(Context& context, const QuoteAnswer& quote, std::uint64_t worst_case);

/// Posts the job; gives its id.
[[nodiscard]] Result<std::string> post_job(Context& context, const wire::PostJobBody& job);

}  // namespace marketplace::cli
