// SPDX-License-Identifier: Apache-2.0
#include "ledger/books/books.hpp"

#include "ledger/base/check.hpp"
#include "ledger/base/sha256.hpp"

#include <algorithm>
#include <vector>

namespace ledger::books {

using base::Address;
using base::ErrorCode;
using base::fail;
using base::Hash32;
using base::Money;
using base::Result;

namespace {

__extension__ using Int128 = __int128;

Money negative(Money amount) {
    MR_CHECK(amount.atoms() != INT64_MIN);
    return Money(-amount.atoms());
}

AccountId chain_account() {
    return {Address(), AccountKind::kChain};
}

Entry make_entry(EntryKind kind, const Hash32& hold, const Cause& cause) {
    Entry entry;
    entry.time_ms = cause.time_ms;
    entry.kind = kind;
    entry.hold = hold;
    entry.reference = cause.reference;
    return entry;
}

Result<void> check_amount(Money amount) {
    if (amount.atoms() <= 0)
        return fail(ErrorCode::invalid_quantity, "the amount must be above zero");
    return {};
}

/// A movement of one amount between two accounts.
Result<Entry> make_move(EntryKind kind, const Hash32& hold, const AccountId& from,
                        const AccountId& to, Money amount, const Cause& cause) {
    TRY(check_amount(amount));
    Entry entry = make_entry(kind, hold, cause);
    entry.postings = {{from, negative(amount)}, {to, amount}};
    return entry;
}

/// The owner and amount by which an entry changes its hold.
struct HoldChange {
    Address owner;
    Money delta;
};
std::optional<HoldChange> hold_change(const Entry& entry) {
    for (const Posting& posting : entry.postings)
        if (posting.account.kind == AccountKind::kHeld)
            return HoldChange{posting.account.owner, posting.amount};
    return std::nullopt;
}

/// Whether an entry moves money between the kinds of account its own kind allows.
bool shape_fits(const Entry& entry) {
    using Kinds = std::vector<AccountKind>;
    const auto of_sign = [&](bool credits) {
        Kinds kinds;
        for (const Posting& posting : entry.postings)
            if ((posting.amount.atoms() > 0) == credits) kinds.push_back(posting.account.kind);
        std::sort(kinds.begin(), kinds.end());
        return kinds;
    };
    const Kinds from = of_sign(false);
    const Kinds to = of_sign(true);
    const bool has_hold = !entry.hold.is_zero();
    using enum AccountKind;
    switch (entry.kind) {
        case EntryKind::kDeposit:
            return !has_hold && from == Kinds{kChain} && to == Kinds{kAvailable};
        case EntryKind::kWithdraw:
            return !has_hold && from == Kinds{kAvailable} && to == Kinds{kChain};
        case EntryKind::kReserve:
            return has_hold && from == Kinds{kAvailable} && to == Kinds{kHeld};
        case EntryKind::kCapture:
            return has_hold && from == Kinds{kHeld} &&
                   (to == Kinds{kCredit} || to == Kinds{kFees} || to == Kinds{kCredit, kFees});
        case EntryKind::kRelease:
            return has_hold && from == Kinds{kHeld} && to == Kinds{kAvailable};
        case EntryKind::kSweep:
            return !has_hold && from == Kinds{kCredit} && to == Kinds{kChain};
    }
    return false;
}

}  // namespace

Result<Entry> Books::deposit(const Address& owner, Money amount, const Cause& cause) {
    TRY_ASSIGN(Entry entry, make_move(EntryKind::kDeposit, Hash32(), chain_account(),
                                      {owner, AccountKind::kAvailable}, amount, cause));
    return post(std::move(entry));
}

Result<Entry> Books::withdraw(const Address& owner, Money amount, const Cause& cause) {
    TRY_ASSIGN(Entry entry,
               make_move(EntryKind::kWithdraw, Hash32(), {owner, AccountKind::kAvailable},
                         chain_account(), amount, cause));
    return post(std::move(entry));
}

Result<Entry> Books::reserve(const Hash32& hold, const Address& owner, Money amount,
                             const Cause& cause) {
    TRY_ASSIGN(Entry entry, make_move(EntryKind::kReserve, hold, {owner, AccountKind::kAvailable},
                                      {owner, AccountKind::kHeld}, amount, cause));
    return post(std::move(entry));
}

Result<Entry> Books::capture(const Hash32& hold, const Address& payee, Money gross, Money fee,
                             const Cause& cause) {
    TRY(check_amount(gross));
    if (fee.atoms() < 0 || fee > gross)
        return fail(ErrorCode::invalid_quantity, "the fee is not between zero and the payment");
    const auto found = holds_.find(hold);
    if (found == holds_.end()) return fail(ErrorCode::not_found, "no such hold");
    Entry entry = make_entry(EntryKind::kCapture, hold, cause);
    entry.postings.push_back({{found->second.owner, AccountKind::kHeld}, negative(gross)});
    TRY_ASSIGN(const Money net, gross.minus(fee));
    if (net.atoms() > 0) entry.postings.push_back({{payee, AccountKind::kCredit}, net});
    if (fee.atoms() > 0) entry.postings.push_back({{Address(), AccountKind::kFees}, fee});
    return post(std::move(entry));
}

Result<Entry> Books::release(const Hash32& hold, Money amount, const Cause& cause) {
    const auto found = holds_.find(hold);
    if (found == holds_.end()) return fail(ErrorCode::not_found, "no such hold");
    const Address owner = found->second.owner;
    TRY_ASSIGN(Entry entry, make_move(EntryKind::kRelease, hold, {owner, AccountKind::kHeld},
                                      {owner, AccountKind::kAvailable}, amount, cause));
    return post(std::move(entry));
}

Result<Entry> Books::sweep(const Address& owner, Money amount, const Cause& cause) {
    TRY_ASSIGN(Entry entry, make_move(EntryKind::kSweep, Hash32(), {owner, AccountKind::kCredit},
                                      chain_account(), amount, cause));
    return post(std::move(entry));
}

Result<void> Books::replay(const Entry& entry) {
    if (entry.number != entries_)
        return fail(ErrorCode::invalid_encoding, "entry " + std::to_string(entry.number) +
                                                     " where " + std::to_string(entries_) +
                                                     " comes next");
    if (const auto committed = commit(entry); !committed)
        return fail(ErrorCode::invalid_encoding,
                    "entry " + std::to_string(entry.number) +
                        " does not fit: " + committed.error().message());
    return {};
}

Result<Books> Books::restore(std::map<AccountId, Money> balances, std::map<Hash32, Hold> holds,
                             std::uint64_t entries, const Hash32& journal_hash) {
    const bool keeps_nothing =
        std::any_of(balances.begin(), balances.end(),
                    [](const auto& entry) { return entry.second.atoms() == 0; }) ||
        std::any_of(holds.begin(), holds.end(),
                    [](const auto& entry) { return entry.second.amount.atoms() <= 0; });
    if (keeps_nothing) return fail(ErrorCode::invalid_encoding, "an empty account or hold");
    Books books;
    books.balances_ = std::move(balances);
    books.holds_ = std::move(holds);
    books.entries_ = entries;
    books.journal_hash_ = journal_hash;
    if (const auto violation = books.find_violation())
        return fail(ErrorCode::invalid_encoding, *violation);
    return books;
}

Money Books::balance(const AccountId& account) const {
    const auto found = balances_.find(account);
    return found == balances_.end() ? Money() : found->second;
}

std::optional<Hold> Books::find_hold(const Hash32& hold) const {
    const auto found = holds_.find(hold);
    if (found == holds_.end()) return std::nullopt;
    return found->second;
}

Result<Entry> Books::post(Entry entry) {
    entry.number = entries_;
    TRY(commit(entry));
    return entry;
}

/// All checks first, then all effects.
Result<void> Books::commit(const Entry& entry) {
    TRY(check_balanced(entry));
    if (!shape_fits(entry))
        return fail(ErrorCode::invalid_field, "the accounts do not fit the kind of entry");
    TRY(check_hold(entry));
    std::vector<std::pair<AccountId, Money>> after;
    after.reserve(entry.postings.size());
    for (const Posting& posting : entry.postings) {
        TRY_ASSIGN(const Money sum, balance(posting.account).plus(posting.amount));
        if (posting.account.kind == AccountKind::kChain) {
            if (!posting.account.owner.is_zero() || sum.atoms() > 0)
                return fail(ErrorCode::insufficient_funds, "more would leave than came in");
        } else if (sum.atoms() < 0) {
            return fail(ErrorCode::insufficient_funds,
                        std::string(to_string(posting.account.kind)) + " is " +
                            balance(posting.account).to_tokens() + ", needed is " +
                            negative(posting.amount).to_tokens());
        }
        after.emplace_back(posting.account, sum);
    }
    for (const auto& [account, sum] : after) {
        if (sum.atoms() == 0)
            balances_.erase(account);
        else
            balances_[account] = sum;
    }
    move_hold(entry);
    ++entries_;
    base::Bytes chained(journal_hash_.begin(), journal_hash_.end());
    base::append(chained, encode_entry(entry));
    journal_hash_ = base::sha256(chained);
    return {};
}

Result<void> Books::check_hold(const Entry& entry) const {
    const auto change = hold_change(entry);
    if (!change) return {};
    const auto found = holds_.find(entry.hold);
    if (found == holds_.end()) {
        if (change->delta.atoms() < 0) return fail(ErrorCode::not_found, "no such hold");
        return {};
    }
    if (found->second.owner != change->owner)
        return fail(ErrorCode::forbidden, "the hold belongs to another account");
    TRY_ASSIGN(const Money left, found->second.amount.plus(change->delta));
    if (left.atoms() < 0)
        return fail(ErrorCode::insufficient_funds,
                    "the hold has " + found->second.amount.to_tokens() + " left");
    return {};
}

void Books::move_hold(const Entry& entry) {
    const auto change = hold_change(entry);
    if (!change) return;
    Hold& hold = holds_[entry.hold];
    hold.owner = change->owner;
    hold.amount = hold.amount.plus(change->delta).value();  // checked by check_hold
    MR_CHECK(hold.amount.atoms() >= 0);
    if (hold.amount.atoms() == 0) holds_.erase(entry.hold);
}

std::optional<std::string> Books::find_violation() const {
    Int128 sum = 0;
    for (const auto& [account, balance] : balances_) {
        sum += balance.atoms();
        const bool below =
            account.kind == AccountKind::kChain ? balance.atoms() > 0 : balance.atoms() < 0;
        if (below)
            return std::string("I-02: ") + std::string(to_string(account.kind)) +
                   " has passed its floor";
    }
    if (sum != 0) return "I-01: debits and credits differ";
    std::map<Address, Int128> held;
    for (const auto& [id, hold] : holds_)
        held[hold.owner] += hold.amount.atoms();
    for (const auto& [account, balance] : balances_) {
        if (account.kind != AccountKind::kHeld) continue;
        if (held[account.owner] != balance.atoms()) return "I-02: held is not the sum of holds";
        held.erase(account.owner);
    }
    for (const auto& [owner, amount] : held)
        if (amount != 0) return "I-02: a hold without held money";
    return std::nullopt;
}

}  // namespace ledger::books
