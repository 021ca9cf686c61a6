// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"
#include "ledger/books/account.hpp"
#include "ledger/books/journal.hpp"

#include <cstdint>
#include <map>
#include <optional>
#include <string>

namespace ledger::books {

/// Money set aside for one purpose (a lease). It lives from its first reserve until it is empty.
struct Hold {
    base::Address owner;
    base::Money amount;  ///< left in it
    friend bool operator==(const Hold&, const Hold&) = default;
};

/// Who or what, when, and why: goes into the entry unread.
struct Cause {
    base::TimeMs time_ms = 0;
    base::Hash32 reference;
};

/// Double-entry books in memory. Every change is one balanced entry, returned so that the caller
/// stores it; the same entries applied to empty books give the same state and hash. Pure,
/// deterministic, not thread-safe. A failed call changes nothing.
///
/// Errors: invalid_quantity (amount not above 0), insufficient_funds, not_found (no such hold),
/// forbidden (the hold is another owner's), out_of_range (64-bit overflow).
class Books {
 public:
    /// Money arrived in escrow for `owner`.
    [[nodiscard]] base::Result<Entry> deposit(const base::Address& owner, base::Money amount,
                                              const Cause& cause);
    /// Free money left escrow (or was asked back).
    [[nodiscard]] base::Result<Entry> withdraw(const base::Address& owner, base::Money amount,
                                               const Cause& cause);
    /// Sets free money aside under `hold`; adds to it when the same owner has it already.
    [[nodiscard]] base::Result<Entry> reserve(const base::Hash32& hold, const base::Address& owner,
                                              base::Money amount, const Cause& cause);
    /// Pays `gross` out of a hold: gross − fee to the payee's credit, the fee to fees.
    /// `fee` may be zero, not above gross.
    [[nodiscard]] base::Result<Entry> capture(const base::Hash32& hold, const base::Address& payee,
                                              base::Money gross, base::Money fee,
                                              const Cause& cause);
    /// Gives a part of a hold back to its owner.
    [[nodiscard]] base::Result<Entry> release(const base::Hash32& hold, base::Money amount,
                                              const Cause& cause);
    /// Earned credit left escrow.
    [[nodiscard]] base::Result<Entry> sweep(const base::Address& owner, base::Money amount,
                                            const Cause& cause);

    /// Applies a stored entry. invalid_encoding when it is not the next one or not one these books
    /// would have made in this state.
    [[nodiscard]] base::Result<void> replay(const Entry& entry);

    /// Books as they stood after `entries` entries. invalid_encoding when they break I-01 or I-02,
    /// or keep an empty account or hold.
    [[nodiscard]] static base::Result<Books> restore(std::map<AccountId, base::Money> balances,
                                                     std::map<base::Hash32, Hold> holds,
                                                     std::uint64_t entries,
                                                     const base::Hash32& journal_hash);

    /// Zero for an account never used.
    [[nodiscard]] base::Money balance(const AccountId& account) const;
    [[nodiscard]] base::Money available(const base::Address& owner) const {
        return balance({owner, AccountKind::kAvailable});
    }
    [[nodiscard]] base::Money held(const base::Address& owner) const {
        return balance({owner, AccountKind::kHeld});
    }
    [[nodiscard]] base::Money credit(const base::Address& owner) const {
        return balance({owner, AccountKind::kCredit});
    }
    [[nodiscard]] std::optional<Hold> find_hold(const base::Hash32& hold) const;
    /// Accounts with a balance, in order.
    [[nodiscard]] const std::map<AccountId, base::Money>& accounts() const noexcept {
        return balances_;
    }
    /// Entries made so far.
    [[nodiscard]] std::uint64_t entries() const noexcept { return entries_; }
    /// SHA-256 chain over all entries: equal histories, equal hash.
    [[nodiscard]] const base::Hash32& journal_hash() const noexcept { return journal_hash_; }

    /// Checks I-01 (sum zero), I-02 (floors; each owner's held = its holds); the first violation
    /// as text.
    [[nodiscard]] std::optional<std::string> find_violation() const;

 private:
    [[nodiscard]] base::Result<Entry> post(Entry entry);
    [[nodiscard]] base::Result<void> commit(const Entry& entry);
    [[nodiscard]] base::Result<void> check_hold(const Entry& entry) const;
    void move_hold(const Entry& entry);

    std::map<AccountId, base::Money> balances_;  // no zero balances
    std::map<base::Hash32, Hold> holds_;         // no empty holds
    std::uint64_t entries_ = 0;
    base::Hash32 journal_hash_;
};

}  // namespace ledger::books
