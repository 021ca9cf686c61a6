// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/bytes.hpp"
#include "ledger/base/result.hpp"
#include "ledger/eth/messages.hpp"
#include "ledger/rpc/chain.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

/// C++ form of contracts/src/interfaces/ILeases.sol: calls out, events and views in.
namespace ledger::settlement {

/// The four parties of a lease; the contract keeps keccak(abi.encode(parties)) only.
struct Parties {
    base::Address buyer;
    base::Address provider;
    base::Address voucher_signer;
    base::Address worker_key;
    friend bool operator==(const Parties&, const Parties&) = default;
};
[[nodiscard]] base::Hash32 parties_hash(const Parties& parties);
/// Its four words.
[[nodiscard]] base::Bytes encode(const Parties& parties);

/// What names a lease before it is on the chain.
struct LeaseKey {
    base::Hash32 ask_hash;
    base::Hash32 bid_hash;
    std::uint64_t index = 0;  ///< of this pair of orders: 0, 1, …
    friend bool operator==(const LeaseKey&, const LeaseKey&) = default;
};
/// keccak(abi.encode(askHash, bidHash, index)).
[[nodiscard]] base::Hash32 lease_id(const LeaseKey& key);

/// The delegation of an order its owner signed alone.
[[nodiscard]] inline eth::Delegation no_delegation() {
    eth::Delegation none;
    none.scope = 0;
    return none;
}

/// One lease to open. No delegation: leave `delegation` as it is and its signature empty.
struct OpenItem {
    eth::Ask ask;
    base::Bytes ask_signature;
    eth::Bid bid;
    base::Bytes bid_signature;
    eth::Delegation delegation = no_delegation();
    base::Bytes delegation_signature;
    std::uint64_t price_atoms = 0;
    std::uint64_t max_units = 0;
    base::Address worker_key;
    std::uint64_t index = 0;
};

struct ClaimItem {
    /// What the lease is named by; the contract wants it of a claim of the lease's last unit, which
    /// closes the lease.
    std::optional<LeaseKey> key;
    eth::Voucher voucher;
    Parties parties;
    base::Bytes buyer_signature;
    base::Bytes worker_signature;
};

/// Why a lease ended.
enum class CloseReason : std::uint8_t {
    kCompleted = 1,
    kBuyerCancelled = 2,
    kWorkerLost = 3,
    kWorkerFailed = 4,
    kExpired = 5,
    kOutbid = 6,
    kProviderLeft = 7,
};
[[nodiscard]] std::string_view to_string(CloseReason reason) noexcept;

/// One close to ask for.
struct CloseItem {
    LeaseKey key;
    Parties parties;
    CloseReason reason = CloseReason::kCompleted;
};
/// One close to end.
struct FinalItem {
    LeaseKey key;
    Parties parties;
};

/// A worker-signed receipt.
struct WorkerReceipt {
    eth::Receipt receipt;
    base::Signature signature;
};
/// Its twelve words.
[[nodiscard]] base::Bytes encode(const eth::Receipt& receipt);
/// A claim by the worker alone.
struct LoneItem {
    Parties parties;
    WorkerReceipt receipt;
};
/// The buyer's side's answer to one; the buyer or the voucher signer signs.
struct ObjectionItem {
    Parties parties;
    eth::Objection objection;
    base::Bytes signature;
};

enum class LeaseState : std::uint8_t { kNone = 0, kOpen = 1, kClosing = 2, kClosed = 3 };

// Calls: selector and arguments, the `data` of a transaction to Leases.
// Items of a batch fail alone.
/// Neighbours under one ask share it: sorting by ask saves gas.
[[nodiscard]] base::Bytes encode_open(const std::vector<OpenItem>& items);
/// Neighbours of one provider and worker key share them. Totals are below 2^48, as a lease's are.
[[nodiscard]] base::Bytes encode_claim(const std::vector<ClaimItem>& items);
[[nodiscard]] base::Bytes encode_request_close(const std::vector<CloseItem>& items);
/// By anybody, after a requested close's window or a close window after the lease's expiry.
[[nodiscard]] base::Bytes encode_finalize_close(const std::vector<FinalItem>& items);
/// By the provider or the worker key: pays the receipt's totals when nobody objects in a close
/// window.
[[nodiscard]] base::Bytes encode_claim_alone(const std::vector<LoneItem>& items);
/// By anybody with the signatures, before a lone claim is payable.
[[nodiscard]] base::Bytes encode_object_to(const std::vector<ObjectionItem>& items);
/// By anybody, from then on.
[[nodiscard]] base::Bytes encode_pay_alone(const std::vector<FinalItem>& items);
[[nodiscard]] base::Bytes encode_revoke_delegations();
/// By the ask's provider: no lease is opened under it from then on.
[[nodiscard]] base::Bytes encode_cancel_ask(const eth::Ask& ask);
/// By the bid's buyer.
[[nodiscard]] base::Bytes encode_cancel_bid(const eth::Bid& bid);

/// What the contract knows of a lease.
struct LeaseView {
    std::uint64_t locked_atoms = 0;
    std::uint64_t paid_atoms = 0;
    std::uint64_t max_units = 0;
    std::uint64_t claimed_units = 0;
    std::uint64_t expiry_s = 0;
    LeaseState state = LeaseState::kNone;
};
/// Reads a lease between these parties at a block; kNone when there is no such lease.
[[nodiscard]] base::Result<LeaseView> read_lease(rpc::Chain& chain, const base::Address& leases,
                                                 const base::Hash32& lease, const Parties& parties,
                                                 rpc::BlockTag at);
/// A claim by the worker alone that waits; all zero when there is none.
struct LoneClaimView {
    base::Hash32 receipt;
    std::uint64_t units = 0;
    std::uint64_t amount_atoms = 0;
    std::uint64_t payable_at_s = 0;
    bool is_objected = false;  ///< there was an objection: the lease takes none any more
};
[[nodiscard]] base::Result<LoneClaimView> read_lone_claim(rpc::Chain& chain,
                                                          const base::Address& leases,
                                                          const base::Hash32& lease,
                                                          rpc::BlockTag at);
/// Reads `finalAt(lease)`: when a requested close becomes final; 0 when none was requested.
[[nodiscard]] base::Result<std::uint64_t> read_final_at(rpc::Chain& chain,
                                                        const base::Address& leases,
                                                        const base::Hash32& lease,
                                                        rpc::BlockTag at);
/// Reads `delegationNonce(owner)`.
[[nodiscard]] base::Result<std::uint64_t> read_delegation_nonce(rpc::Chain& chain,
                                                                const base::Address& leases,
                                                                const base::Address& owner,
                                                                rpc::BlockTag at);

struct LeaseOpened {
    base::Hash32 lease;
    base::Address buyer;
    base::Address provider;
    base::Hash32 ask_hash;
    base::Hash32 bid_hash;
    base::Address voucher_signer;
    base::Address worker_key;
    eth::UnitKind unit_kind = eth::UnitKind::kTrainingStep;
    std::uint64_t price_atoms = 0;
    std::uint64_t max_units = 0;
    std::uint64_t locked_atoms = 0;
    std::uint64_t expiry_s = 0;
    std::uint64_t fee_bps = 0;
    [[nodiscard]] Parties parties() const { return {buyer, provider, voucher_signer, worker_key}; }
};
/// One item of a batch that the contract refused; the others went on.
struct ItemFailed {
    base::Hash32 lease;
    std::uint64_t index = 0;
    base::Bytes reason;  ///< abi-encoded custom error, see `explain_revert`
};
struct Claimed {
    base::Hash32 lease;
    std::uint64_t sequence = 0;
    std::uint64_t cumulative_units = 0;
    std::uint64_t cumulative_amount_atoms = 0;
    base::Hash32 receipts_root;    ///< paid to the worker alone: its receipt's hash
    std::uint64_t paid_atoms = 0;  ///< gross difference to the claim before
    std::uint64_t fee_atoms = 0;   ///< of it; the provider is credited paid − fee
};
/// The worker alone asks for these totals; the buyer's side may object until they are payable.
struct ClaimedAlone {
    base::Hash32 lease;
    base::Hash32 receipt;  ///< struct hash
    std::uint64_t units = 0;
    std::uint64_t amount_atoms = 0;
    std::uint64_t payable_at_s = 0;
    friend bool operator==(const ClaimedAlone&, const ClaimedAlone&) = default;
};
struct Objected {
    base::Hash32 lease;
    base::Hash32 receipt;
};
struct CloseRequested {
    base::Hash32 lease;
    base::Address by;
    std::uint8_t reason = 0;
    std::uint64_t final_at_s = 0;
};
struct LeaseClosed {
    base::Hash32 lease;
    std::uint64_t paid_atoms = 0;
    std::uint64_t refunded_atoms = 0;
    std::uint8_t reason = 0;
};
/// The owner took an ask or a bid back; its leases go on.
struct OrderCancelled {
    base::Hash32 order;  ///< struct hash
    base::Address by;
};
using LeasesEvent = std::variant<LeaseOpened, ItemFailed, Claimed, ClaimedAlone, Objected,
                                 CloseRequested, LeaseClosed, OrderCancelled>;

/// Empty for an event this program has no use for; chain_bad_answer for a malformed one.
[[nodiscard]] base::Result<std::optional<LeasesEvent>> decode_leases_event(
    const rpc::LogEntry& entry);

/// The order that an item failed for because its owner had cancelled it; empty for other reasons.
[[nodiscard]] std::optional<base::Hash32> cancelled_order(base::ByteView reason);

/// A custom error of the market's contracts in words: "InsufficientFree(5, 10)"; "0x…" if unknown.
[[nodiscard]] std::string explain_revert(base::ByteView data);
/// The same for an error of `Chain::call`, `estimate_gas` or `Submitter::submit`.
[[nodiscard]] std::string explain_revert(const base::Error& error);

}  // namespace ledger::settlement
