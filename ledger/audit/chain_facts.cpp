// SPDX-License-Identifier: Apache-2.0
#include "ledger/audit/chain_facts.hpp"

#include "ledger/base/checked.hpp"
#include "ledger/eth/abi.hpp"
#include "ledger/eth/messages.hpp"

#include <algorithm>
#include <string>
#include <unordered_set>
#include <utility>

namespace ledger::audit::detail {

using base::Address;
using base::Hash32;
using base::Result;
using eth::U256;
using namespace settlement;  // NOLINT: the events of the contracts

namespace {

constexpr std::uint64_t kFeeBpsMax = 500;
using Sums = std::map<Address, U256>;

/// What one transaction did: what the leases explain, what escrow wrote, which tokens moved.
struct TransactionSums {
    Sums credit_due, credit_done;
    Sums lock_due, lock_done;
    Sums unlock_due, unlock_done;
    U256 deposited, tokens_in;
    Sums paid_out, tokens_out;
    std::uint64_t token_moves = 0;
};

class Reader {
 public:
    Reader(rpc::Chain& chain, const Deployment& deployment, AuditReport& report)
        : chain_(chain), deployment_(deployment), report_(report), findings_(report) {}

    Result<ChainFacts> read(std::uint64_t to_block);

 private:
    Result<void> read_transfers(std::uint64_t to_block);
    Result<void> read_events(std::uint64_t to_block);
    Result<void> take(const rpc::LogEntry& entry);
    Result<void> on(const LeaseOpened& event, const rpc::LogEntry& entry);
    Result<void> on(const ItemFailed& event, const rpc::LogEntry& entry);
    Result<void> on(const Claimed& event, const rpc::LogEntry& entry);
    Result<void> on(const CloseRequested& event, const rpc::LogEntry& entry);
    Result<void> on(const LeaseClosed& event, const rpc::LogEntry& entry);
    Result<void> on(const OrderCancelled& event, const rpc::LogEntry& entry);
    void on_escrow(const EscrowEvent& event);
    void finish_transaction();
    void compare(FindingCode code, const char* what, const Sums& due, const Sums& done);
    Result<void> check_fees(const LeaseFacts& lease);
    Result<void> check_solvency(std::uint64_t to_block);
    Result<std::uint64_t> fee_bps_of(const LeaseFacts& lease);

    rpc::Chain& chain_;
    const Deployment& deployment_;
    AuditReport& report_;
    Findings findings_;
    ChainFacts facts_;
    std::unordered_map<Hash32, TransactionSums> sums_;  // of token transfers, then filled up
    std::unordered_set<Hash32> cancelled_;              // orders, up to the event being read
    Hash32 current_;                                    // transaction being read
    std::uint64_t to_block_ = 0;
};

Hash32 as_topic(const Address& address) {
    Hash32 topic;
    std::copy(address.begin(), address.end(), topic.data() + 12);
    return topic;
}

Result<ChainFacts> Reader::read(std::uint64_t to_block) {
    to_block_ = to_block;
    TRY_ASSIGN(report_.token_scale, read_scale(chain_, deployment_.escrow));
    if (report_.token_scale == 0 || report_.token_scale > U256(1) << 64)
        return base::fail(base::ErrorCode::chain_bad_answer, "the escrow's scale");
    TRY(read_transfers(to_block));
    TRY(read_events(to_block));
    for (const auto& [hash, sums] : sums_) {
        current_ = hash;  // tokens moved, but escrow wrote nothing
        finish_transaction();
    }
    for (const auto& [id, lease] : facts_.leases)
        TRY(check_fees(lease));
    TRY(check_solvency(to_block));
    report_.leases_checked = facts_.leases.size();
    return std::move(facts_);
}

Result<void> Reader::read_transfers(std::uint64_t to_block) {
    rpc::LogFilter filter;
    filter.from_block = deployment_.block;
    filter.to_block = to_block;
    filter.addresses = {deployment_.token};
    filter.topic0 = {eth::abi::event_topic("Transfer(address,address,uint256)")};
    const std::vector<Hash32> escrow = {as_topic(deployment_.escrow)};
    for (const bool incoming : {true, false}) {
        filter.topic1 = incoming ? std::vector<Hash32>() : escrow;
        filter.topic2 = incoming ? escrow : std::vector<Hash32>();
        TRY_ASSIGN(const std::vector<rpc::LogEntry> entries, chain_.logs(filter));
        for (const rpc::LogEntry& entry : entries) {
            TRY_ASSIGN(const std::optional<TokenTransfer> transfer, decode_token_event(entry));
            if (!transfer) return base::fail(base::ErrorCode::chain_bad_answer, "a token transfer");
            TransactionSums& sums = sums_[entry.transaction_hash];
            ++sums.token_moves;
            if (transfer->amount >= U256(1) << 200)
                return base::fail(base::ErrorCode::chain_bad_answer, "a transfer beyond reason");
            if (incoming)
                sums.tokens_in += transfer->amount;
            else
                sums.tokens_out[transfer->to] += transfer->amount;
        }
    }
    return {};
}

Result<void> Reader::read_events(std::uint64_t to_block) {
    rpc::LogFilter filter;
    filter.from_block = deployment_.block;
    filter.to_block = to_block;
    filter.addresses = {deployment_.leases, deployment_.escrow, deployment_.receipt_log};
    TRY_ASSIGN(const std::vector<rpc::LogEntry> entries, chain_.logs(filter));
    for (const rpc::LogEntry& entry : entries) {
        if (entry.transaction_hash != current_) {
            if (!current_.is_zero()) {
                finish_transaction();
                sums_.erase(current_);
            }
            current_ = entry.transaction_hash;
        }
        TRY(take(entry));
    }
    if (!current_.is_zero()) {
        finish_transaction();
        sums_.erase(current_);
    }
    return {};
}

Result<void> Reader::take(const rpc::LogEntry& entry) {
    if (entry.address == deployment_.leases) {
        TRY_ASSIGN(const std::optional<LeasesEvent> event, decode_leases_event(entry));
        if (!event) return {};
        return std::visit([&](const auto& value) { return on(value, entry); }, *event);
    }
    if (entry.address == deployment_.escrow) {
        TRY_ASSIGN(const std::optional<EscrowEvent> event, decode_escrow_event(entry));
        if (event) on_escrow(*event);
        return {};
    }
    TRY_ASSIGN(const std::optional<Anchored> event, decode_receipt_log_event(entry));
    if (!event) return {};
    if (!facts_.heads.empty() && (event->head.size <= facts_.heads.back().size ||
                                  event->head.time_ms < facts_.heads.back().time_ms))
        findings_.add(FindingCode::anchor_order, transaction_text(entry.transaction_hash),
                      "size " + std::to_string(event->head.size) + " after " +
                          std::to_string(facts_.heads.back().size));
    facts_.heads.push_back(event->head);
    return {};
}

Result<void> Reader::on(const LeaseOpened& event, const rpc::LogEntry& entry) {
    const auto [place, added] = facts_.leases.try_emplace(event.lease);
    if (!added) {
        findings_.add(FindingCode::lock_mismatch, lease_text(event.lease), "opened twice");
        return {};
    }
    place->second.opened = event;
    for (const Hash32& order : {event.ask_hash, event.bid_hash})
        if (cancelled_.contains(order))
            findings_.add(FindingCode::order_cancelled, lease_text(event.lease),
                          base::to_hex(order));
    const auto locked = eth::amount_for(event.unit_kind, event.max_units, event.price_atoms);
    if (!locked || *locked != event.locked_atoms)
        findings_.add(FindingCode::lock_mismatch, lease_text(event.lease),
                      "the lock is not units times price");
    report_.locked_atoms += event.locked_atoms;
    sums_[entry.transaction_hash].lock_due[event.buyer] += event.locked_atoms;
    return {};
}

Result<void> Reader::on(const ItemFailed&, const rpc::LogEntry&) {
    return {};
}

Result<void> Reader::on(const OrderCancelled& event, const rpc::LogEntry&) {
    cancelled_.insert(event.order);
    return {};
}

Result<void> Reader::on(const Claimed& event, const rpc::LogEntry& entry) {
    const auto found = facts_.leases.find(event.lease);
    const std::string where = lease_text(event.lease);
    if (found == facts_.leases.end()) {
        findings_.add(FindingCode::claim_mismatch, where, "paid without an open lease");
        return {};
    }
    LeaseFacts& lease = found->second;
    ++report_.claims_checked;
    const std::uint64_t before =
        lease.claims.empty() ? std::uint64_t{0} : lease.claims.back().cumulative_amount_atoms;
    if (event.cumulative_amount_atoms <= before ||
        event.paid_atoms != event.cumulative_amount_atoms - before)
        findings_.add(FindingCode::claim_amount, where,
                      "paid " + std::to_string(event.paid_atoms) + " from " +
                          std::to_string(before) + " to " +
                          std::to_string(event.cumulative_amount_atoms));
    if (event.cumulative_amount_atoms > lease.opened.locked_atoms)
        findings_.add(FindingCode::claim_above_lock, where,
                      std::to_string(event.cumulative_amount_atoms) + " of " +
                          std::to_string(lease.opened.locked_atoms));
    if (lease.closed) findings_.add(FindingCode::claim_mismatch, where, "paid after it was closed");
    lease.paid_atoms += event.paid_atoms;
    lease.fee_atoms += event.fee_atoms;
    report_.paid_atoms += event.paid_atoms;
    report_.fee_atoms += event.fee_atoms;
    if (event.fee_atoms > event.paid_atoms)
        findings_.add(FindingCode::fee_mismatch, where, "the fee is above the payment");
    else if (event.paid_atoms != event.fee_atoms)
        sums_[entry.transaction_hash].credit_due[lease.opened.provider] +=
            event.paid_atoms - event.fee_atoms;
    lease.claims.push_back(event);
    return {};
}

Result<void> Reader::on(const CloseRequested&, const rpc::LogEntry&) {
    return {};
}

Result<void> Reader::on(const LeaseClosed& event, const rpc::LogEntry& entry) {
    const auto found = facts_.leases.find(event.lease);
    const std::string where = lease_text(event.lease);
    if (found == facts_.leases.end() || found->second.closed) {
        findings_.add(FindingCode::close_mismatch, where, "closed without being open");
        return {};
    }
    LeaseFacts& lease = found->second;
    lease.closed = event;
    ++report_.closes_checked;
    report_.refunded_atoms += event.refunded_atoms;
    const auto whole = base::checked_add(event.paid_atoms, event.refunded_atoms);
    if (event.paid_atoms != lease.paid_atoms || !whole || *whole != lease.opened.locked_atoms)
        findings_.add(FindingCode::close_mismatch, where,
                      "paid " + std::to_string(event.paid_atoms) + " and refunded " +
                          std::to_string(event.refunded_atoms) + " of " +
                          std::to_string(lease.opened.locked_atoms));
    TransactionSums& sums = sums_[entry.transaction_hash];
    if (event.refunded_atoms > 0) sums.unlock_due[lease.opened.buyer] += event.refunded_atoms;
    if (lease.fee_atoms > 0) sums.credit_due[deployment_.treasury] += lease.fee_atoms;
    return {};
}

void Reader::on_escrow(const EscrowEvent& event) {
    TransactionSums& sums = sums_[current_];
    if (const auto* deposited = std::get_if<Deposited>(&event)) {
        sums.deposited += deposited->amount_atoms;
        report_.deposited_atoms += deposited->amount_atoms;
    } else if (const auto* locked = std::get_if<Locked>(&event)) {
        sums.lock_done[locked->account] += locked->amount_atoms;
    } else if (const auto* unlocked = std::get_if<Unlocked>(&event)) {
        sums.unlock_done[unlocked->account] += unlocked->amount_atoms;
    } else if (const auto* credited = std::get_if<Credited>(&event)) {
        sums.credit_done[credited->account] += credited->amount_atoms;
    } else if (const auto* withdrawn = std::get_if<Withdrawn>(&event)) {
        sums.paid_out[withdrawn->account] += withdrawn->amount_atoms;
        report_.withdrawn_atoms += withdrawn->amount_atoms;
    } else if (const auto* swept = std::get_if<Swept>(&event)) {
        sums.paid_out[swept->account] += swept->amount_atoms;
        report_.swept_atoms += swept->amount_atoms;
    }
}

void Reader::compare(FindingCode code, const char* what, const Sums& due, const Sums& done) {
    Sums all = due;
    all.insert(done.begin(), done.end());
    const auto amount_of = [](const Sums& sums, const Address& account) {
        const auto found = sums.find(account);
        return found == sums.end() ? U256(0) : found->second;
    };
    for (const auto& [account, ignored] : all)
        findings_.expect_equal(code, transaction_text(current_),
                               std::string(what) + " " + base::to_hex(account),
                               amount_of(due, account), amount_of(done, account));
}

void Reader::finish_transaction() {
    const auto found = sums_.find(current_);
    if (found == sums_.end()) return;
    const TransactionSums& sums = found->second;
    compare(FindingCode::credit_mismatch, "credited", sums.credit_due, sums.credit_done);
    compare(FindingCode::lock_mismatch, "locked", sums.lock_due, sums.lock_done);
    compare(FindingCode::lock_mismatch, "unlocked", sums.unlock_due, sums.unlock_done);
    const std::uint64_t before = report_.findings_total;
    findings_.expect_equal(FindingCode::transfer_unexplained, transaction_text(current_),
                           "tokens into escrow", U256(sums.deposited * report_.token_scale),
                           sums.tokens_in);
    Sums out;
    for (const auto& [account, amount] : sums.paid_out)
        out[account] = amount * report_.token_scale;
    compare(FindingCode::transfer_unexplained, "tokens out of escrow to", out, sums.tokens_out);
    if (report_.findings_total == before) report_.transfers_explained += sums.token_moves;
}

Result<std::uint64_t> Reader::fee_bps_of(const LeaseFacts& lease) {
    rpc::CallRequest request;
    request.to = deployment_.leases;
    request.data = eth::abi::encode_call(
        "feeBpsOf(bytes32,bytes32)",
        eth::abi::Encoder().word(lease.opened.lease).word(parties_hash(lease.opened.parties())));
    TRY_ASSIGN(const base::Bytes answer, chain_.call(request, rpc::BlockTag::number(to_block_)));
    return eth::abi::Decoder(answer).u64(0);
}

/// Fees are the rounded-down share of the running total, at the rate the lease was opened with.
Result<void> Reader::check_fees(const LeaseFacts& lease) {
    const auto fits = [&](std::uint64_t bps) {
        std::uint64_t fee = 0;
        for (const Claimed& claim : lease.claims) {
            fee += claim.fee_atoms;
            if (base::mul_div_down(claim.cumulative_amount_atoms, bps, 10'000) != fee) return false;
        }
        return true;
    };
    if (fits(deployment_.fee_bps) && deployment_.fee_bps <= kFeeBpsMax) return {};
    // The rate may have been changed by governance: the lease kept the one of its day.
    TRY_ASSIGN(const std::uint64_t bps, fee_bps_of(lease));
    if (bps > kFeeBpsMax || !fits(bps))
        findings_.add(FindingCode::fee_mismatch, lease_text(lease.opened.lease),
                      "at " + std::to_string(bps) + " basis points");
    return {};
}

Result<void> Reader::check_solvency(std::uint64_t to_block) {
    const auto at = rpc::BlockTag::number(to_block);
    TRY_ASSIGN(const U256 liabilities, read_liabilities(chain_, deployment_.escrow, at));
    TRY_ASSIGN(report_.escrow_token_units,
               read_token_balance(chain_, deployment_.token, deployment_.escrow, at));
    TRY_ASSIGN(report_.liabilities_atoms, eth::to_u64(liabilities));
    const std::string where = "block " + std::to_string(to_block);
    const auto out = base::checked_add(report_.withdrawn_atoms, report_.swept_atoms);
    const auto left = out ? base::checked_sub(report_.deposited_atoms, *out) : std::nullopt;
    if (!left)
        findings_.add(FindingCode::liabilities_mismatch, where, "more left than came in");
    else
        findings_.expect_equal(FindingCode::liabilities_mismatch, where, "liabilities", *left,
                               report_.liabilities_atoms);
    if (report_.escrow_token_units < U256(report_.liabilities_atoms) * report_.token_scale)
        findings_.add(FindingCode::insolvent, where,
                      eth::to_decimal(report_.escrow_token_units) + " token units for " +
                          std::to_string(report_.liabilities_atoms) + " atoms");
    return {};
}

}  // namespace

Result<ChainFacts> read_chain(rpc::Chain& chain, const Deployment& deployment,
                              std::uint64_t to_block, AuditReport& report) {
    return Reader(chain, deployment, report).read(to_block);
}

}  // namespace ledger::audit::detail
