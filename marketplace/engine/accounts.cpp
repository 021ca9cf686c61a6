// SPDX-License-Identifier: Apache-2.0
#include "ledger/base/check.hpp"
#include "marketplace/engine/impl.hpp"
#include "marketplace/engine/reasons.hpp"

#include <algorithm>

/// Workers come and go, money moves in and out of escrow.
namespace marketplace::engine {

Result<void> Engine::Impl::on(const domain::WorkerConnected& command) {
    if (command.worker.is_zero() || command.provider.is_zero())
        return fail(ErrorCode::invalid_field, "worker");
    const auto [it, is_new] = workers_.try_emplace(command.worker);
    WorkerState& worker = it->second;
    if (is_new) {
        worker_order_.push_back(command.worker);
        refresh_calendar(command.worker);
    }
    if (worker.connected && worker.provider == command.provider) return {};
    worker.connected = true;
    worker.provider = command.provider;
    emit(domain::WorkerChanged{command.worker, command.provider, true});
    refresh_worker(command.worker);
    touch_worker(command.worker);
    return {};
}

Result<void> Engine::Impl::on(const domain::WorkerLost& command) {
    const auto it = workers_.find(command.worker);
    if (it == workers_.end() || !it->second.connected) return {};
    it->second.connected = false;
    refresh_worker(command.worker);
    emit(domain::WorkerChanged{command.worker, it->second.provider, false});
    const std::set<Index> leases = it->second.leases;
    for (const Index lease : leases)  // of a serving job the first takes the other with it
        if (is_active(leases_[lease].lease))
            leave(lease, {reason::kWorkerLost, CloseReason::kWorkerLost, /*back_off_ms=*/0});
    return {};
}

Result<void> Engine::Impl::on(const domain::EscrowDeposited& command) {
    if (seen_escrow_.contains({command.transaction, command.log_index, true})) return {};
    if (command.amount_atoms == 0) return fail(ErrorCode::invalid_quantity, "amount");
    if (command.amount_atoms >> 62U != 0) return fail(ErrorCode::out_of_range, "amount");
    const ledger::base::Money amount(static_cast<std::int64_t>(command.amount_atoms));
    TRY(books_.deposit(command.account, amount, cause(command.transaction)));
    seen_escrow_.insert({command.transaction, command.log_index, true});
    money_came(command.account);
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

/// Free money of an account grew: its bids that lacked some are tried again.
void Engine::Impl::money_came(const Address& account) {
    settle_shortfall(account);
    report_balance(account);
    const auto it = short_of_money_.find(account);
    if (it == short_of_money_.end()) return;
    for (const Index job : it->second) {
        jobs_[job].lacks_money = false;
        make_ready(jobs_[job]);
    }
    short_of_money_.erase(it);
}

void Engine::Impl::report_balance(const Address& account) {
    emit(domain::BalanceChanged{account, books_.available(account).atoms(),
                                books_.held(account).atoms(), books_.credit(account).atoms()});
}

ledger::books::Cause Engine::Impl::cause(const Hash32& reference) const {
    return {now_ms_, reference};
}

Result<void> Engine::Impl::on(const domain::Tick& /*command*/) {
    return {};
}

}  // namespace marketplace::engine
