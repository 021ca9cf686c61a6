// SPDX-License-Identifier: Apache-2.0
#include "ledger/base/limits.hpp"
#include "marketplace/engine/impl.hpp"

#include <algorithm>

/// What an order must look like, whatever the market's state.
namespace marketplace::engine {
namespace {

namespace limits = ledger::base::limits;
using domain::JobKind;
using ledger::eth::OrderClass;
using ledger::eth::UnitKind;

/// Seconds that still fit the engine's milliseconds.
constexpr std::uint64_t kMaxTimeS = UINT64_MAX / 2000;

Result<void> check_text(const std::string& text, std::string_view field) {
    if (text.empty() || text.size() > kTextBytes)
        return fail(ErrorCode::out_of_range, std::string(field) + ": 1 to 64 bytes");
    return {};
}

Result<void> check_list_size(std::size_t size, std::string_view field) {
    if (size > limits::kListItems)
        return fail(ErrorCode::out_of_range, std::string(field) + ": at most 64 entries");
    return {};
}

Result<void> check_texts(const std::vector<std::string>& texts, std::string_view field) {
    TRY(check_list_size(texts.size(), field));
    for (const std::string& text : texts)
        TRY(check_text(text, field));
    return {};
}

/// An allow list and a deny list: bounded, and nobody on both.
Result<void> check_parties(const std::vector<Address>& only, const std::vector<Address>& none,
                           std::string_view field) {
    TRY(check_list_size(only.size(), field));
    TRY(check_list_size(none.size(), field));
    for (const Address& party : only)
        if (std::find(none.begin(), none.end(), party) != none.end())
            return fail(ErrorCode::invalid_field,
                        std::string(field) + ": one account is allowed and excluded");
    return {};
}

Result<void> check_price(std::uint64_t price_atoms, std::string_view field) {
    if (price_atoms == 0 || price_atoms > limits::kMaxPriceAtoms)
        return fail(ErrorCode::invalid_price, std::string(field));
    return {};
}

Result<void> check_units(std::uint64_t units, std::string_view field) {
    if (units == 0 || units > limits::kMaxUnits)
        return fail(ErrorCode::invalid_quantity, std::string(field));
    return {};
}

Result<void> check_time(std::uint64_t at_s, std::string_view field) {
    if (at_s > kMaxTimeS) return fail(ErrorCode::invalid_window, std::string(field));
    return {};
}

Result<void> check_demands(const domain::Constraints& constraints) {
    TRY(check_texts(constraints.gpu_models, "gpu_models"));
    TRY(check_texts(constraints.regions, "regions"));
    TRY(check_texts(constraints.runtimes, "runtimes"));
    TRY(check_texts(constraints.interconnects, "interconnects"));
    TRY(check_parties(constraints.providers, constraints.exclude_providers, "providers"));
    if (constraints.min_reliability_bp > 10'000)
        return fail(ErrorCode::out_of_range, "min_reliability_bp: 0 to 10000");
    if (constraints.max_duration_s > limits::kMaxDurationS)
        return fail(ErrorCode::out_of_range, "max_duration: at most 366 days");
    return {};
}

Result<void> check_gang_and_slice(const domain::JobTerms& terms, const domain::BidLeg& leg) {
    const domain::Constraints& wants = leg.constraints;
    if (wants.gang == 0 || wants.gang > limits::kGangSize)
        return fail(ErrorCode::invalid_quantity, "gang: 1 to 64");
    if (terms.kind == JobKind::kServe) {
        if (wants.gang != 1 || wants.min_slice_units != 0)
            return fail(ErrorCode::unsupported, "serving: no gang, no slices");
        return {};
    }
    if (leg.bid.volume_units / wants.gang < terms.total_units)
        return fail(ErrorCode::invalid_quantity, "volume below the job's units, once per member");
    if (wants.min_slice_units == 0) return {};
    if (wants.gang != 1) return fail(ErrorCode::unsupported, "a gang has no slices");
    if (wants.min_slice_units > terms.total_units)
        return fail(ErrorCode::invalid_quantity, "min_slice above the job's units");
    if (terms.total_units / wants.min_slice_units > limits::kSlicesPerJob)
        return fail(ErrorCode::job_limit, "min_slice: at most 1000 slices");
    return {};
}

/// Ramp, batch and reservation: what goes together.
Result<void> check_clearing(JobKind kind, const domain::BidLeg& leg) {
    const domain::Constraints& wants = leg.constraints;
    const bool serves = kind == JobKind::kServe;
    const bool ramps = wants.ramp_from_atoms != 0;
    if (serves && leg.bid.order_class == OrderClass::kReserved)
        return fail(ErrorCode::unsupported, "serving cannot be reserved");
    if (ramps && wants.ramp_from_atoms >= leg.bid.price_ceiling_atoms)
        return fail(ErrorCode::invalid_price, "ramp: starts below the ceiling");
    if (ramps ? wants.ramp_start_s >= wants.ramp_end_s
              : (wants.ramp_start_s | wants.ramp_end_s) != 0)
        return fail(ErrorCode::invalid_window, "ramp: start before end, with a starting price");
    TRY(check_time(wants.ramp_end_s, "ramp"));
    if (serves && ramps) return fail(ErrorCode::unsupported, "serving: no ramp");
    if (wants.clearing == domain::Clearing::kBatch && (serves || ramps || wants.gang != 1))
        return fail(ErrorCode::unsupported, "batch: no gang, no ramp, no serving");
    return {};
}

Result<void> check_terms(const domain::PostJob& command) {
    const domain::JobTerms& terms = command.terms;
    if (command.legs.size() != (terms.kind == JobKind::kTrain ? 1U : 2U))
        return fail(ErrorCode::invalid_field, "legs: one for training, two for serving");
    if (terms.kind == JobKind::kServe) {
        if (terms.total_units != 0 || terms.segment_units != 0 || terms.flops_per_step != 0 ||
            terms.may_end_early)
            return fail(ErrorCode::invalid_field, "terms: serving has no steps");
        return {};
    }
    if (terms.total_units == 0) return fail(ErrorCode::invalid_quantity, "units");
    const bool is_time = command.legs.front().bid.unit_kind == UnitKind::kGpuMs;
    if (terms.total_units > (is_time ? limits::kMaxUnits : limits::kMaxTrainingSteps))
        return fail(ErrorCode::job_limit, "steps: at most 10000000");
    if (terms.segment_units == 0 || terms.segment_units > terms.total_units)
        return fail(ErrorCode::invalid_quantity, "segment_steps: 1 to steps");
    return {};
}

Result<void> check_unit_kinds(const domain::PostJob& command) {
    const UnitKind first = command.legs.front().bid.unit_kind;
    const UnitKind last = command.legs.back().bid.unit_kind;
    if (command.terms.kind == JobKind::kTrain) {
        if (first == UnitKind::kTrainingStep || first == UnitKind::kGpuMs) return {};
        return fail(ErrorCode::invalid_field, "unit_kind: training_step or gpu_ms");
    }
    if (first != UnitKind::kInputToken || last != UnitKind::kOutputToken)
        return fail(ErrorCode::invalid_field, "unit_kind: input_token, then output_token");
    return {};
}

}  // namespace

Result<void> Engine::Impl::check_shape(const domain::PostAsk& command) const {
    const auto& ask = command.ask;
    const domain::Resource& resource = command.resource;
    TRY(check_price(ask.price_atoms, "price"));
    TRY(check_units(ask.max_units, "max_units"));
    TRY(check_units(ask.volume_units, "volume"));
    if (ask.min_units > ask.max_units || ask.min_units > ask.volume_units)
        return fail(ErrorCode::invalid_quantity, "min_units above max_units or volume");
    if (ask.earliest_s >= ask.expiry_s) return fail(ErrorCode::invalid_window, "earliest, expiry");
    TRY(check_time(ask.expiry_s, "expiry"));
    if (ask.provider.is_zero()) return fail(ErrorCode::invalid_field, "provider");
    if (!ask.matcher.is_zero() && ask.matcher != config_.operator_address)
        return fail(ErrorCode::invalid_field, "matcher: zero or this market's operator");
    TRY(check_text(resource.gpu_model, "gpu_model"));
    TRY(check_text(resource.region, "region"));
    TRY(check_text(resource.runtime, "runtime"));
    if (resource.interconnect.size() > kTextBytes)
        return fail(ErrorCode::out_of_range, "interconnect: at most 64 bytes");
    TRY(check_parties(resource.buyers, resource.exclude_buyers, "buyers"));
    if (resource.max_gang == 0) return fail(ErrorCode::out_of_range, "max_gang: at least 1");
    if (resource.numeric_classes >> (domain::kNumericClassCount - 1U) != 0)
        return fail(ErrorCode::out_of_range, "numeric_classes");
    if (resource.worker.is_zero()) return fail(ErrorCode::invalid_field, "worker");
    return {};
}

Result<void> Engine::Impl::check_leg(const domain::PostJob& command,
                                     const domain::BidLeg& leg) const {
    const auto& bid = leg.bid;
    TRY(check_price(bid.price_ceiling_atoms, "price_ceiling"));
    TRY(check_units(bid.volume_units, "volume"));
    if (bid.max_amount_atoms == 0 || bid.max_amount_atoms >> 62U != 0)
        return fail(ErrorCode::invalid_quantity, "max_amount");
    if (bid.earliest_s >= bid.deadline_s || bid.earliest_s >= bid.expiry_s)
        return fail(ErrorCode::invalid_window, "earliest, deadline, expiry");
    TRY(check_time(std::max(bid.deadline_s, bid.expiry_s), "deadline, expiry"));
    if (bid.buyer.is_zero() || bid.buyer != command.legs.front().bid.buyer)
        return fail(ErrorCode::invalid_field, "buyer");
    if (!bid.matcher.is_zero() && bid.matcher != config_.operator_address)
        return fail(ErrorCode::invalid_field, "matcher: zero or this market's operator");
    TRY(check_demands(leg.constraints));
    TRY(check_gang_and_slice(command.terms, leg));
    return check_clearing(command.terms.kind, leg);
}

Result<void> Engine::Impl::check_delegation(const domain::PostJob& command) const {
    if (!command.delegation) return {};
    const auto& delegation = *command.delegation;
    if (delegation.owner != command.legs.front().bid.buyer)
        return fail(ErrorCode::invalid_field, "delegation.owner");
    if (delegation.delegate.is_zero()) return fail(ErrorCode::invalid_field, "delegation.delegate");
    if (delegation.scope == 0 || delegation.scope > ledger::eth::kScopeAll)
        return fail(ErrorCode::invalid_field, "delegation.scope");
    return {};
}

Result<void> Engine::Impl::check_shape(const domain::PostJob& command) const {
    TRY(check_terms(command));
    for (const domain::BidLeg& leg : command.legs)
        TRY(check_leg(command, leg));
    TRY(check_unit_kinds(command));
    return check_delegation(command);
}

}  // namespace marketplace::engine
