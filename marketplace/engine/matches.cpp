// SPDX-License-Identifier: Apache-2.0
#include "ledger/base/check.hpp"
#include "marketplace/engine/impl.hpp"

namespace marketplace::engine {

void Engine::Impl::take_room(const Fill& fill, const Job& job, const matching::Window& window) {
    AskEntry& entry = asks_[fill.ask].entry;
    entry.units_out += fill.units;
    refresh_ask(fill.ask);
    if (!matching::is_exclusive(job.terms)) return;
    workers_.at(entry.resource.worker).calendar.hold(window.from, window.until);
    refresh_calendar(entry.resource.worker);
}

void Engine::Impl::give_room(const Fill& fill, const Job& job, const matching::Window& window) {
    AskEntry& entry = asks_[fill.ask].entry;
    entry.units_out -= fill.units;
    refresh_ask(fill.ask);
    if (!matching::is_exclusive(job.terms)) return;
    workers_.at(entry.resource.worker).calendar.release(window.from, window.until);
    refresh_calendar(entry.resource.worker);
}

matching::AskState Engine::Impl::book_state(Index ask) const {
    const matching::Offer offer = offer_of(ask);
    return {offer.free_units, offer.reliability_bp, offer.worker_present};
}

void Engine::Impl::refresh_ask(Index ask) {
    book_.update(ask, book_state(ask));
}

void Engine::Impl::refresh_calendar(const Address& worker) {
    book_.set_calendar(worker, &workers_.at(worker).calendar, now_ms_);
}

void Engine::Impl::refresh_worker(const Address& worker) {
    const auto it = asks_of_worker_.find(worker);
    if (it == asks_of_worker_.end()) return;
    for (const Index ask : it->second)
        refresh_ask(ask);
}

void Engine::Impl::match(JobRecordState& state, const Plan& planned) {
    state.team.clear();
    for (std::size_t i = 0; i < planned.size(); ++i)
        make_lease(state, state.job.legs.size() == 1 ? 0 : i, planned[i]);
    set_job_state(state, JobState::kMatched, {});
    report_balance(state.job.buyer);
}

void Engine::Impl::make_lease(JobRecordState& state, std::size_t leg, const Fill& fill) {
    Job& job = state.job;
    const AskEntry& ask = asks_[fill.ask].entry;
    const auto index = static_cast<Index>(leases_.size());
    LeaseRecord& record = leases_.emplace_back();
    record.job = state.index;
    record.ask = fill.ask;
    Lease& lease = record.lease;
    lease.job = job.id;
    lease.leg = static_cast<std::uint8_t>(leg);
    lease.ask_hash = ask.id;
    lease.bid_hash = job.bid_hashes[leg];
    for (const Index other : state.leases)
        if (leases_[other].ask == fill.ask && leases_[other].lease.leg == leg) ++lease.index;
    lease.id = domain::lease_id(lease.ask_hash, lease.bid_hash, lease.index);
    lease.buyer = job.buyer;
    lease.provider = ask.ask.provider;
    const bool delegated =
        job.delegation && (job.delegation->scope & ledger::eth::kScopeVouchers) != 0;
    lease.voucher_signer = delegated ? job.delegation->delegate : job.buyer;
    lease.worker = ask.resource.worker;
    lease.unit_kind = ask.ask.unit_kind;
    lease.price_atoms = fill.price_atoms;
    lease.max_units = fill.units;
    lease.locked_atoms = fill.locked_atoms;
    lease.start_units = job.units_done;
    lease.start_checkpoint = job.checkpoint;
    lease.receipts_root = record.tree.root();
    lease.matched_ms = lease.changed_ms = now_ms_;
    const Demand demand(job, &state, leg, now_ms_, PriceAt::kNow);
    const matching::Window window = matching::work_window(demand.want);
    lease.starts_ms = window.from;
    lease.ends_ms = window.until;
    record.has_begun = window.from <= now_ms_;
    if (!record.has_begun) add_timer(window.from, TimerKind::kLeaseBegins, index);
    if (window.until < demand.want.bid.deadline_s * 1000)
        add_timer(window.until, TimerKind::kLeaseEnds, index);
    take_room(fill, job, window);
    asks_[fill.ask].chain_units += fill.units;
    const ledger::base::Money amount(static_cast<std::int64_t>(fill.locked_atoms));
    MR_CHECK(books_.reserve(lease.id, job.buyer, amount, cause(lease.id)).has_value());
    lease_by_id_.emplace(lease.id, index);
    job.leases.push_back(lease.id);
    state.leases.push_back(index);
    state.team.push_back(index);
    update_queues(index);
    emit(domain::Matched{lease.id, job.id, lease.ask_hash, lease.bid_hash, lease.index,
                         lease.price_atoms, lease.max_units, lease.locked_atoms});
}

}  // namespace marketplace::engine
