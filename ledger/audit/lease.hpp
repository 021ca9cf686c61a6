// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/bytes.hpp"
#include "ledger/settlement/leases_abi.hpp"

#include <cstdint>
#include <limits>
#include <optional>
#include <string_view>
#include <vector>

namespace ledger::audit {

/// Where on the chain something happened.
struct Place {
    std::uint64_t block = 0;
    base::Hash32 transaction;
    std::uint64_t time_s = 0;  ///< of the block; 0: was not asked for
};

/// One lease as the chain and the log tell it.
struct AuditedLease {
    struct Claim {
        settlement::Claimed event;
        Place at;
        bool is_lone = false;  ///< by the worker's receipt, to which nobody objected
    };
    settlement::LeaseOpened opened;
    Place opened_at;
    std::vector<Claim> claims;                     ///< in chain order
    std::optional<settlement::ClaimedAlone> lone;  ///< waits to be paid
    bool has_lone_claims = false;                  ///< among `claims`
    std::optional<settlement::LeaseClosed> closed;
    Place closed_at;
    std::uint64_t paid_atoms = 0;
    std::uint64_t fee_atoms = 0;

    // In the log.
    std::optional<std::uint64_t> ask_record;
    std::optional<std::uint64_t> bid_record;
    std::optional<std::uint64_t> first_receipt_record;
    std::uint64_t last_receipt_record = 0;
    std::uint64_t receipts = 0;
    std::uint64_t vouchers = 0;
    std::uint64_t findings = 0;

    // Whether the report is about it, and about which of its receipts.
    bool selected = false;
    std::uint64_t sequence_above = 0;
    std::uint64_t sequence_upto = std::numeric_limits<std::uint64_t>::max();

    [[nodiscard]] bool has_party(const base::Address& account) const {
        return opened.buyer == account || opened.provider == account ||
               opened.voucher_signer == account || opened.worker_key == account;
    }
    [[nodiscard]] bool reports(std::uint64_t sequence) const {
        return selected && sequence > sequence_above && sequence <= sequence_upto;
    }
};

/// An account's four balances in escrow, as `Escrow.accounts` has them. Signed: what a dishonest
/// chain leads to must be shown, not hidden.
struct Balances {
    std::int64_t free_atoms = 0;
    std::int64_t locked_atoms = 0;  ///< maxima of leases not closed, with what they paid
    std::int64_t earned_atoms = 0;
    std::int64_t withdrawing_atoms = 0;
    friend bool operator==(const Balances&, const Balances&) = default;
};

enum class MovementKind : std::uint8_t {
    kDeposit = 0,
    kLock,             ///< out of free, until the lease closes
    kClaim,            ///< the buyer's: out of the lock, to the provider
    kFee,              ///< the buyer's: out of the lock, to the treasury
    kRefund,           ///< what is left of a lock is free again
    kCredit,           ///< the provider's: earned
    kFeeCredit,        ///< the treasury's: earned
    kWithdrawRequest,  ///< out of free
    kWithdrawCancel,   ///< back into free
    kWithdraw,
    kSweep,
};
[[nodiscard]] std::string_view to_string(MovementKind kind) noexcept;  ///< "deposit", …

/// One line of an account's statement.
struct Movement {
    Place at;
    MovementKind kind = MovementKind::kDeposit;
    std::optional<base::Hash32> lease;
    std::optional<base::Address> counterparty;
    std::int64_t amount_atoms = 0;  ///< above 0: into the account's hands
    Balances after;
};

}  // namespace ledger::audit
