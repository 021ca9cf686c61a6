// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"
#include "ledger/crypto/secp256k1.hpp"
#include "ledger/eth/messages.hpp"
#include "ledger/log/merkle_tree.hpp"
#include "ledger/settlement/leases_abi.hpp"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

/// The worker's own record of its leases: what it signed and what it was promised, on disk before
/// anything is sent.
namespace worker::agent {

using ledger::base::Address;
using ledger::base::Hash32;
using ledger::base::Result;
using ledger::base::Signature;

/// A lease as it was assigned.
struct LeaseTerms {
    Hash32 lease;
    ledger::settlement::Parties parties;
    ledger::settlement::LeaseKey key;
    ledger::eth::UnitKind unit_kind = ledger::eth::UnitKind::kTrainingStep;
    std::uint64_t price_atoms = 0;
    std::uint64_t max_units = 0;
    std::string spec;  ///< the job spec's canonical bytes
    Hash32 salt;       ///< of request and response hashes
    std::string job;   ///< the market's id
    std::uint64_t start_step = 0;
    Hash32 start_checkpoint;  ///< zero: from the beginning
    friend bool operator==(const LeaseTerms&, const LeaseTerms&) = default;
};

struct StoredReceipt {
    ledger::eth::Receipt receipt;
    Signature signature;
    std::uint64_t step = 0;  ///< training: steps of the job done with this receipt
    friend bool operator==(const StoredReceipt&, const StoredReceipt&) = default;
};

struct StoredVoucher {
    ledger::eth::Voucher voucher;
    Signature buyer_signature;
    Signature worker_signature;
    friend bool operator==(const StoredVoucher&, const StoredVoucher&) = default;
};

/// What the next receipt says; the book adds sequence, chain and amount.
struct WorkDone {
    std::uint64_t cumulative_units = 0;
    std::uint64_t step = 0;
    Hash32 model_hash;
    Hash32 request_hash;
    Hash32 response_hash;
    std::uint64_t start_ms = 0;
    std::uint64_t end_ms = 0;
};

enum class Outcome : std::uint8_t { kOpen = 0, kFinished = 1, kFailed = 2, kCancelled = 3 };
[[nodiscard]] std::string_view to_string(Outcome outcome) noexcept;

/// Receipts and vouchers of one lease, in a folder of their own. Thread-safe.
///
/// Files: `terms.json`, written once; `receipts` and `vouchers`, records of fixed size with a
/// checksum each, appended and synced; `outcome`. A record cut off by a crash was never sent and is
/// dropped when the book is opened.
class LeaseBook {
 public:
    /// Makes the folder and writes the terms. exists_with_different_body when the lease is there
    /// with other terms.
    [[nodiscard]] static Result<std::shared_ptr<LeaseBook>> create(
        const std::filesystem::path& folder, const LeaseTerms& terms);
    /// Reads a book back and checks its chain of hashes.
    [[nodiscard]] static Result<std::shared_ptr<LeaseBook>> open(
        const std::filesystem::path& folder);

    [[nodiscard]] const LeaseTerms& terms() const noexcept { return terms_; }

    /// Signs and stores the next receipt; on disk when this returns. out_of_range when it would
    /// pass the lease's units or not raise the total; nothing is signed then.
    [[nodiscard]] Result<StoredReceipt> append(const WorkDone& work,
                                               const ledger::crypto::PrivateKey& worker,
                                               const ledger::eth::Domain& domain);

    /// Checks a voucher against the receipts, stores it with both signatures and returns it.
    /// The same voucher again gives the same answer. voucher_not_higher: at or below the last one;
    /// receipt_out_of_order: covers a receipt that is not ours; invalid_field: units, amount or
    /// root differ from ours; invalid_signature: not signed by the lease's voucher signer.
    [[nodiscard]] Result<StoredVoucher> countersign(const ledger::eth::Voucher& voucher,
                                                    const Signature& buyer_signature,
                                                    const ledger::crypto::PrivateKey& worker,
                                                    const ledger::eth::Domain& domain);

    /// The market has receipts up to here.
    void acknowledge(std::uint64_t sequence);
    /// Receipts after `sequence`.
    [[nodiscard]] std::vector<StoredReceipt> receipts_after(std::uint64_t sequence) const;
    /// Receipts the market has not acknowledged.
    [[nodiscard]] std::vector<StoredReceipt> unacknowledged() const;

    [[nodiscard]] std::uint64_t sequence() const;
    [[nodiscard]] std::uint64_t cumulative_units() const;
    [[nodiscard]] std::uint64_t amount_atoms() const;
    [[nodiscard]] std::uint64_t voucher_amount_atoms() const;
    /// Earned and not yet covered by a voucher with both signatures.
    [[nodiscard]] std::uint64_t unpaid_atoms() const;
    /// End time of the first receipt that no voucher covers; empty when all are covered.
    [[nodiscard]] std::optional<std::uint64_t> unpaid_since_ms() const;
    [[nodiscard]] std::optional<StoredReceipt> last_receipt() const;
    [[nodiscard]] std::optional<StoredVoucher> last_voucher() const;

    [[nodiscard]] Outcome outcome() const;
    /// The lease's work is over; vouchers are still countersigned.
    [[nodiscard]] Result<void> set_outcome(Outcome outcome);

 private:
    LeaseBook(std::filesystem::path folder, LeaseTerms terms);
    [[nodiscard]] Result<void> load();
    void remember(const StoredReceipt& stored, const Hash32& hash);
    [[nodiscard]] Result<void> check_voucher(const ledger::eth::Voucher& voucher) const;

    const std::filesystem::path folder_;
    const LeaseTerms terms_;
    mutable std::mutex mutex_;
    std::vector<StoredReceipt> receipts_;
    ledger::log::MerkleTree tree_;  // leaf i: struct hash of receipt i + 1
    Hash32 last_hash_;
    std::optional<StoredVoucher> voucher_;
    std::uint64_t acknowledged_ = 0;
    Outcome outcome_ = Outcome::kOpen;
};

/// All books below one folder. Thread-safe.
class LeaseStore {
 public:
    explicit LeaseStore(std::filesystem::path folder) : folder_(std::move(folder)) {}
    /// Reads every book. A damaged one is left aside and reported in `damaged`.
    [[nodiscard]] Result<void> open(std::vector<std::string>& damaged);
    [[nodiscard]] std::shared_ptr<LeaseBook> find(const Hash32& lease) const;
    [[nodiscard]] std::vector<std::shared_ptr<LeaseBook>> all() const;
    [[nodiscard]] Result<std::shared_ptr<LeaseBook>> create(const LeaseTerms& terms);

 private:
    const std::filesystem::path folder_;
    mutable std::mutex mutex_;
    std::vector<std::shared_ptr<LeaseBook>> books_;
};

}  // namespace worker::agent
