// SPDX-License-Identifier: Apache-2.0
#include "ledger/base/hex.hpp"
#include "ledger/settlement/batch.hpp"
#include "ledger/settlement/claim_policy.hpp"
#include "ledger/settlement/leases_abi.hpp"
#include "marketplace/app/reconciliation.hpp"
#include "marketplace/app/settlement_loop.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <tuple>

/// What the engine wants of the contract Leases, in batches: opens, objections, claims and closes.
namespace marketplace::app {
namespace {

namespace settlement = ledger::settlement;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

constexpr std::size_t kOpensPerBatch = 20;
constexpr std::size_t kClaimsPerBatch = 50;
constexpr std::size_t kClaimsLookedAt = 100'000;
constexpr std::size_t kClosesPerBatch = 20;
constexpr domain::TimeMs kSetAsideMs = 60'000;

settlement::LeaseKey key_of(const domain::Lease& lease) {
    return {lease.ask_hash, lease.bid_hash, lease.index};
}

domain::Bytes to_bytes(const domain::Signature& signature) {
    return {signature.begin(), signature.end()};
}

}  // namespace

template <typename Call>
Result<void> SettlementLoop::submit_batch(const std::string& kind, const std::vector<Call>& calls,
                                          const std::vector<Item>& items,
                                          domain::Bytes (*encode)(const std::vector<Call>&)) {
    const auto fit =
        settlement::submit_fitting(items.size(), [&](const settlement::Positions& chosen) {
            return submit(kind, deps_.deployment.leases, encode(settlement::pick(calls, chosen)),
                          settlement::pick(items, chosen));
        });
    if (!fit && fit.error().code() != ErrorCode::queue_full)
        return tl::make_unexpected(fit.error());
    if (!fit) return {};
    std::erase_if(set_aside_until_,
                  [now = deps_.clock.now_ms()](const auto& entry) { return entry.second <= now; });
    for (const Item& item : settlement::pick(items, fit->set_aside)) {
        spdlog::warn("{} of lease {} cannot be sent now", kind, ledger::base::to_hex(item.lease));
        set_aside_until_[item] = deps_.clock.now_ms() + kSetAsideMs;
    }
    return {};
}

bool SettlementLoop::is_bound(const Item& item) const {
    const auto aside = set_aside_until_.find(item);
    if (aside != set_aside_until_.end() && deps_.clock.now_ms() < aside->second) return true;
    return bound_.contains(item);
}

Result<void> SettlementLoop::open_leases() {
    if (misses_witness()) return fail(ErrorCode::unavailable, "the witness signs no heads");
    struct Wanted {
        settlement::OpenItem open;
        domain::Hash32 lease;
        domain::Hash32 ask_hash;
    };
    const auto collect = [this](const engine::Engine& engine) {
        std::vector<Wanted> out;
        for (const domain::Hash32& id : engine.leases_to_open(10 * kOpensPerBatch)) {
            if (out.size() == kOpensPerBatch) break;
            if (is_bound({"open", id, 0})) continue;
            const domain::Lease* lease = engine.find_lease(id);
            const engine::AskEntry* ask = engine.find_ask(lease->ask_hash);
            const engine::Job* job = engine.find_job(lease->job);
            if (ask == nullptr || job == nullptr) continue;
            const domain::BidLeg& leg = job->legs.at(lease->leg);
            Wanted wanted;
            wanted.lease = id;
            wanted.ask_hash = lease->ask_hash;
            wanted.open.ask = ask->ask;
            wanted.open.ask_signature = to_bytes(ask->signature);
            wanted.open.bid = leg.bid;
            wanted.open.bid_signature = to_bytes(leg.signature);
            if (job->delegation) {
                wanted.open.delegation = *job->delegation;
                wanted.open.delegation_signature = to_bytes(job->delegation_signature);
            }
            wanted.open.price_atoms = lease->price_atoms;
            wanted.open.max_units = lease->max_units;
            wanted.open.worker_key = lease->worker;
            wanted.open.index = lease->index;
            out.push_back(std::move(wanted));
        }
        return out;
    };
    // bound_ is this thread's; the engine thread reads it while this one waits.
    TRY_ASSIGN(std::vector<Wanted> wanted, deps_.engine.ask(collect));
    if (wanted.empty()) return {};
    // Neighbours under one ask share it.
    std::stable_sort(wanted.begin(), wanted.end(),
                     [](const Wanted& a, const Wanted& b) { return a.ask_hash < b.ask_hash; });
    std::vector<settlement::OpenItem> opens;
    std::vector<Item> items;
    for (const Wanted& w : wanted) {
        opens.push_back(w.open);
        items.push_back({"open", w.lease, 0});
    }
    return submit_batch("open", opens, items, settlement::encode_open);
}

/// With the price of gas of this moment, where the operator said what the chain's coin is worth.
Result<settlement::ClaimPolicy> SettlementLoop::claim_policy() {
    settlement::ClaimPolicy policy;
    policy.least_atoms = deps_.config.claim_at_atoms;
    policy.age_max_ms = deps_.deployment.withdraw_delay_s * 1000 / 2;
    if (deps_.config.atoms_per_coin == 0) return policy;
    TRY_ASSIGN(const ledger::rpc::FeeSuggestion fees, deps_.chain.suggest_fees());
    policy.least_atoms = settlement::worthwhile_atoms(
        fees.base_fee_per_gas + fees.max_priority_fee_per_gas, deps_.config.atoms_per_coin);
    return policy;
}

Result<void> SettlementLoop::object_to_lone_claims() {
    struct Wanted {
        settlement::ObjectionItem objection;
        Item item;
    };
    const auto collect = [this](const engine::Engine& engine) {
        std::vector<Wanted> out;
        const std::uint64_t now_s = head_time_s();
        for (const auto& [id, claim] : lone_claims_) {
            if (out.size() == kClosesPerBatch) break;
            // Until then the worker may hand in the receipts it claims by.
            const bool is_due = now_s + deps_.deployment.close_window_s / 2 >= claim.payable_at_s;
            const Item item{"objection", id, claim.payable_at_s};
            if (!is_due || now_s >= claim.payable_at_s || is_bound(item)) continue;
            const domain::Lease* lease = engine.find_lease(id);
            if (lease == nullptr || lease->amount_atoms >= claim.amount_atoms) continue;
            Wanted wanted;
            wanted.objection.parties = parties_of(*lease);
            wanted.objection.objection = {id, claim.receipt};
            wanted.item = item;
            out.push_back(std::move(wanted));
        }
        return out;
    };
    if (lone_claims_.empty()) return {};
    TRY_ASSIGN(std::vector<Wanted> wanted, deps_.engine.ask(collect));
    std::vector<settlement::ObjectionItem> objections;
    std::vector<Item> items;
    for (Wanted& w : wanted) {
        const auto signature =
            deps_.signer.sign_objection(w.objection.parties.voucher_signer,
                                        deps_.deployment.leases_domain(), w.objection.objection);
        if (!signature && signature.error().code() == ErrorCode::unavailable)
            return tl::make_unexpected(signature.error());
        if (!signature) {
            spdlog::warn("the worker of lease {} claims alone, and its buyer must answer: {}",
                         ledger::base::to_hex(w.item.lease), signature.error().message());
            set_aside_until_[w.item] = deps_.clock.now_ms() + kSetAsideMs;
            continue;
        }
        w.objection.signature = to_bytes(*signature);
        objections.push_back(std::move(w.objection));
        items.push_back(w.item);
    }
    if (objections.empty()) return {};
    return submit_batch("objection", objections, items, settlement::encode_object_to);
}

Result<void> SettlementLoop::claim_vouchers() {
    struct Wanted {
        settlement::ClaimItem claim;
        Item item;
    };
    TRY_ASSIGN(const settlement::ClaimPolicy policy, claim_policy());
    std::map<domain::Hash32, domain::TimeMs> since;
    const auto collect = [this, &policy, &since](const engine::Engine& engine) {
        std::vector<Wanted> out;
        const domain::TimeMs now = deps_.clock.now_ms();
        for (const domain::Hash32& id : engine.leases_to_claim(kClaimsLookedAt)) {
            const domain::Lease* lease = engine.find_lease(id);
            const auto voucher = engine.best_voucher(id);
            if (lease == nullptr || !voucher) continue;
            const Item item{"claim", id, voucher->voucher.sequence};
            if (is_bound(item)) continue;
            const auto known = unclaimed_since_.find(id);
            const domain::TimeMs first = known != unclaimed_since_.end() ? known->second
                                         : lease->claimed_atoms == 0     ? lease->matched_ms
                                                                         : now;
            since[id] = first;
            // A closing lease is claimed at once: its close waits for it.
            if (lease->state < domain::LeaseState::kClosing &&
                !policy.is_due(lease->voucher_amount_atoms - lease->claimed_atoms, now - first))
                continue;
            if (out.size() == kClaimsPerBatch) continue;
            Wanted wanted;
            wanted.claim.voucher = voucher->voucher;
            if (voucher->voucher.cumulative_units == lease->max_units)
                wanted.claim.key = key_of(*lease);
            wanted.claim.parties = parties_of(*lease);
            wanted.claim.buyer_signature = to_bytes(voucher->buyer_signature);
            wanted.claim.worker_signature = to_bytes(voucher->worker_signature);
            wanted.item = item;
            out.push_back(std::move(wanted));
        }
        return out;
    };
    TRY_ASSIGN(std::vector<Wanted> wanted, deps_.engine.ask(collect));
    unclaimed_since_ = std::move(since);
    if (wanted.empty()) return {};
    // Neighbours of one provider and worker share them.
    std::stable_sort(wanted.begin(), wanted.end(), [](const Wanted& a, const Wanted& b) {
        const settlement::Parties& left = a.claim.parties;
        const settlement::Parties& right = b.claim.parties;
        return std::tie(left.provider, left.worker_key) <
               std::tie(right.provider, right.worker_key);
    });
    std::vector<settlement::ClaimItem> claims;
    std::vector<Item> items;
    for (const Wanted& w : wanted) {
        claims.push_back(w.claim);
        items.push_back(w.item);
    }
    return submit_batch("claim", claims, items, settlement::encode_claim);
}

Result<void> SettlementLoop::close_leases() {
    const auto collect = [](const engine::Engine& engine) {
        std::vector<domain::Lease> out;
        for (const domain::Hash32& id : engine.leases_to_close(1000))
            out.push_back(*engine.find_lease(id));
        return out;
    };
    TRY_ASSIGN(const std::vector<domain::Lease> leases, deps_.engine.ask(collect));
    std::vector<settlement::CloseItem> requests;
    std::vector<settlement::FinalItem> finals;
    std::vector<Item> request_items;
    std::vector<Item> final_items;
    std::map<domain::Hash32, std::uint64_t> final_at_s;
    for (const domain::Lease& lease : leases) {
        const Item request{"close", lease.id, 0};
        const settlement::LeaseKey key = key_of(lease);
        if (!is_bound(request)) {
            if (requests.size() == kClosesPerBatch) continue;
            const auto reason = static_cast<settlement::CloseReason>(lease.close_reason);
            requests.push_back({key, parties_of(lease), reason});
            request_items.push_back(request);
        } else if (finished_.contains(request)) {
            TRY_ASSIGN(const std::uint64_t at_s, final_at(lease.id));
            final_at_s[lease.id] = at_s;
            const Item finalize{"finalize", lease.id, at_s};
            if (at_s == 0 || head_time_s() < at_s || is_bound(finalize)) continue;
            if (finals.size() == kClosesPerBatch) continue;
            finals.push_back({key, parties_of(lease)});
            final_items.push_back(finalize);
        }
    }
    final_at_s_ = std::move(final_at_s);
    if (!requests.empty()) {
        TRY(submit_batch("close", requests, request_items, settlement::encode_request_close));
    }
    if (finals.empty()) return {};
    return submit_batch("finalize", finals, final_items, settlement::encode_finalize_close);
}

/// The chain's clock says when a close window is over; 0: it knows of no request. A claim by the
/// worker alone moves it, also one that came when the end was on its way, which then was refused.
Result<std::uint64_t> SettlementLoop::final_at(const domain::Hash32& lease) {
    const auto known = final_at_s_.find(lease);
    std::uint64_t at_s = known == final_at_s_.end() ? 0 : known->second;
    if (at_s == 0 || finished_.contains({"finalize", lease, at_s})) {
        TRY_ASSIGN(at_s, settlement::read_final_at(deps_.chain, deps_.deployment.leases, lease,
                                                   ledger::rpc::BlockTag::Name::kLatest));
    }
    const auto lone = lone_claims_.find(lease);
    if (at_s == 0 || lone == lone_claims_.end()) return at_s;
    return std::max(at_s, lone->second.payable_at_s);
}

}  // namespace marketplace::app
