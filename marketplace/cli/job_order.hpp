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
    std::uint64_t max_amount_atoms = 0;
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
    std::uint64_t hours = 24;  ///< until the bid's deadline, when its leases end
};
void add_order_options(CLI::App& command, OrderOptions& options);
[[nodiscard]] Result<domain::Constraints> to_constraints(const OrderOptions& options);

/// The job with its bids signed, and the delegation that lets the market's delegate sign vouchers
/// (and nothing else) for what these bids may cost. Opens the wallet's key.
[[nodiscard]] Result<wire::PostJobBody> sign_job(Context& context, std::string spec,
                                                 const std::vector<BidTerms>& bids,
                                                 const OrderOptions& options);

/// Most that all bids together may cost.
[[nodiscard]] std::uint64_t worst_case_atoms(const std::vector<BidTerms>& bids);

/// What the market would do with it now.
struct QuoteAnswer {
    bool matches = false;
    std::uint64_t locked_atoms = 0;
    nlohmann::json document;
    std::string why;  ///< for people, when nothing matches
};
[[nodiscard]] Result<QuoteAnswer> ask_quote(Context& context, const wire::PostJobBody& job);
/// Candidates, total and worst case; nothing with --json.
void print_quote(Context& context, const QuoteAnswer& quote, std::uint64_t worst_case);

/// Posts the job; gives its id.
[[nodiscard]] Result<std::string> post_job(Context& context, const wire::PostJobBody& job);

}  // namespace marketplace::cli
