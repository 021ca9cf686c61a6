// SPDX-License-Identifier: Apache-2.0
#include "ledger/base/check.hpp"
#include "ledger/base/hex.hpp"
#include "ledger/base/limits.hpp"
#include "ledger/base/sha256.hpp"
#include "marketplace/engine/impl.hpp"

#include <algorithm>

namespace marketplace::engine {
namespace {

namespace limits = ledger::base::limits;
using domain::JobKind;
using ledger::eth::UnitKind;

Result<void> check_text(const std::string& text, std::string_view field) {
    if (text.empty() || text.size() > kTextBytes)
        return fail(ErrorCode::out_of_range, std::string(field) + ": 1 to 64 bytes");
    return {};
}

Result<void> check_texts(const std::vector<std::string>& texts, std::string_view field) {
    if (texts.size() > kListItems)
        return fail(ErrorCode::out_of_range, std::string(field) + ": at most 64 entries");
    for (const std::string& text : texts)
        TRY(check_text(text, field));
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

Result<void> check_constraints(const domain::Constraints& constraints) {
    TRY(check_texts(constraints.gpu_models, "gpu_models"));
    TRY(check_texts(constraints.regions, "regions"));
    TRY(check_texts(constraints.runtimes, "runtimes"));
    if (constraints.providers.size() > kListItems ||
        constraints.exclude_providers.size() > kListItems)
        return fail(ErrorCode::out_of_range, "providers: at most 64 entries");
    return {};
}

Result<void> check_terms(const domain::JobTerms& terms, std::size_t legs) {
    if (legs != (terms.kind == JobKind::kTrain ? 1U : 2U))
        return fail(ErrorCode::invalid_field, "legs: one for training, two for serving");
    if (terms.kind == JobKind::kServe) {
        if (terms.total_units != 0 || terms.segment_units != 0 || terms.flops_per_step != 0)
            return fail(ErrorCode::invalid_field, "terms: serving has no steps");
        return {};
    }
    if (terms.total_units == 0) return fail(ErrorCode::invalid_quantity, "steps");
    if (terms.total_units > limits::kMaxTrainingSteps)
        return fail(ErrorCode::job_limit, "steps: at most 10000000");
    if (terms.segment_units == 0 || terms.segment_units > terms.total_units)
        return fail(ErrorCode::invalid_quantity, "segment_steps: 1 to steps");
    return {};
}

Hash32 body_hash(const domain::PostJob& command) {
    domain::Bytes bytes;
    domain::encode(bytes, domain::Command(command));
    return ledger::base::sha256(bytes);
}

/// The most a leg can ever lock.
Result<std::uint64_t> worst_case_atoms(const domain::JobTerms& terms, const ledger::eth::Bid& bid) {
    const std::uint64_t units =
        terms.kind == JobKind::kTrain ? terms.total_units : bid.volume_units;
    const auto amount = ledger::eth::amount_for(bid.unit_kind, units, bid.price_ceiling_atoms);
    return amount ? std::min(*amount, bid.max_amount_atoms) : bid.max_amount_atoms;
}

}  // namespace

// Asks ------------------------------------------------------------------------------------------

Result<void> Engine::Impl::check_shape(const domain::PostAsk& command) const {
    const auto& ask = command.ask;
    TRY(check_price(ask.price_atoms, "price"));
    TRY(check_units(ask.max_units, "max_units"));
    TRY(check_units(ask.volume_units, "volume"));
    if (ask.min_units > ask.max_units || ask.min_units > ask.volume_units)
        return fail(ErrorCode::invalid_quantity, "min_units above max_units or volume");
    if (ask.earliest_s >= ask.expiry_s) return fail(ErrorCode::invalid_window, "earliest, expiry");
    if (ask.provider.is_zero()) return fail(ErrorCode::invalid_field, "provider");
    if (!ask.matcher.is_zero() && ask.matcher != config_.operator_address)
        return fail(ErrorCode::invalid_field, "matcher: zero or this market's operator");
    TRY(check_text(command.resource.gpu_model, "gpu_model"));
    TRY(check_text(command.resource.region, "region"));
    TRY(check_text(command.resource.runtime, "runtime"));
    if (command.resource.worker.is_zero()) return fail(ErrorCode::invalid_field, "worker");
    return {};
}

Result<void> Engine::Impl::check_open_orders(const Address& account, bool one_leaves) const {
    const auto open = open_orders_.find(account);
    const std::size_t others =
        open == open_orders_.end() ? 0 : open->second - (one_leaves ? 1U : 0U);
    if (others >= limits::kOpenOrdersPerAccount)
        return fail(ErrorCode::rate_limited, "at most 10000 open orders per account");
    return {};
}

Result<bool> Engine::Impl::check_new(const domain::PostAsk& command, const AskState* instead_of,
                                     const Hash32& id) const {
    TRY(check_shape(command));
    if (const auto it = ask_by_id_.find(id); it != ask_by_id_.end()) {
        const AskEntry& known = asks_[it->second].entry;
        if (known.resource != command.resource)
            return fail(ErrorCode::exists_with_different_body, "resource");
        if (!known.open) return fail(ErrorCode::replayed_order, ledger::base::to_hex(id));
        return false;
    }
    if (command.ask.expiry_s <= now_ms_ / 1000) return fail(ErrorCode::expired, "ask");
    TRY(check_open_orders(command.ask.provider, instead_of != nullptr));
    return true;
}

void Engine::Impl::add_ask(const domain::PostAsk& command, const Hash32& id) {
    ++open_orders_[command.ask.provider];
    const auto index = static_cast<Index>(asks_.size());
    asks_.push_back({{id, command.ask, command.signature, command.resource, 0, true, now_ms_}, {}});
    ask_by_id_.emplace(id, index);
    open_asks_.insert(index);
    add_timer(command.ask.expiry_s * 1000, TimerKind::kAskExpires, index);
    if (command.ask.earliest_s > now_ms_ / 1000)
        add_timer(command.ask.earliest_s * 1000, TimerKind::kAskOpens, index);
    emit(domain::AskAccepted{id});
    rematch_ = true;
}

Result<void> Engine::Impl::on(const domain::PostAsk& command) {
    const Hash32 id = ledger::eth::struct_hash(command.ask);
    TRY_ASSIGN(const bool is_new, check_new(command, nullptr, id));
    if (is_new) add_ask(command, id);
    return {};
}

Result<void> Engine::Impl::on(const domain::AmendAsk& command) {
    const Hash32 id = ledger::eth::struct_hash(command.replacement.ask);
    const auto it = ask_by_id_.find(command.old_ask);
    if (it == ask_by_id_.end()) return fail(ErrorCode::not_found, "ask");
    if (id == command.old_ask)
        return fail(ErrorCode::invalid_field, "the replacement is the order");
    const AskState& old = asks_[it->second];
    if (old.entry.ask.provider != command.replacement.ask.provider)
        return fail(ErrorCode::forbidden, "ask");
    TRY_ASSIGN(const bool is_new, check_new(command.replacement, &old, id));
    if (!old.entry.open)
        return old.close_reason == "amended" && !is_new
                   ? Result<void>()  // the first answer again
                   : fail(ErrorCode::wrong_state, "the order is closed: " + old.close_reason);
    if (!is_new) return fail(ErrorCode::replayed_order, ledger::base::to_hex(id));
    close_ask(it->second, "amended");
    add_ask(command.replacement, id);
    return {};
}

Result<void> Engine::Impl::on(const domain::CancelAsk& command) {
    const auto it = ask_by_id_.find(command.ask);
    if (it == ask_by_id_.end()) return fail(ErrorCode::not_found, "ask");
    const AskState& state = asks_[it->second];
    if (state.entry.ask.provider != command.by) return fail(ErrorCode::forbidden, "ask");
    if (!state.entry.open)
        return fail(
            state.close_reason == "cancelled" ? ErrorCode::already_cancelled : ErrorCode::expired,
            "ask");
    close_ask(it->second, "cancelled");
    return {};
}

void Engine::Impl::close_ask(Index ask, std::string_view reason) {
    AskState& state = asks_[ask];
    state.entry.open = false;
    state.close_reason = reason;
    open_asks_.erase(ask);
    --open_orders_[state.entry.ask.provider];
    emit(domain::AskClosed{state.entry.id, std::string(reason)});
}

// Jobs ------------------------------------------------------------------------------------------

Result<void> Engine::Impl::check_leg(const domain::PostJob& command,
                                     const domain::BidLeg& leg) const {
    const auto& bid = leg.bid;
    TRY(check_price(bid.price_ceiling_atoms, "price_ceiling"));
    TRY(check_units(bid.volume_units, "volume"));
    if (bid.max_amount_atoms == 0 || bid.max_amount_atoms >> 62U != 0)
        return fail(ErrorCode::invalid_quantity, "max_amount");
    if (bid.volume_units < command.terms.total_units)
        return fail(ErrorCode::invalid_quantity, "volume below the job's steps");
    if (bid.earliest_s >= bid.deadline_s || bid.earliest_s >= bid.expiry_s)
        return fail(ErrorCode::invalid_window, "earliest, deadline, expiry");
    if (bid.buyer.is_zero() || bid.buyer != command.legs.front().bid.buyer)
        return fail(ErrorCode::invalid_field, "buyer");
    if (!bid.matcher.is_zero() && bid.matcher != config_.operator_address)
        return fail(ErrorCode::invalid_field, "matcher: zero or this market's operator");
    return check_constraints(leg.constraints);
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
    TRY(check_terms(command.terms, command.legs.size()));
    for (const domain::BidLeg& leg : command.legs)
        TRY(check_leg(command, leg));
    const bool train = command.terms.kind == JobKind::kTrain;
    const UnitKind first = command.legs.front().bid.unit_kind;
    const UnitKind last = command.legs.back().bid.unit_kind;
    if (train && first != UnitKind::kTrainingStep)
        return fail(ErrorCode::invalid_field, "unit_kind: training_step");
    if (!train && (first != UnitKind::kInputToken || last != UnitKind::kOutputToken))
        return fail(ErrorCode::invalid_field, "unit_kind: input_token, then output_token");
    return check_delegation(command);
}

Result<void> Engine::Impl::check_new_bids(const domain::PostJob& command,
                                          const JobRecordState* instead_of) const {
    std::uint64_t total = 0;
    for (const domain::BidLeg& leg : command.legs) {
        const Hash32 hash = ledger::eth::struct_hash(leg.bid);
        if (job_by_bid_.contains(hash))
            return fail(ErrorCode::replayed_order, ledger::base::to_hex(hash));
    }
    for (const domain::BidLeg& leg : command.legs) {
        if (std::min(leg.bid.expiry_s, leg.bid.deadline_s) <= now_ms_ / 1000)
            return fail(ErrorCode::expired, "bid");
        TRY_ASSIGN(const std::uint64_t amount, worst_case_atoms(command.terms, leg.bid));
        total += amount;  // two amounts below 2^62
    }
    if (command.delegation) {
        if (command.delegation->expiry_s <= now_ms_ / 1000)
            return fail(ErrorCode::expired, "delegation");
        if (total > command.delegation->spend_cap_atoms)
            return fail(ErrorCode::delegation_cap_exceeded, std::to_string(total) + " atoms");
    }
    const Address& buyer = command.legs.front().bid.buyer;
    TRY(check_open_orders(buyer, instead_of != nullptr));
    const auto available = static_cast<std::uint64_t>(books_.available(buyer).atoms());
    if (available < total)
        return fail(ErrorCode::insufficient_funds,
                    "the job may cost " +
                        ledger::base::Money(static_cast<std::int64_t>(total)).to_tokens() +
                        ", available is " + books_.available(buyer).to_tokens());
    return {};
}

Result<bool> Engine::Impl::check_new(const domain::PostJob& command,
                                     const JobRecordState* instead_of, const Hash32& body) const {
    TRY(check_shape(command));
    if (const auto it = job_by_id_.find(command.id); it != job_by_id_.end()) {
        if (jobs_[it->second].body != body)
            return fail(ErrorCode::exists_with_different_body, "job");
        return false;
    }
    TRY(check_new_bids(command, instead_of));
    return true;
}

void Engine::Impl::add_job(const domain::PostJob& command, const Hash32& body) {
    const auto index = static_cast<Index>(jobs_.size());
    JobRecordState& state = jobs_.emplace_back();
    state.index = index;
    state.body = body;
    Job& job = state.job;
    job.id = command.id;
    job.buyer = command.legs.front().bid.buyer;
    job.terms = command.terms;
    job.legs = command.legs;
    job.delegation = command.delegation;
    job.delegation_signature = command.delegation_signature;
    job.created_ms = job.changed_ms = now_ms_;
    job_by_id_.emplace(job.id, index);
    ++open_orders_[job.buyer];
    for (const domain::BidLeg& leg : job.legs) {
        const auto& bid = leg.bid;
        job.bid_hashes.push_back(ledger::eth::struct_hash(bid));
        job_by_bid_.emplace(job.bid_hashes.back(), index);
        add_timer(bid.expiry_s * 1000, TimerKind::kJobDue, index);
        add_timer(bid.deadline_s * 1000, TimerKind::kJobDue, index);
        if (bid.earliest_s > now_ms_ / 1000)
            add_timer(bid.earliest_s * 1000, TimerKind::kJobDue, index);
    }
    open_jobs_.insert(open_key(state));
    emit(domain::JobChanged{job.id, JobState::kOpen, 0, {}});
    try_match(state);
}

Result<void> Engine::Impl::on(const domain::PostJob& command) {
    const Hash32 body = body_hash(command);
    TRY_ASSIGN(const bool is_new, check_new(command, nullptr, body));
    if (is_new) add_job(command, body);
    return {};
}

Result<void> Engine::Impl::on(const domain::AmendJob& command) {
    const auto it = job_by_id_.find(command.old_job);
    if (it == job_by_id_.end()) return fail(ErrorCode::not_found, "job");
    if (command.replacement.id == command.old_job)
        return fail(ErrorCode::invalid_field, "the replacement needs a new id");
    JobRecordState& old = jobs_[it->second];
    if (command.replacement.legs.empty() ||
        command.replacement.legs.front().bid.buyer != old.job.buyer)
        return fail(ErrorCode::forbidden, "job");
    const Hash32 body = body_hash(command.replacement);
    TRY_ASSIGN(const bool is_new, check_new(command.replacement, &old, body));
    if (old.job.state != JobState::kOpen)
        return old.job.reason == "amended" && !is_new
                   ? Result<void>()  // the first answer again
                   : fail(ErrorCode::wrong_state,
                          "the job is " + std::string(to_string(old.job.state)));
    if (!is_new) return fail(ErrorCode::exists_with_different_body, "job");
    end_job(old, JobState::kCancelled, "amended", CloseReason::kBuyerCancelled);
    add_job(command.replacement, body);
    return {};
}

Result<void> Engine::Impl::on(const domain::CancelJob& command) {
    const auto it = job_by_id_.find(command.job);
    if (it == job_by_id_.end()) return fail(ErrorCode::not_found, "job");
    JobRecordState& state = jobs_[it->second];
    if (state.job.buyer != command.by) return fail(ErrorCode::forbidden, "job");
    if (state.job.state == JobState::kCancelled) return fail(ErrorCode::already_cancelled, "job");
    if (is_final(state.job.state))
        return fail(ErrorCode::wrong_state,
                    "the job is " + std::string(to_string(state.job.state)));
    end_job(state, JobState::kCancelled, "buyer_cancelled", CloseReason::kBuyerCancelled);
    return {};
}

void Engine::Impl::set_job_state(JobRecordState& state, JobState next, std::string_view reason) {
    Job& job = state.job;
    if (job.state == next && job.reason == reason) return;
    if (job.state == JobState::kOpen && next != JobState::kOpen) open_jobs_.erase(open_key(state));
    if (job.state != JobState::kOpen && next == JobState::kOpen) open_jobs_.insert(open_key(state));
    if (is_final(next)) --open_orders_[job.buyer];
    job.state = next;
    job.reason = reason;
    job.changed_ms = now_ms_;
    emit(domain::JobChanged{job.id, next, job.units_done, job.reason});
}

void Engine::Impl::end_job(JobRecordState& state, JobState next, std::string_view reason,
                           CloseReason close_reason) {
    for (const Hash32& id : state.job.leases) {
        const Index lease = lease_by_id_.at(id);
        if (is_active(leases_[lease].lease)) end_lease(lease, close_reason);
    }
    set_job_state(state, next, reason);
}

void Engine::Impl::update_job_from_leases(JobRecordState& state) {
    auto lowest = LeaseState::kRunning;
    std::size_t active = 0;
    for (const Hash32& id : state.job.leases) {
        const Lease& lease = leases_[lease_by_id_.at(id)].lease;
        if (!is_active(lease)) continue;
        ++active;
        lowest = std::min(lowest, lease.state);
    }
    if (active != state.job.legs.size()) return;
    const auto next = lowest == LeaseState::kMatched ? JobState::kMatched
                      : lowest == LeaseState::kOpen  ? JobState::kAssigned
                                                     : JobState::kRunning;
    set_job_state(state, next, {});
}

void Engine::Impl::fail_over(JobRecordState& state, const Failure& failure) {
    Job& job = state.job;
    for (const Hash32& id : job.leases) {
        const Index lease = lease_by_id_.at(id);
        if (is_active(leases_[lease].lease)) end_lease(lease, failure.close_reason);
    }
    if (failure.exclude_worker) job.excluded.push_back(*failure.exclude_worker);
    // All steps receipted before the worker went: the job is done.
    if (job.terms.kind == JobKind::kTrain && job.units_done == job.terms.total_units)
        return set_job_state(state, JobState::kCompleted, {});
    // A fault that two workers report alike lies in the job.
    const bool of_the_job = failure.code == "job_spec_invalid" || failure.code == "data_missing" ||
                            failure.code == "data_invalid";
    if (of_the_job && failure.code == state.last_code)
        return set_job_state(state, JobState::kFailed, failure.code);
    state.last_code = failure.code;
    ++job.attempts;
    if (job.attempts > config_.max_failovers)
        return set_job_state(state, JobState::kFailed, "attempts_used_up");
    if (failure.back_off_ms != 0) {
        state.not_before_ms = now_ms_ + failure.back_off_ms;
        add_timer(state.not_before_ms, TimerKind::kJobDue, state.index);
    }
    state.tell_why = true;
    set_job_state(state, JobState::kOpen, failure.code);
    rematch_ = true;
}

void Engine::Impl::expire_job_if_due(JobRecordState& state) {
    const std::uint64_t now_s = now_ms_ / 1000;
    for (const domain::BidLeg& leg : state.job.legs) {
        const bool too_late = leg.bid.deadline_s <= now_s ||
                              (state.job.state == JobState::kOpen && leg.bid.expiry_s <= now_s);
        if (!too_late) continue;
        return end_job(state, JobState::kExpired, "expired", CloseReason::kExpired);
    }
}

// Workers, money, time --------------------------------------------------------------------------

Result<void> Engine::Impl::on(const domain::WorkerConnected& command) {
    if (command.worker.is_zero() || command.provider.is_zero())
        return fail(ErrorCode::invalid_field, "worker");
    const auto [it, is_new] = workers_.try_emplace(command.worker);
    WorkerState& worker = it->second;
    if (is_new) worker_order_.push_back(command.worker);
    if (worker.connected && worker.provider == command.provider) return {};
    worker.connected = true;
    worker.provider = command.provider;
    emit(domain::WorkerChanged{command.worker, command.provider, true});
    rematch_ = true;
    return {};
}

Result<void> Engine::Impl::on(const domain::WorkerLost& command) {
    const auto it = workers_.find(command.worker);
    if (it == workers_.end() || !it->second.connected) return {};
    it->second.connected = false;
    emit(domain::WorkerChanged{command.worker, it->second.provider, false});
    std::set<Index> jobs;
    for (const Index lease : active_leases_) {
        const LeaseRecord& record = leases_[lease];
        if (record.lease.worker == command.worker) jobs.insert(record.job);
    }
    for (const Index job : jobs) {
        ++it->second.failed;
        fail_over(jobs_[job],
                  {"worker_lost", CloseReason::kWorkerLost, command.worker, /*back_off_ms=*/0});
    }
    return {};
}

Result<void> Engine::Impl::on(const domain::EscrowDeposited& command) {
    if (seen_escrow_.contains({command.transaction, command.log_index, true})) return {};
    if (command.amount_atoms == 0) return fail(ErrorCode::invalid_quantity, "amount");
    if (command.amount_atoms >> 62U != 0) return fail(ErrorCode::out_of_range, "amount");
    const ledger::base::Money amount(static_cast<std::int64_t>(command.amount_atoms));
    TRY(books_.deposit(command.account, amount, cause(command.transaction)));
    seen_escrow_.insert({command.transaction, command.log_index, true});
    settle_shortfall(command.account);
    report_balance(command.account);
    rematch_ = true;
    return {};
}

Result<void> Engine::Impl::on(const domain::EscrowWithdrawn& command) {
    if (seen_escrow_.contains({command.transaction, command.log_index, false})) return {};
    if (command.amount_atoms == 0) return fail(ErrorCode::invalid_quantity, "amount");
    if (command.amount_atoms >> 62U != 0) return fail(ErrorCode::out_of_range, "amount");
    seen_escrow_.insert({command.transaction, command.log_index, false});
    shortfall_[command.account] += command.amount_atoms;
    settle_shortfall(command.account);
    report_balance(command.account);
    return {};
}

void Engine::Impl::settle_shortfall(const Address& account) {
    const auto it = shortfall_.find(account);
    if (it == shortfall_.end()) return;
    const auto free = static_cast<std::uint64_t>(books_.available(account).atoms());
    const std::uint64_t part = std::min(free, it->second);
    if (part != 0) {
        const ledger::base::Money amount(static_cast<std::int64_t>(part));
        MR_CHECK(books_.withdraw(account, amount, cause({})).has_value());
    }
    it->second -= part;
    if (it->second == 0) shortfall_.erase(it);
}

void Engine::Impl::report_balance(const Address& account) {
    emit(domain::BalanceChanged{account, books_.available(account).atoms(),
                                books_.held(account).atoms(), books_.credit(account).atoms()});
}

ledger::books::Cause Engine::Impl::cause(const Hash32& reference) const {
    return {now_ms_, reference};
}

Result<void> Engine::Impl::on(const domain::Tick& /*command*/) {
    while (!timers_.empty() && std::get<0>(*timers_.begin()) <= now_ms_) {
        const auto [at_ms, kind, index] = *timers_.begin();
        timers_.erase(timers_.begin());
        switch (kind) {
            case TimerKind::kAskOpens:
                rematch_ = true;
                break;
            case TimerKind::kAskExpires:
                if (asks_[index].entry.open) close_ask(index, "expired");
                break;
            case TimerKind::kJobDue:
                on_job_due(jobs_[index]);
                break;
            case TimerKind::kVoucherDue:
                on_voucher_due(index);
                break;
        }
    }
    return {};
}

void Engine::Impl::on_job_due(JobRecordState& state) {
    if (is_final(state.job.state)) return;
    expire_job_if_due(state);
    if (state.job.state == JobState::kOpen) try_match(state);
}

}  // namespace marketplace::engine
