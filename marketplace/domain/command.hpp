// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"
#include "marketplace/domain/job.hpp"
#include "marketplace/domain/lease.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

/// Everything that can change the market. Time comes beside the command; signatures are checked
/// before a command is made and kept in it, so that an outsider can check them again.
namespace marketplace::domain {

/// A provider lists capacity. The order's id is its struct hash.
struct PostAsk {
    ledger::eth::Ask ask;
    Signature signature;
    Resource resource;
    friend bool operator==(const PostAsk&, const PostAsk&) = default;
};
/// A buyer posts a job with its bids: one for training; input and output tokens for serving,
/// which match the same worker or not at all.
struct PostJob {
    JobId id;
    JobTerms terms;
    std::vector<BidLeg> legs;
    std::optional<ledger::eth::Delegation> delegation;
    Signature delegation_signature;
    friend bool operator==(const PostJob&, const PostJob&) = default;
};
/// The owner withdraws an ask from the book; leases go on.
struct CancelAsk {
    Hash32 ask;
    Address by;
    friend bool operator==(const CancelAsk&, const CancelAsk&) = default;
};
/// The buyer ends a job; what was done stays paid.
struct CancelJob {
    JobId job;
    Address by;
    friend bool operator==(const CancelJob&, const CancelJob&) = default;
};
/// A worker's connection came (its asks may match) or went for longer than the grace period.
struct WorkerConnected {
    Address worker;
    Address provider;
    friend bool operator==(const WorkerConnected&, const WorkerConnected&) = default;
};
struct WorkerLost {
    Address worker;
    friend bool operator==(const WorkerLost&, const WorkerLost&) = default;
};
/// Escrow events at the confirmed head: the buyer's free balance moved.
struct EscrowDeposited {
    Address account;
    std::uint64_t amount_atoms = 0;
    Hash32 transaction;
    std::uint32_t log_index = 0;
    friend bool operator==(const EscrowDeposited&, const EscrowDeposited&) = default;
};
struct EscrowWithdrawn {  ///< from the moment the withdrawal is requested
    Address account;
    std::uint64_t amount_atoms = 0;
    Hash32 transaction;
    std::uint32_t log_index = 0;
    friend bool operator==(const EscrowWithdrawn&, const EscrowWithdrawn&) = default;
};
/// Chain results of a lease.
struct LeaseOpened {
    Hash32 lease;
    std::uint64_t locked_atoms = 0;
    Hash32 transaction;
    friend bool operator==(const LeaseOpened&, const LeaseOpened&) = default;
};
struct LeaseOpenFailed {
    Hash32 lease;
    std::string reason;  ///< name of the contract's error
    friend bool operator==(const LeaseOpenFailed&, const LeaseOpenFailed&) = default;
};
struct ClaimConfirmed {
    Hash32 lease;
    std::uint64_t sequence = 0;
    std::uint64_t cumulative_amount_atoms = 0;
    std::uint64_t paid_atoms = 0;  ///< gross difference of this claim
    std::uint64_t fee_atoms = 0;
    Hash32 transaction;
    friend bool operator==(const ClaimConfirmed&, const ClaimConfirmed&) = default;
};
struct LeaseCloseConfirmed {
    Hash32 lease;
    std::uint64_t paid_atoms = 0;
    std::uint64_t refunded_atoms = 0;
    Hash32 transaction;
    friend bool operator==(const LeaseCloseConfirmed&, const LeaseCloseConfirmed&) = default;
};
/// The worker is ready: billing begins.
struct LeaseStarted {
    Hash32 lease;
    friend bool operator==(const LeaseStarted&, const LeaseStarted&) = default;
};
/// A worker-signed receipt, the next of its lease's chain.
struct SubmitReceipt {
    ledger::eth::Receipt receipt;
    Signature signature;
    friend bool operator==(const SubmitReceipt&, const SubmitReceipt&) = default;
};
/// A voucher with both signatures.
struct RecordVoucher {
    ledger::eth::Voucher voucher;
    Signature buyer_signature;
    Signature worker_signature;
    friend bool operator==(const RecordVoucher&, const RecordVoucher&) = default;
};
/// The worker says that its lease's work is done, or cannot be done.
struct LeaseFinished {
    Hash32 lease;
    friend bool operator==(const LeaseFinished&, const LeaseFinished&) = default;
};
struct LeaseFailed {
    Hash32 lease;
    std::string code;
    friend bool operator==(const LeaseFailed&, const LeaseFailed&) = default;
};
/// Time passes: orders and jobs expire, back-offs end.
struct Tick {
    friend bool operator==(const Tick&, const Tick&) = default;
};

/// The chain saw the request to close a lease: its orders' volumes are free again there.
struct LeaseCloseRequested {
    Hash32 lease;
    Hash32 transaction;
    friend bool operator==(const LeaseCloseRequested&, const LeaseCloseRequested&) = default;
};

/// Cancel and post in one: the old ask leaves the book only when the new one is accepted.
struct AmendAsk {
    Hash32 old_ask;
    PostAsk replacement;  ///< of the same provider
    friend bool operator==(const AmendAsk&, const AmendAsk&) = default;
};
/// The same for a job that is still open; the new job has a new id and new bids.
struct AmendJob {
    JobId old_job;
    PostJob replacement;  ///< of the same buyer
    friend bool operator==(const AmendJob&, const AmendJob&) = default;
};

/// The position in the variant is the record's kind byte: append only.
using Command =
    std::variant<PostAsk, PostJob, CancelAsk, CancelJob, WorkerConnected, WorkerLost,
                 EscrowDeposited, EscrowWithdrawn, LeaseOpened, LeaseOpenFailed, ClaimConfirmed,
                 LeaseCloseConfirmed, LeaseStarted, SubmitReceipt, RecordVoucher, LeaseFinished,
                 LeaseFailed, Tick, LeaseCloseRequested, AmendAsk, AmendJob>;

/// EIP-712 struct hashes of the orders and receipts in a command, in order: of an ask, of a bid for
/// each leg, of a receipt. Whoever has many commands computes them on another thread.
class MessageHashes {
 public:
    explicit MessageHashes(const Command& command);
    [[nodiscard]] const std::vector<Hash32>& all() const noexcept { return hashes_; }

 private:
    std::vector<Hash32> hashes_;
};

/// "post_ask", "submit_receipt", …
[[nodiscard]] std::string_view name_of(const Command& command) noexcept;

/// Canonical bytes: kind byte, then fields in order, integers little-endian, strings and lists
/// with a 32-bit count. One command has one encoding.
void encode(ledger::base::Bytes& out, const Command& command);
/// Strict: refuses other forms and trailing bytes.
[[nodiscard]] ledger::base::Result<Command> decode_command(ledger::base::ByteView bytes);

}  // namespace marketplace::domain
