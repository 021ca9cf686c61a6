// SPDX-License-Identifier: Apache-2.0
#include "marketplace/app/chain_commands.hpp"

#include "ledger/base/hex.hpp"

#include <spdlog/spdlog.h>

#include <deque>
#include <string>
#include <utility>
#include <variant>

namespace marketplace::app {
namespace {

namespace settlement = ledger::settlement;

/// Name of a contract's error without its arguments: it goes into the public log.
std::string error_name(ledger::base::ByteView reason) {
    const std::string text = settlement::explain_revert(reason);
    return text.substr(0, text.find('('));
}

class Translator {
 public:
    Translator(const engine::Engine& engine, const std::set<domain::Hash32>& own_opens)
        : engine_(engine), own_opens_(own_opens) {}

    void take(const settlement::ChainEvent& event) {
        if (event.transaction_hash != transaction_) closed_.clear();
        transaction_ = event.transaction_hash;
        index_ = static_cast<std::uint32_t>(event.log_index);
        std::visit([this](const auto& value) { on(value); }, event.event);
    }
    [[nodiscard]] std::vector<domain::Command> commands() && { return std::move(out_); }

 private:
    void on(const settlement::LeasesEvent& event) {
        std::visit([this](const auto& value) { on(value); }, event);
    }
    void on(const settlement::EscrowEvent& event) {
        std::visit([this](const auto& value) { on(value); }, event);
    }

    void on(const settlement::LeaseOpened& event) {
        if (is_foreign(event.lease))
            out_.push_back(
                domain::EscrowWithdrawn{event.buyer, event.locked_atoms, transaction_, index_});
        else
            out_.push_back(domain::LeaseOpened{event.lease, event.locked_atoms, transaction_});
    }
    /// A cancelled order ends before the lease that the chain refused it: afterwards the job would
    /// look for another ask, and others would be tried under the ask.
    void on(const settlement::ItemFailed& event) {
        if (!own_opens_.contains(transaction_)) return;
        spdlog::warn("the chain refused lease {}: {}", ledger::base::to_hex(event.lease),
                     settlement::explain_revert(event.reason));
        const domain::Lease* lease = engine_.find_lease(event.lease);
        const auto cancelled = settlement::cancelled_order(event.reason);
        if (lease != nullptr && cancelled == lease->ask_hash)
            out_.push_back(domain::CancelAsk{lease->ask_hash, lease->provider});
        if (lease != nullptr && cancelled == lease->bid_hash)
            out_.push_back(domain::CancelJob{lease->job, lease->buyer});
        out_.push_back(domain::LeaseOpenFailed{event.lease, error_name(event.reason)});
    }
    void on(const settlement::Claimed& event) {
        out_.push_back(domain::ClaimConfirmed{event.lease, event.sequence,
                                              event.cumulative_amount_atoms, event.paid_atoms,
                                              event.fee_atoms, transaction_});
    }
    // Settlement answers them; see lone_claim_changes.
    void on(const settlement::ClaimedAlone&) {}
    void on(const settlement::Objected&) {}
    void on(const settlement::CloseRequested& event) {
        out_.push_back(domain::LeaseCloseRequested{event.lease, transaction_});
    }
    void on(const settlement::LeaseClosed& event) {
        if (event.refunded_atoms != 0) closed_.push_back(event);
        out_.push_back(domain::LeaseCloseConfirmed{event.lease, event.paid_atoms,
                                                   event.refunded_atoms, transaction_});
    }
    /// Each close with a refund unlocks it once, in the same order.
    void on(const settlement::Unlocked& event) {
        if (closed_.empty()) return;
        const settlement::LeaseClosed closed = closed_.front();
        closed_.pop_front();
        if (is_foreign(closed.lease))
            out_.push_back(
                domain::EscrowDeposited{event.account, event.amount_atoms, transaction_, index_});
    }
    /// As if the owner had cancelled here. A job at work goes on: the chain leaves its leases
    /// alone, and refuses the next one.
    void on(const settlement::OrderCancelled& event) {
        const engine::Job* job = engine_.find_job_of_bid(event.order);
        if (job == nullptr)
            out_.push_back(domain::CancelAsk{event.order, event.by});
        else if (job->state == domain::JobState::kOpen)
            out_.push_back(domain::CancelJob{job->id, event.by});
    }
    void on(const settlement::Deposited& event) {
        out_.push_back(
            domain::EscrowDeposited{event.account, event.amount_atoms, transaction_, index_});
    }
    void on(const settlement::WithdrawRequested& event) {
        out_.push_back(
            domain::EscrowWithdrawn{event.account, event.amount_atoms, transaction_, index_});
    }
    void on(const settlement::WithdrawCancelled& event) {
        out_.push_back(
            domain::EscrowDeposited{event.account, event.amount_atoms, transaction_, index_});
    }
    // The leases' own events tell these, or they move no free money.
    void on(const settlement::Locked&) {}
    void on(const settlement::Credited&) {}
    void on(const settlement::Withdrawn&) {}
    void on(const settlement::Swept&) {}
    void on(const settlement::Anchored&) {}

    [[nodiscard]] bool is_foreign(const domain::Hash32& id) const {
        const domain::Lease* lease = engine_.find_lease(id);
        return lease == nullptr || lease->state == domain::LeaseState::kOpenFailed;
    }

    const engine::Engine& engine_;
    const std::set<domain::Hash32>& own_opens_;
    std::vector<domain::Command> out_;
    domain::Hash32 transaction_;
    std::uint32_t index_ = 0;
    std::deque<settlement::LeaseClosed> closed_;  // of this transaction, not yet unlocked
};

}  // namespace

std::vector<domain::Command> commands_of(const settlement::WatchBatch& batch,
                                         const engine::Engine& engine,
                                         const std::set<domain::Hash32>& own_opens) {
    Translator translator(engine, own_opens);
    for (const settlement::ChainEvent& event : batch.events)
        translator.take(event);
    return std::move(translator).commands();
}

std::set<domain::Hash32> transactions_with_failures(const settlement::WatchBatch& batch) {
    std::set<domain::Hash32> out;
    for (const settlement::ChainEvent& event : batch.events) {
        const auto* of_leases = std::get_if<settlement::LeasesEvent>(&event.event);
        if (of_leases != nullptr && std::holds_alternative<settlement::ItemFailed>(*of_leases))
            out.insert(event.transaction_hash);
    }
    return out;
}

std::vector<storage::LoneClaimChange> lone_claim_changes(const settlement::WatchBatch& batch,
                                                         const engine::Engine& engine) {
    std::vector<storage::LoneClaimChange> out;
    for (const settlement::ChainEvent& event : batch.events) {
        const auto* of_leases = std::get_if<settlement::LeasesEvent>(&event.event);
        if (of_leases == nullptr) continue;
        if (const auto* came = std::get_if<settlement::ClaimedAlone>(of_leases)) {
            if (engine.find_lease(came->lease) != nullptr) out.push_back({came->lease, *came});
        } else if (const auto* objected = std::get_if<settlement::Objected>(of_leases)) {
            out.push_back({objected->lease, std::nullopt});
        } else if (const auto* closed = std::get_if<settlement::LeaseClosed>(of_leases)) {
            out.push_back({closed->lease, std::nullopt});
        }
    }
    return out;
}

}  // namespace marketplace::app
