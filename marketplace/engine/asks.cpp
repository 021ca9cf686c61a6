// SPDX-License-Identifier: Apache-2.0
#include "ledger/base/hex.hpp"
#include "ledger/base/limits.hpp"
#include "marketplace/engine/impl.hpp"
#include "marketplace/engine/reasons.hpp"

namespace marketplace::engine {
namespace {

namespace limits = ledger::base::limits;

Result<void> check_open(const AskState& state) {
    if (state.entry.open) return {};
    return fail(
        state.close_reason == reason::kExpired ? ErrorCode::expired : ErrorCode::already_cancelled,
        "ask");
}

}  // namespace

Result<void> Engine::Impl::check_limits(const domain::PostAsk& command,
                                        const AskState* instead_of) const {
    const auto count = [](const auto& map, const Address& key, auto size_of) {
        const auto it = map.find(key);
        return it == map.end() ? std::size_t{0} : static_cast<std::size_t>(size_of(it->second));
    };
    std::size_t of_provider =
        count(open_orders_, command.ask.provider, [](std::uint32_t open) { return open; });
    std::size_t of_worker = count(asks_of_worker_, command.resource.worker,
                                  [](const std::vector<Index>& asks) { return asks.size(); });
    if (instead_of != nullptr && instead_of->entry.open) {
        if (instead_of->entry.ask.provider == command.ask.provider) --of_provider;
        if (instead_of->entry.resource.worker == command.resource.worker) --of_worker;
    }
    if (of_provider >= limits::kOpenOrdersPerAccount)
        return fail(ErrorCode::rate_limited, "at most 10000 open orders per account");
    if (of_worker >= limits::kOpenAsksPerWorker)
        return fail(ErrorCode::rate_limited, "at most 64 open asks per worker");
    if (!book_.can_add(command.resource))
        return fail(ErrorCode::out_of_range, "the resource: a quantity, or too many new names");
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
    TRY(check_limits(command, instead_of));
    return true;
}

void Engine::Impl::add_ask(const domain::PostAsk& command, const Hash32& id) {
    ++open_orders_[command.ask.provider];
    const auto index = static_cast<Index>(asks_.size());
    AskState& state = asks_.emplace_back();
    state.entry = {id, command.ask, command.signature, command.resource, 0, true, now_ms_};
    state.open_at = open_asks_.size();
    ask_by_id_.emplace(id, index);
    open_asks_.push_back(index);
    asks_of_worker_[command.resource.worker].push_back(index);
    book_.add(index, command.ask, command.resource, book_state(index));
    add_timer(command.ask.expiry_s * 1000, TimerKind::kAskExpires, index);
    if (command.ask.earliest_s > now_ms_ / 1000)
        add_timer(command.ask.earliest_s * 1000, TimerKind::kAskOpens, index);
    emit(domain::AskAccepted{id});
    touch_ask(index);
}

Result<void> Engine::Impl::on(const domain::PostAsk& command) {
    const Hash32& id = hashes_.front();
    TRY_ASSIGN(const bool is_new, check_new(command, nullptr, id));
    if (is_new) add_ask(command, id);
    return {};
}

Result<void> Engine::Impl::on(const domain::AmendAsk& command) {
    const auto it = ask_by_id_.find(command.old_ask);
    if (it == ask_by_id_.end()) return fail(ErrorCode::not_found, "ask");
    const AskState& old = asks_[it->second];
    const Hash32& id = hashes_.front();
    TRY_ASSIGN(const bool is_new, check_new(command.replacement, &old, id));
    if (old.entry.ask.provider != command.replacement.ask.provider)
        return fail(ErrorCode::forbidden, "ask");
    if (!is_new && old.close_reason == reason::kAmended) return {};  // the first answer again
    TRY(check_open(old));
    if (!is_new) return fail(ErrorCode::replayed_order, ledger::base::to_hex(id));
    close_ask(it->second, reason::kAmended);
    add_ask(command.replacement, id);
    return {};
}

Result<void> Engine::Impl::on(const domain::CancelAsk& command) {
    const auto it = ask_by_id_.find(command.ask);
    if (it == ask_by_id_.end()) return fail(ErrorCode::not_found, "ask");
    const AskState& state = asks_[it->second];
    if (state.entry.ask.provider != command.by) return fail(ErrorCode::forbidden, "ask");
    TRY(check_open(state));
    close_ask(it->second, reason::kCancelled);
    return {};
}

void Engine::Impl::close_ask(Index ask, std::string_view reason) {
    AskState& state = asks_[ask];
    state.entry.open = false;
    state.close_reason = reason;
    open_asks_[state.open_at] = open_asks_.back();
    asks_[open_asks_.back()].open_at = state.open_at;
    open_asks_.pop_back();
    book_.remove(ask);
    touched_.erase(ask);
    const auto of_worker = asks_of_worker_.find(state.entry.resource.worker);
    std::erase(of_worker->second, ask);
    if (of_worker->second.empty()) asks_of_worker_.erase(of_worker);
    --open_orders_[state.entry.ask.provider];
    emit(domain::AskClosed{state.entry.id, std::string(reason)});
}

}  // namespace marketplace::engine
