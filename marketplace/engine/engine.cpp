// SPDX-License-Identifier: Apache-2.0
#include "marketplace/engine/engine.hpp"

#include "ledger/base/sha256.hpp"
#include "marketplace/domain/codec.hpp"
#include "marketplace/engine/impl.hpp"

#include <set>
#include <variant>

namespace marketplace::engine {

Result<std::vector<domain::Event>> Engine::Impl::apply(const domain::Command& command,
                                                       const domain::MessageHashes& hashes,
                                                       TimeMs now_ms) {
    if (now_ms < last_ms_) return fail(ErrorCode::clock_backwards);
    now_ms_ = now_ms;
    hashes_ = hashes.all();
    events_.clear();
    TRY(std::visit([this](const auto& alternative) { return on(alternative); }, command));
    work_off_timers();
    run_round();
    if (events_.empty()) return std::vector<domain::Event>{};
    last_ms_ = now_ms;
    scratch_.clear();
    domain::Writer writer(scratch_);
    writer(state_hash_, now_ms);
    domain::encode(scratch_, command);
    for (const domain::Event& event : events_)
        domain::encode(scratch_, event);
    state_hash_ = ledger::base::sha256(scratch_);
    return std::move(events_);
}

Engine::Engine(EngineConfig config) : impl_(std::make_unique<Impl>(std::move(config))) {}
Engine::~Engine() = default;
Engine::Engine(Engine&&) noexcept = default;
Engine& Engine::operator=(Engine&&) noexcept = default;

Result<std::vector<domain::Event>> Engine::apply(const domain::Command& command, TimeMs now_ms) {
    return impl_->apply(command, domain::MessageHashes(command), now_ms);
}

Result<std::vector<domain::Event>> Engine::apply(const domain::Command& command,
                                                 const domain::MessageHashes& hashes,
                                                 TimeMs now_ms) {
    return impl_->apply(command, hashes, now_ms);
}

Result<Engine::Quote> Engine::quote(const domain::PostJob& job, TimeMs now_ms) const {
    return impl_->quote(job, now_ms);
}

domain::Mismatches Engine::reasons(const domain::JobId& job, TimeMs now_ms) const {
    const auto it = impl_->job_by_id_.find(job);
    if (it == impl_->job_by_id_.end()) return {};
    const JobRecordState& state = impl_->jobs_[it->second];
    if (state.job.state != JobState::kOpen) return {};
    return impl_->reasons(state.job, &state, now_ms);
}

Hash32 Engine::state_hash() const {
    return impl_->state_hash_;
}

TimeMs Engine::last_time_ms() const {
    return impl_->last_ms_;
}

const Job* Engine::find_job(const domain::JobId& id) const {
    const auto it = impl_->job_by_id_.find(id);
    return it == impl_->job_by_id_.end() ? nullptr : &impl_->jobs_[it->second].job;
}

const Job* Engine::find_job_of_bid(const Hash32& bid) const {
    const auto it = impl_->job_by_bid_.find(bid);
    return it == impl_->job_by_bid_.end() ? nullptr : &impl_->jobs_[it->second].job;
}

const Lease* Engine::find_lease(const Hash32& id) const {
    const auto it = impl_->lease_by_id_.find(id);
    return it == impl_->lease_by_id_.end() ? nullptr : &impl_->leases_[it->second].lease;
}

const AskEntry* Engine::find_ask(const Hash32& id) const {
    const auto it = impl_->ask_by_id_.find(id);
    return it == impl_->ask_by_id_.end() ? nullptr : &impl_->asks_[it->second].entry;
}

Balance Engine::balance(const Address& account) const {
    const auto& books = impl_->books_;
    const auto overdrawn = impl_->shortfall_.find(account);
    return {books.available(account).atoms(), books.held(account).atoms(),
            books.credit(account).atoms(),
            overdrawn == impl_->shortfall_.end() ? 0 : overdrawn->second};
}

void Engine::for_each_account(
    const std::function<void(const Address&, const Balance&)>& visit) const {
    std::set<Address> owners;
    for (const auto& [account, balance] : impl_->books_.accounts())
        if (!account.owner.is_zero()) owners.insert(account.owner);
    for (const auto& [account, atoms] : impl_->shortfall_)
        owners.insert(account);
    for (const Address& owner : owners)
        visit(owner, balance(owner));
}

void Engine::for_each_job(const std::function<bool(const Job&)>& visit) const {
    for (const auto& state : impl_->jobs_)
        if (!visit(state.job)) return;
}

void Engine::for_each_lease(const std::function<bool(const Lease&)>& visit) const {
    for (const auto& record : impl_->leases_)
        if (!visit(record.lease)) return;
}

void Engine::for_each_ask(const std::function<bool(const AskEntry&)>& visit) const {
    for (const auto& state : impl_->asks_)
        if (!visit(state.entry)) return;
}

std::vector<Address> Engine::connected_workers() const {
    std::vector<Address> out;
    for (const Address& worker : impl_->worker_order_)
        if (impl_->workers_.at(worker).connected) out.push_back(worker);
    return out;
}

std::uint32_t Engine::reliability_bp(const Address& worker) const {
    const auto it = impl_->workers_.find(worker);
    return it == impl_->workers_.end() ? 10'000 : reliability_of(it->second);
}

namespace {
template <typename Leases>
std::vector<Hash32> ids_of(const Leases& leases, const std::set<Index>& queue, std::size_t limit) {
    std::vector<Hash32> out;
    for (const Index index : queue) {
        if (out.size() >= limit) break;
        out.push_back(leases[index].lease.id);
    }
    return out;
}
}  // namespace

std::vector<Hash32> Engine::leases_to_open(std::size_t limit) const {
    return impl_->leases_to_open(limit);
}

std::vector<Hash32> Engine::leases_to_claim(std::size_t limit) const {
    return ids_of(impl_->leases_, impl_->to_claim_, limit);
}

std::vector<Hash32> Engine::leases_to_close(std::size_t limit) const {
    return ids_of(impl_->leases_, impl_->to_close_, limit);
}

std::optional<domain::RecordVoucher> Engine::best_voucher(const Hash32& lease) const {
    const auto it = impl_->lease_by_id_.find(lease);
    return it == impl_->lease_by_id_.end() ? std::nullopt : impl_->leases_[it->second].voucher;
}

std::optional<std::string> Engine::find_violation() const {
    return impl_->find_violation();
}

}  // namespace marketplace::engine
