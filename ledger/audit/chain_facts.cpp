// SPDX-License-Identifier: Apache-2.0
#include "ledger/audit/chain_facts.hpp"

#include "ledger/base/checked.hpp"
#include "ledger/eth/abi.hpp"
#include "ledger/eth/messages.hpp"
#include "ledger/settlement/escrow_abi.hpp"

#include <algorithm>
#include <map>
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
    std::uint64_t block = 0;
    bool selected = false;  ///< moved money of the part that is reported
};

/// How a movement changes the four balances.
struct Change {
    std::int64_t free = 0, locked = 0, earned = 0, withdrawing = 0;
};

std::int64_t atoms(std::uint64_t value) {
    return static_cast<std::int64_t>(value);
}

class Reader {
 public:
    Reader(rpc::Chain& chain, const Deployment& deployment, AuditReport& report)
        : chain_(chain), deployment_(deployment), report_(report), findings_(report) {}

    Result<ChainFacts> read();

 private:
    Result<void> read_transfers();
    Result<void> read_events();
    Result<void> take(const rpc::LogEntry& entry);
    Result<void> on(const LeaseOpened& event);
    Result<void> on(const ItemFailed& event);
    Result<void> on(const Claimed& event);
    Result<void> on(const ClaimedAlone& event);
    Result<void> on(const Objected& event);
    Result<void> on(const CloseRequested& event);
    Result<void> on(const LeaseClosed& event);
    Result<void> on(const OrderCancelled& event);
    void on_escrow(const EscrowEvent& event);
    /// A payment that the worker alone claimed: what it asked for, and after the window.
    Result<void> check_lone(AuditedLease& lease, const Claimed& event);
    void on_payment(const AuditedLease& lease, const Claimed& event);
    void finish_transaction(const Hash32& transaction, const TransactionSums& sums);
    void compare(FindingCode code, const Hash32& transaction, const char* what, const Sums& due,
                 const Sums& done);
    [[nodiscard]] Result<void> check_known() const;
    void check_fees(AuditedLease& lease);
    Result<void> check_solvency();
    Result<void> check_balances();

    [[nodiscard]] bool in_range(std::uint64_t block) const { return block >= report_.from_block; }
    /// The transaction being read moved money of this lease: whether the report is about it.
    bool select(AuditedLease& lease);
    [[nodiscard]] bool is_account(const Address& account) const {
        return report_.account && *report_.account == account;
    }
    /// Whether figures of the whole market, or of this account, take an entry of escrow in.
    [[nodiscard]] bool counts(const Address& account) const {
        return in_range(place_.block) && !report_.lease &&
               (!report_.account || is_account(account));
    }
    /// A line of the statement, when it is the account's.
    void move(const Address& account, MovementKind kind, std::int64_t amount, const Change& change,
              const std::optional<Hash32>& lease = std::nullopt,
              const std::optional<Address>& counterparty = std::nullopt);
    /// A finding about the part selected when the transaction being read is.
    void add_here(FindingCode code, std::string where, std::string detail) {
        if (in_range(place_.block) && !report_.lease && !report_.account)
            findings_.add(code, std::move(where), std::move(detail));
    }

    rpc::Chain& chain_;
    const Deployment& deployment_;
    AuditReport& report_;
    Findings findings_;
    ChainFacts facts_;
    std::unordered_map<Hash32, TransactionSums> sums_;  // of token transfers, then filled up
    std::unordered_set<Hash32> cancelled_;              // orders, up to the event being read
    Place place_;                                       // of the event being read
    bool account_known_ = false;
};

Hash32 as_topic(const Address& address) {
    Hash32 topic;
    std::copy(address.begin(), address.end(), topic.data() + 12);
    return topic;
}

bool Reader::select(AuditedLease& lease) {
    if (!in_range(place_.block) || (report_.lease && *report_.lease != lease.opened.lease) ||
        (report_.account && !lease.has_party(*report_.account) &&
         *report_.account != deployment_.treasury))
        return false;
    lease.selected = true;
    sums_[place_.transaction].selected = true;
    return true;
}

void Reader::move(const Address& account, MovementKind kind, std::int64_t amount,
                  const Change& change, const std::optional<Hash32>& lease,
                  const std::optional<Address>& counterparty) {
    if (!is_account(account)) return;
    account_known_ = true;
    Balances& balances = report_.balances;
    balances.free_atoms += change.free;
    balances.locked_atoms += change.locked;
    balances.earned_atoms += change.earned;
    balances.withdrawing_atoms += change.withdrawing;
    if (!in_range(place_.block)) return;
    sums_[place_.transaction].selected = true;
    report_.movements.push_back({place_, kind, lease, counterparty, amount, balances});
}

Result<ChainFacts> Reader::read() {
    TRY_ASSIGN(report_.token_scale, read_scale(chain_, deployment_.escrow));
    if (report_.token_scale == 0 || report_.token_scale > U256(1) << 64)
        return base::fail(base::ErrorCode::chain_bad_answer, "the escrow's scale");
    TRY(read_transfers());
    TRY(read_events());
    for (const auto& [hash, sums] : sums_)
        finish_transaction(hash, sums);  // tokens moved, but escrow wrote nothing
    TRY(check_known());
    const bool bounded = report_.from_block > deployment_.block;
    for (AuditedLease& lease : facts_.leases) {
        if (!lease.selected) continue;
        ++report_.leases_checked;
        if (bounded)
            lease.sequence_upto = lease.claims.empty() ? 0 : lease.claims.back().event.sequence;
        check_fees(lease);
    }
    TRY(check_solvency());
    if (report_.account) TRY(check_balances());
    return std::move(facts_);
}

Result<void> Reader::check_known() const {
    const std::string by = " by block " + std::to_string(report_.to_block);
    if (report_.lease && !facts_.lease_index.contains(*report_.lease))
        return base::fail(base::ErrorCode::not_found,
                          "no " + lease_text(*report_.lease) + " on chain" + by);
    if (report_.account && !account_known_)
        return base::fail(base::ErrorCode::not_found, "account " + base::to_hex(*report_.account) +
                                                          " had no lease and no money in escrow" +
                                                          by);
    return {};
}

Result<void> Reader::read_transfers() {
    rpc::LogFilter filter;
    filter.from_block = deployment_.block;
    filter.to_block = report_.to_block;
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
            sums.block = entry.block_number;
            if (is_account(incoming ? transfer->from : transfer->to)) sums.selected = true;
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

Result<void> Reader::read_events() {
    rpc::LogFilter filter;
    filter.from_block = deployment_.block;
    filter.to_block = report_.to_block;
    filter.addresses = {deployment_.leases, deployment_.escrow, deployment_.receipt_log};
    TRY_ASSIGN(const std::vector<rpc::LogEntry> entries, chain_.logs(filter));
    const auto finish = [this] {
        const auto found = sums_.find(place_.transaction);
        if (found == sums_.end()) return;
        finish_transaction(found->first, found->second);
        sums_.erase(found);
    };
    for (const rpc::LogEntry& entry : entries) {
        if (entry.transaction_hash != place_.transaction) {
            finish();
            place_ = {entry.block_number, entry.transaction_hash};
            sums_[place_.transaction].block = place_.block;
        }
        TRY(take(entry));
    }
    finish();
    return {};
}

Result<void> Reader::take(const rpc::LogEntry& entry) {
    if (entry.address == deployment_.leases) {
        TRY_ASSIGN(const std::optional<LeasesEvent> event, decode_leases_event(entry));
        if (!event) return {};
        return std::visit([&](const auto& value) { return on(value); }, *event);
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

Result<void> Reader::on(const LeaseOpened& event) {
    const auto [place, added] = facts_.lease_index.try_emplace(event.lease, facts_.leases.size());
    if (added) {
        facts_.leases.emplace_back();
        facts_.leases.back().opened = event;
        facts_.leases.back().opened_at = place_;
        if (report_.account && facts_.leases.back().has_party(*report_.account))
            account_known_ = true;
    }
    AuditedLease& lease = facts_.leases[place->second];
    const bool selected = select(lease);
    if (!added) {
        findings_.add(lease, FindingCode::lock_mismatch, lease_text(event.lease), "opened twice");
        return {};
    }
    for (const Hash32& order : {event.ask_hash, event.bid_hash})
        if (cancelled_.contains(order))
            findings_.add(lease, FindingCode::order_cancelled, lease_text(event.lease),
                          base::to_hex(order));
    const auto locked = eth::amount_for(event.unit_kind, event.max_units, event.price_atoms);
    if (!locked || *locked != event.locked_atoms)
        findings_.add(lease, FindingCode::lock_mismatch, lease_text(event.lease),
                      "the lock is not units times price");
    if (selected) report_.locked_atoms += event.locked_atoms;
    sums_[place_.transaction].lock_due[event.buyer] += event.locked_atoms;
    const std::int64_t lock = atoms(event.locked_atoms);
    report_.holdings.locked_atoms += event.locked_atoms;
    move(event.buyer, MovementKind::kLock, -lock, {.free = -lock, .locked = lock}, event.lease,
         event.provider);
    return {};
}

Result<void> Reader::on(const ItemFailed&) {
    return {};
}

Result<void> Reader::on(const OrderCancelled& event) {
    cancelled_.insert(event.order);
    return {};
}

Result<void> Reader::on(const Claimed& event) {
    AuditedLease* const found = facts_.find(event.lease);
    const std::string where = lease_text(event.lease);
    if (found == nullptr) {
        add_here(FindingCode::claim_mismatch, where, "paid without an open lease");
        return {};
    }
    AuditedLease& lease = *found;
    const bool selected = select(lease);
    const std::uint64_t before =
        lease.claims.empty() ? std::uint64_t{0} : lease.claims.back().event.cumulative_amount_atoms;
    if (event.cumulative_amount_atoms <= before ||
        event.paid_atoms != event.cumulative_amount_atoms - before)
        findings_.add(lease, FindingCode::claim_amount, where,
                      "paid " + std::to_string(event.paid_atoms) + " from " +
                          std::to_string(before) + " to " +
                          std::to_string(event.cumulative_amount_atoms));
    if (event.cumulative_amount_atoms > lease.opened.locked_atoms)
        findings_.add(lease, FindingCode::claim_above_lock, where,
                      std::to_string(event.cumulative_amount_atoms) + " of " +
                          std::to_string(lease.opened.locked_atoms));
    if (lease.closed)
        findings_.add(lease, FindingCode::claim_mismatch, where, "paid after it was closed");
    const bool is_lone = lease.lone && lease.lone->receipt == event.receipts_root;
    if (is_lone) TRY(check_lone(lease, event));
    lease.paid_atoms += event.paid_atoms;
    lease.fee_atoms += event.fee_atoms;
    lease.claims.push_back({event, place_, is_lone});
    if (!in_range(place_.block)) lease.sequence_above = event.sequence;
    if (selected) {
        ++report_.claims_checked;
        if (is_lone) ++report_.lone_claims;
        report_.paid_atoms += event.paid_atoms;
        report_.fee_atoms += event.fee_atoms;
    }
    if (event.fee_atoms > event.paid_atoms)
        findings_.add(lease, FindingCode::fee_mismatch, where, "the fee is above the payment");
    else
        on_payment(lease, event);
    return {};
}

Result<void> Reader::check_lone(AuditedLease& lease, const Claimed& event) {
    const ClaimedAlone claim = *std::exchange(lease.lone, std::nullopt);
    lease.has_lone_claims = true;
    TRY_ASSIGN(const rpc::BlockHead block, chain_.block(rpc::BlockTag::number(place_.block)));
    if (claim.units != event.cumulative_units ||
        claim.amount_atoms != event.cumulative_amount_atoms || block.time_s < claim.payable_at_s)
        findings_.add(lease, FindingCode::claim_mismatch, lease_text(event.lease),
                      "the worker alone claimed other totals, or was paid before the window's end");
    return {};
}

void Reader::on_payment(const AuditedLease& lease, const Claimed& event) {
    const Address& buyer = lease.opened.buyer;
    const std::uint64_t due = event.paid_atoms - event.fee_atoms;
    if (due != 0) sums_[place_.transaction].credit_due[lease.opened.provider] += due;
    report_.holdings.locked_atoms -= event.paid_atoms;
    report_.holdings.fees_due_atoms += event.fee_atoms;
    const std::int64_t paid = atoms(due);
    move(buyer, MovementKind::kClaim, -paid, {}, event.lease, lease.opened.provider);
    if (event.fee_atoms > 0)
        move(buyer, MovementKind::kFee, -atoms(event.fee_atoms), {}, event.lease,
             deployment_.treasury);
    move(lease.opened.provider, MovementKind::kCredit, paid, {.earned = paid}, event.lease, buyer);
}

Result<void> Reader::on(const ClaimedAlone& event) {
    if (AuditedLease* const lease = facts_.find(event.lease)) lease->lone = event;
    return {};
}

Result<void> Reader::on(const Objected& event) {
    if (AuditedLease* const lease = facts_.find(event.lease)) lease->lone.reset();
    return {};
}

Result<void> Reader::on(const CloseRequested&) {
    return {};
}

Result<void> Reader::on(const LeaseClosed& event) {
    AuditedLease* const found = facts_.find(event.lease);
    const std::string where = lease_text(event.lease);
    if (found == nullptr || found->closed) {
        add_here(FindingCode::close_mismatch, where, "closed without being open");
        return {};
    }
    AuditedLease& lease = *found;
    const bool selected = select(lease);
    lease.closed = event;
    lease.closed_at = place_;
    if (selected) {
        ++report_.closes_checked;
        report_.refunded_atoms += event.refunded_atoms;
    }
    const LeaseOpened& opened = lease.opened;
    const auto whole = base::checked_add(event.paid_atoms, event.refunded_atoms);
    if (event.paid_atoms != lease.paid_atoms || !whole || *whole != opened.locked_atoms)
        findings_.add(lease, FindingCode::close_mismatch, where,
                      "paid " + std::to_string(event.paid_atoms) + " and refunded " +
                          std::to_string(event.refunded_atoms) + " of " +
                          std::to_string(opened.locked_atoms));
    TransactionSums& sums = sums_[place_.transaction];
    if (event.refunded_atoms > 0) sums.unlock_due[opened.buyer] += event.refunded_atoms;
    report_.holdings.locked_atoms -= event.refunded_atoms;
    const std::int64_t refund = atoms(event.refunded_atoms);
    move(opened.buyer, MovementKind::kRefund, refund,
         {.free = refund, .locked = -atoms(opened.locked_atoms)}, event.lease, opened.provider);
    if (lease.fee_atoms == 0) return {};
    sums.credit_due[deployment_.treasury] += lease.fee_atoms;
    report_.holdings.fees_due_atoms -= lease.fee_atoms;
    const std::int64_t fee = atoms(lease.fee_atoms);
    move(deployment_.treasury, MovementKind::kFeeCredit, fee, {.earned = fee}, event.lease,
         opened.buyer);
    return {};
}

void Reader::on_escrow(const EscrowEvent& event) {
    TransactionSums& sums = sums_[place_.transaction];
    Holdings& all = report_.holdings;
    if (const auto* deposited = std::get_if<Deposited>(&event)) {
        const std::int64_t amount = atoms(deposited->amount_atoms);
        sums.deposited += deposited->amount_atoms;
        all.deposited_atoms += deposited->amount_atoms;
        all.free_atoms += deposited->amount_atoms;
        if (counts(deposited->account)) report_.deposited_atoms += deposited->amount_atoms;
        move(deposited->account, MovementKind::kDeposit, amount, {.free = amount});
    } else if (const auto* locked = std::get_if<Locked>(&event)) {
        sums.lock_done[locked->account] += locked->amount_atoms;
        sums.selected |= is_account(locked->account);
        all.free_atoms -= locked->amount_atoms;
    } else if (const auto* unlocked = std::get_if<Unlocked>(&event)) {
        sums.unlock_done[unlocked->account] += unlocked->amount_atoms;
        sums.selected |= is_account(unlocked->account);
        all.free_atoms += unlocked->amount_atoms;
    } else if (const auto* credited = std::get_if<Credited>(&event)) {
        sums.credit_done[credited->account] += credited->amount_atoms;
        sums.selected |= is_account(credited->account);
        all.earned_atoms += credited->amount_atoms;
    } else if (const auto* requested = std::get_if<WithdrawRequested>(&event)) {
        const std::int64_t amount = atoms(requested->amount_atoms);
        all.free_atoms -= requested->amount_atoms;
        all.withdrawing_atoms += requested->amount_atoms;
        move(requested->account, MovementKind::kWithdrawRequest, -amount,
             {.free = -amount, .withdrawing = amount});
    } else if (const auto* undone = std::get_if<WithdrawCancelled>(&event)) {
        const std::int64_t amount = atoms(undone->amount_atoms);
        all.free_atoms += undone->amount_atoms;
        all.withdrawing_atoms -= undone->amount_atoms;
        move(undone->account, MovementKind::kWithdrawCancel, amount,
             {.free = amount, .withdrawing = -amount});
    } else if (const auto* withdrawn = std::get_if<Withdrawn>(&event)) {
        const std::int64_t amount = atoms(withdrawn->amount_atoms);
        sums.paid_out[withdrawn->account] += withdrawn->amount_atoms;
        all.withdrawing_atoms -= withdrawn->amount_atoms;
        all.withdrawn_atoms += withdrawn->amount_atoms;
        if (counts(withdrawn->account)) report_.withdrawn_atoms += withdrawn->amount_atoms;
        move(withdrawn->account, MovementKind::kWithdraw, -amount, {.withdrawing = -amount});
    } else if (const auto* swept = std::get_if<Swept>(&event)) {
        const std::int64_t amount = atoms(swept->amount_atoms);
        sums.paid_out[swept->account] += swept->amount_atoms;
        all.earned_atoms -= swept->amount_atoms;
        all.swept_atoms += swept->amount_atoms;
        if (counts(swept->account)) report_.swept_atoms += swept->amount_atoms;
        move(swept->account, MovementKind::kSweep, -amount, {.earned = -amount});
    }
}

void Reader::compare(FindingCode code, const Hash32& transaction, const char* what, const Sums& due,
                     const Sums& done) {
    Sums all = due;
    all.insert(done.begin(), done.end());
    const auto amount_of = [](const Sums& sums, const Address& account) {
        const auto found = sums.find(account);
        return found == sums.end() ? U256(0) : found->second;
    };
    for (const auto& [account, ignored] : all)
        findings_.expect_equal(code, transaction_text(transaction),
                               std::string(what) + " " + base::to_hex(account),
                               amount_of(due, account), amount_of(done, account));
}

void Reader::finish_transaction(const Hash32& transaction, const TransactionSums& sums) {
    if (!in_range(sums.block) || ((report_.lease || report_.account) && !sums.selected)) return;
    const auto check = [&](FindingCode code, const char* what, const Sums& due, const Sums& done) {
        compare(code, transaction, what, due, done);
    };
    check(FindingCode::credit_mismatch, "credited", sums.credit_due, sums.credit_done);
    check(FindingCode::lock_mismatch, "locked", sums.lock_due, sums.lock_done);
    check(FindingCode::lock_mismatch, "unlocked", sums.unlock_due, sums.unlock_done);
    const std::uint64_t before = report_.findings_total;
    findings_.expect_equal(FindingCode::transfer_unexplained, transaction_text(transaction),
                           "tokens into escrow", U256(sums.deposited * report_.token_scale),
                           sums.tokens_in);
    Sums out;
    for (const auto& [account, amount] : sums.paid_out)
        out[account] = amount * report_.token_scale;
    check(FindingCode::transfer_unexplained, "tokens out of escrow to", out, sums.tokens_out);
    if (report_.findings_total == before) report_.transfers_explained += sums.token_moves;
}

/// Fees are the rounded-down share of the running total, at the rate the lease was opened with.
void Reader::check_fees(AuditedLease& lease) {
    const std::uint64_t bps = lease.opened.fee_bps;
    std::uint64_t fee = 0;
    bool fits = bps <= kFeeBpsMax;
    for (const auto& [claim, at, is_lone] : lease.claims) {
        fee += claim.fee_atoms;
        fits = fits && base::mul_div_down(claim.cumulative_amount_atoms, bps, 10'000) == fee;
    }
    if (!fits)
        findings_.add(lease, FindingCode::fee_mismatch, lease_text(lease.opened.lease),
                      "at " + std::to_string(bps) + " basis points");
}

Result<void> Reader::check_solvency() {
    const auto at = rpc::BlockTag::number(report_.to_block);
    TRY_ASSIGN(const U256 liabilities, read_liabilities(chain_, deployment_.escrow, at));
    TRY_ASSIGN(report_.escrow_token_units,
               read_token_balance(chain_, deployment_.token, deployment_.escrow, at));
    TRY_ASSIGN(report_.liabilities_atoms, eth::to_u64(liabilities));
    const std::string where = "block " + std::to_string(report_.to_block);
    const Holdings& all = report_.holdings;
    const auto out = base::checked_add(all.withdrawn_atoms, all.swept_atoms);
    const auto left = out ? base::checked_sub(all.deposited_atoms, *out) : std::nullopt;
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

/// What the account's movements add up to is what escrow says it has.
Result<void> Reader::check_balances() {
    TRY_ASSIGN(const EscrowAccount found,
               read_escrow_account(chain_, deployment_.escrow, *report_.account,
                                   rpc::BlockTag::number(report_.to_block)));
    const std::string where = "block " + std::to_string(report_.to_block);
    const auto check = [&](const char* what, std::int64_t ours, std::uint64_t theirs) {
        findings_.expect_equal(FindingCode::balance_mismatch, where, what, ours, atoms(theirs));
    };
    check("free", report_.balances.free_atoms, found.free_atoms);
    check("locked", report_.balances.locked_atoms, found.locked_atoms);
    check("earned", report_.balances.earned_atoms, found.credit_atoms);
    check("withdrawing", report_.balances.withdrawing_atoms, found.withdrawing_atoms);
    return {};
}

}  // namespace

Result<ChainFacts> read_chain(rpc::Chain& chain, const Deployment& deployment,
                              AuditReport& report) {
    return Reader(chain, deployment, report).read();
}

}  // namespace ledger::audit::detail
