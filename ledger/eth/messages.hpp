// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/bytes.hpp"
#include "ledger/base/result.hpp"

#include <cstdint>
#include <string_view>

/// The signed messages of the market: EIP-712 structs, one C++ type each. Field order and types
/// are those of contracts/src/libraries/Messages.sol; golden vectors in tests/vectors/eip712.json.
namespace ledger::eth {

/// What a price counts. Scale: how many units a price buys.
enum class UnitKind : std::uint8_t {
    kGpuMs = 0,         ///< scale 3,600,000 (a GPU-hour)
    kInputToken = 1,    ///< scale 1,000,000
    kOutputToken = 2,   ///< scale 1,000,000
    kTrainingStep = 3,  ///< scale 1
};
inline constexpr std::uint8_t kUnitKindCount = 4;

[[nodiscard]] std::uint64_t unit_scale(UnitKind kind) noexcept;
[[nodiscard]] std::string_view to_string(UnitKind kind) noexcept;  ///< "gpu_ms", "input_token", …
[[nodiscard]] base::Result<UnitKind> parse_unit_kind(std::string_view text);

/// The bill for a running total of units, rounded up once (the payer owes the last part atom).
/// out_of_range when it passes 63 bits. Both sides, and the contract, compute exactly this.
[[nodiscard]] base::Result<std::uint64_t> amount_for(UnitKind kind, std::uint64_t cumulative_units,
                                                     std::uint64_t price_atoms);

/// How an order takes part in the book.
enum class OrderClass : std::uint8_t {
    kOnDemand = 0,
    kInterruptible = 1,
    kReserved = 2,
    kStanding = 3,
};
inline constexpr std::uint8_t kOrderClassCount = 4;
[[nodiscard]] std::string_view to_string(OrderClass value) noexcept;
[[nodiscard]] base::Result<OrderClass> parse_order_class(std::string_view text);

/// What a delegate may sign.
enum DelegationScope : std::uint8_t {
    kScopeOrders = 1,
    kScopeVouchers = 2,
    kScopeAll = 3,
};

/// Where a signature is valid (EIP-712 domain, name "Millrace", version "1").
struct Domain {
    std::uint64_t chain_id = 0;
    base::Address contract;
    friend bool operator==(const Domain&, const Domain&) = default;
};
[[nodiscard]] base::Hash32 domain_separator(const Domain& domain);

/// A provider's signed offer of capacity. Times are unix seconds, prices atoms per scale.
struct Ask {
    base::Address provider;
    base::Hash32 resource_hash;  ///< SHA-256 of the canonical resource document
    UnitKind unit_kind = UnitKind::kTrainingStep;
    std::uint64_t price_atoms = 0;
    std::uint64_t min_units = 0;  ///< least per lease
    std::uint64_t max_units = 0;  ///< most per lease
    OrderClass order_class = OrderClass::kOnDemand;
    std::uint32_t reclaim_window_s = 0;
    std::uint64_t earliest_s = 0;
    std::uint64_t expiry_s = 0;
    std::uint64_t volume_units = 0;  ///< most units out at one time over all leases
    base::Address matcher;           ///< zero: anyone may pair it
    base::Hash32 salt;
    friend bool operator==(const Ask&, const Ask&) = default;
};

/// A buyer's signed demand.
struct Bid {
    base::Address buyer;
    base::Hash32 job_spec_hash;  ///< SHA-256 of the canonical job spec
    UnitKind unit_kind = UnitKind::kTrainingStep;
    std::uint64_t price_ceiling_atoms = 0;
    std::uint64_t max_amount_atoms = 0;  ///< most that may be locked under one lease
    base::Hash32 constraints_hash;       ///< SHA-256 of the canonical constraints document
    OrderClass order_class = OrderClass::kOnDemand;
    std::uint8_t verification_tier = 0;
    std::uint64_t earliest_s = 0;
    std::uint64_t deadline_s = 0;
    std::uint64_t expiry_s = 0;
    std::uint64_t volume_units = 0;
    base::Address matcher;
    base::Hash32 salt;
    friend bool operator==(const Bid&, const Bid&) = default;
};

/// A key allowed to sign for an owner, within a cap.
struct Delegation {
    base::Address owner;
    base::Address delegate;
    std::uint8_t scope = kScopeAll;
    std::uint64_t spend_cap_atoms = 0;
    std::uint64_t expiry_s = 0;
    std::uint64_t nonce = 0;  ///< must equal the owner's on-chain nonce; raising it revokes
    friend bool operator==(const Delegation&, const Delegation&) = default;
};

/// Worker-signed proof of metered work. Units and amount are running totals of the lease.
struct Receipt {
    base::Hash32 lease;
    std::uint64_t sequence = 0;  ///< 1, 2, 3 …
    base::Hash32 previous;       ///< struct hash of the receipt before; zero for the first
    UnitKind unit_kind = UnitKind::kTrainingStep;
    std::uint64_t cumulative_units = 0;
    std::uint64_t price_atoms = 0;
    std::uint64_t cumulative_amount_atoms = 0;
    base::Hash32 model_hash;     ///< weights the work began from
    base::Hash32 request_hash;   ///< salted per lease
    base::Hash32 response_hash;  ///< salted per lease; a training checkpoint's blob hash unsalted
    std::uint64_t start_ms = 0;
    std::uint64_t end_ms = 0;
    friend bool operator==(const Receipt&, const Receipt&) = default;
};

/// The running total of a lease; only the highest matters.
struct Voucher {
    base::Hash32 lease;
    std::uint64_t sequence = 0;  ///< of the last receipt it covers
    std::uint64_t cumulative_units = 0;
    std::uint64_t cumulative_amount_atoms = 0;
    base::Hash32
        receipts_root;  ///< Merkle root (ledger/log) over the lease's receipt struct hashes
    friend bool operator==(const Voucher&, const Voucher&) = default;
};

/// The buyer's side does not accept what a worker claims alone.
struct Objection {
    base::Hash32 lease;
    base::Hash32 receipt;  ///< struct hash of the receipt claimed by
    friend bool operator==(const Objection&, const Objection&) = default;
};

/// A signed log checkpoint. Signed for the ReceiptLog contract, the others for Leases.
struct TreeHead {
    std::uint64_t size = 0;
    base::Hash32 root;
    std::uint64_t time_ms = 0;
    friend bool operator==(const TreeHead&, const TreeHead&) = default;
};

/// keccak(abi.encode(askHash, bidHash, index)): the name of a lease, which so names its two orders.
[[nodiscard]] base::Hash32 lease_id(const base::Hash32& ask_hash, const base::Hash32& bid_hash,
                                    std::uint64_t index);

/// EIP-712 hashStruct: the message's identity (an order's id, a receipt's leaf).
[[nodiscard]] base::Hash32 struct_hash(const Ask& message);
[[nodiscard]] base::Hash32 struct_hash(const Bid& message);
[[nodiscard]] base::Hash32 struct_hash(const Delegation& message);
[[nodiscard]] base::Hash32 struct_hash(const Receipt& message);
[[nodiscard]] base::Hash32 struct_hash(const Voucher& message);
[[nodiscard]] base::Hash32 struct_hash(const Objection& message);
[[nodiscard]] base::Hash32 struct_hash(const TreeHead& message);

/// keccak(0x1901 ‖ domain separator ‖ struct hash): what is signed.
[[nodiscard]] base::Hash32 typed_digest(const base::Hash32& separator,
                                        const base::Hash32& message_hash);

template <typename Message>
[[nodiscard]] base::Hash32 digest(const Domain& domain, const Message& message) {
    return typed_digest(domain_separator(domain), struct_hash(message));
}

}  // namespace ledger::eth
