// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/audit/lease.hpp"
#include "ledger/base/bytes.hpp"
#include "ledger/eth/u256.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ledger::audit {

/// What can be wrong. Names are stable: "root_mismatch".
// clang-format off
#define MILLRACE_AUDIT_FINDINGS(X) \
    /* the public log */ \
    X(record_invalid, "a record of the log cannot be read or breaks the hash chain") \
    X(root_mismatch, "the log's records do not lead to the root anchored on chain") \
    X(log_too_short, "the log has fewer records than were anchored on chain") \
    X(anchor_order, "anchored heads do not grow") \
    /* orders and leases */ \
    X(order_missing, "a lease was opened for an order that is not in the log") \
    X(order_signature, "an order in the log is not signed by its owner or delegate") \
    X(price_outside_limits, "a lease's price is outside the limits both sides signed") \
    X(terms_outside_limits, "a lease's units, kind or lock are outside the limits both sides signed") \
    X(order_cancelled, "a lease was opened under an order that its owner had cancelled on chain") \
    /* receipts and vouchers */ \
    X(receipt_without_lease, "a receipt names a lease that is not on chain") \
    X(receipt_signature, "a receipt is not signed by the lease's worker key") \
    X(receipt_chain, "a receipt does not follow the one before it") \
    X(receipt_equivocation, "two receipts of a lease carry one sequence, and the log does not say so rightly") \
    X(receipt_amount, "a receipt's amount is not units times price, rounded up once") \
    X(receipt_terms, "a receipt's price or unit kind is not the lease's") \
    X(receipt_above_lock, "a receipt's amount passes the lease's lock") \
    X(voucher_signature, "a voucher is not signed by both sides") \
    X(voucher_mismatch, "a voucher's totals or root are not those of its receipts") \
    /* payments */ \
    X(claim_without_receipts, "the chain paid for receipts that the log does not have") \
    X(claim_mismatch, "a claim's totals or root are not those of its receipts") \
    X(claim_amount, "a claim paid another amount than the difference to the claim before") \
    X(claim_above_lock, "the chain paid more than the lease's lock") \
    X(fee_mismatch, "a fee is not the lease's share of the payment, or is above the cap of 5 %") \
    X(close_mismatch, "a lease's close does not add up: paid and refunded are not its lock") \
    X(credit_mismatch, "escrow credited another amount than the claims of its transaction explain") \
    X(lock_mismatch, "escrow locked or unlocked another amount than the leases explain") \
    /* tokens */ \
    X(transfer_unexplained, "tokens moved in or out of escrow without a matching entry") \
    X(liabilities_mismatch, "escrow's liabilities are not deposits less withdrawals and sweeps") \
    X(balance_mismatch, "an account's balance in escrow is not what its movements add up to") \
    X(insolvent, "escrow holds fewer tokens than it owes")
// clang-format on

enum class FindingCode : std::uint8_t {
#define MILLRACE_FINDING_ENUM(name, text) name,
    MILLRACE_AUDIT_FINDINGS(MILLRACE_FINDING_ENUM)
#undef MILLRACE_FINDING_ENUM
};
[[nodiscard]] std::string_view to_string(FindingCode code) noexcept;
/// One sentence for people.
[[nodiscard]] std::string_view describe(FindingCode code) noexcept;

struct Finding {
    FindingCode code = FindingCode::record_invalid;
    std::string where;   ///< "record 17", "lease 0x…", "transaction 0x…", "block 12"
    std::string detail;  ///< expected and found values
};

/// Where every token that ever came in is at the last block. The whole market's.
struct Holdings {
    std::uint64_t deposited_atoms = 0;
    std::uint64_t free_atoms = 0;
    std::uint64_t locked_atoms = 0;    ///< behind open leases, less what they paid
    std::uint64_t fees_due_atoms = 0;  ///< of open leases; the treasury gets them at the close
    std::uint64_t earned_atoms = 0;
    std::uint64_t withdrawing_atoms = 0;
    std::uint64_t withdrawn_atoms = 0;
    std::uint64_t swept_atoms = 0;
};

/// A worker signed two receipts of one sequence. The market ends a lease at the first, so there is
/// one for a lease at most.
struct Equivocation {
    base::Hash32 lease;
    std::uint64_t sequence = 0;
    std::uint64_t record = 0;  ///< of the second receipt
};

/// What claims paid on one day (UTC), of the leases selected.
struct PaidDay {
    std::uint64_t day = 0;  ///< since 1970-01-01
    std::uint64_t paid_atoms = 0;
};

/// What was checked and what was found, in the part that was selected. Amounts are atoms unless
/// said otherwise.
struct AuditReport {
    std::uint64_t chain_id = 0;
    std::uint64_t from_block = 0;
    std::uint64_t to_block = 0;
    std::optional<base::Hash32> lease;     ///< the only one that the report is about
    std::optional<base::Address> account;  ///< the party that the report is about

    std::uint64_t records = 0;           ///< in the log
    std::uint64_t records_anchored = 0;  ///< size of the newest anchored head
    std::uint64_t heads_checked = 0;
    std::uint64_t asks_checked = 0;
    std::uint64_t bids_checked = 0;
    std::uint64_t receipts_checked = 0;
    std::uint64_t vouchers_checked = 0;
    std::uint64_t leases_checked = 0;
    std::uint64_t claims_checked = 0;
    std::uint64_t lone_claims = 0;  ///< of them, by the worker's receipt without the buyer's side
    std::uint64_t closes_checked = 0;
    std::uint64_t transfers_explained = 0;

    std::uint64_t deposited_atoms = 0;
    std::uint64_t withdrawn_atoms = 0;
    std::uint64_t swept_atoms = 0;
    std::uint64_t locked_atoms = 0;  ///< maxima of all leases opened
    std::uint64_t paid_atoms = 0;    ///< gross, to providers and fees
    std::uint64_t fee_atoms = 0;
    std::uint64_t refunded_atoms = 0;
    std::uint64_t liabilities_atoms = 0;
    eth::U256 escrow_token_units;  ///< balance of the escrow contract, in the token's own units
    eth::U256 token_scale;         ///< token units of one atom

    Holdings holdings;
    Balances balances;                 ///< of the account, at the last block
    std::vector<AuditedLease> leases;  ///< selected, in the order they were opened
    std::vector<Movement> movements;   ///< of the account
    std::vector<PaidDay> days;         ///< in order; when asked for

    std::vector<Equivocation> equivocations;  ///< evidence against workers; no finding

    std::uint64_t findings_total = 0;  ///< may be more than are listed
    std::vector<Finding> findings;     ///< the first 1,000

    [[nodiscard]] bool ok() const noexcept { return findings_total == 0; }
};

/// One screen for people; the verdict is the last line. Of one lease it tells the story.
[[nodiscard]] std::string to_text(const AuditReport& report);
/// One JSON object; amounts are decimal strings.
[[nodiscard]] std::string to_json_text(const AuditReport& report);

}  // namespace ledger::audit
