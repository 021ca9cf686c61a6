// SPDX-License-Identifier: Apache-2.0
#include "ledger/eth/messages.hpp"

#include "ledger/base/checked.hpp"
#include "ledger/crypto/keccak.hpp"

#include <algorithm>
#include <array>
#include <limits>

namespace ledger::eth {
namespace {

using base::ErrorCode;
using base::fail;

constexpr std::array<std::string_view, kUnitKindCount> kUnitKindNames = {
    "gpu_ms", "input_token", "output_token", "training_step"};
constexpr std::array<std::string_view, kOrderClassCount> kOrderClassNames = {
    "on_demand", "interruptible", "reserved", "standing"};

constexpr std::string_view kDomainType =
    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)";
constexpr std::string_view kAskType =
    "Ask(address provider,bytes32 resourceHash,uint8 unitKind,uint64 price,uint64 minUnits,"
    "uint64 maxUnits,uint8 orderClass,uint32 reclaimWindow,uint64 earliest,uint64 expiry,"
    "uint64 volume,address matcher,bytes32 salt)";
constexpr std::string_view kBidType =
    "Bid(address buyer,bytes32 jobSpecHash,uint8 unitKind,uint64 priceCeiling,uint64 maxAmount,"
    "bytes32 constraintsHash,uint8 orderClass,uint8 verificationTier,uint64 earliest,"
    "uint64 deadline,uint64 expiry,uint64 volume,address matcher,bytes32 salt)";
constexpr std::string_view kDelegationType =
    "Delegation(address owner,address delegate,uint8 scope,uint64 spendCap,uint64 expiry,"
    "uint64 nonce)";
constexpr std::string_view kReceiptType =
    "Receipt(bytes32 lease,uint64 sequence,bytes32 previous,uint8 unitKind,"
    "uint64 cumulativeUnits,uint64 price,uint64 cumulativeAmount,bytes32 modelHash,"
    "bytes32 requestHash,bytes32 responseHash,uint64 startMs,uint64 endMs)";
constexpr std::string_view kVoucherType =
    "Voucher(bytes32 lease,uint64 sequence,uint64 cumulativeUnits,uint64 cumulativeAmount,"
    "bytes32 receiptsRoot)";
constexpr std::string_view kObjectionType = "Objection(bytes32 lease,bytes32 receipt)";
constexpr std::string_view kTreeHeadType = "TreeHead(uint64 size,bytes32 root,uint64 timeMs)";

/// Builds encodeData of EIP-712: 32-byte words behind the type hash, without heap.
class StructHasher {
 public:
    explicit StructHasher(const base::Hash32& type_hash) { put(type_hash); }

    StructHasher& put(const base::Hash32& value) {
        std::copy(value.begin(), value.end(), buffer_.begin() + static_cast<std::ptrdiff_t>(size_));
        size_ += 32;
        return *this;
    }
    StructHasher& put(const base::Address& value) {
        base::Hash32 word;
        std::copy(value.begin(), value.end(), word.data() + 12);
        return put(word);
    }
    StructHasher& put(std::uint64_t value) {
        base::Hash32 word;
        for (std::size_t i = 0; i < 8; ++i)
            word.data()[31 - i] = static_cast<std::uint8_t>(value >> (8 * i));
        return put(word);
    }
    StructHasher& put(UnitKind value) { return put(static_cast<std::uint64_t>(value)); }
    StructHasher& put(OrderClass value) { return put(static_cast<std::uint64_t>(value)); }

    [[nodiscard]] base::Hash32 finish() const {
        return crypto::keccak256(base::ByteView(buffer_).first(size_));
    }

 private:
    std::array<std::uint8_t, 16 * 32> buffer_{};
    std::size_t size_ = 0;
};

base::Hash32 hash_text(std::string_view text) {
    return crypto::keccak256(base::as_bytes(text));
}

template <std::size_t N>
std::optional<std::size_t> index_of(const std::array<std::string_view, N>& names,
                                    std::string_view text) {
    const auto found = std::find(names.begin(), names.end(), text);
    if (found == names.end()) return std::nullopt;
    return static_cast<std::size_t>(found - names.begin());
}

}  // namespace

std::uint64_t unit_scale(UnitKind kind) noexcept {
    switch (kind) {
        case UnitKind::kGpuMs:
            return 3'600'000;
        case UnitKind::kInputToken:
        case UnitKind::kOutputToken:
            return 1'000'000;
        case UnitKind::kTrainingStep:
            return 1;
    }
    return 1;
}

std::string_view to_string(UnitKind kind) noexcept {
    return kUnitKindNames[static_cast<std::size_t>(kind)];
}

base::Result<UnitKind> parse_unit_kind(std::string_view text) {
    const auto index = index_of(kUnitKindNames, text);
    if (!index)
        return fail(ErrorCode::invalid_field,
                    "unit kind is one of gpu_ms, input_token, output_token, training_step");
    return static_cast<UnitKind>(*index);
}

std::string_view to_string(OrderClass value) noexcept {
    return kOrderClassNames[static_cast<std::size_t>(value)];
}

base::Result<OrderClass> parse_order_class(std::string_view text) {
    const auto index = index_of(kOrderClassNames, text);
    if (!index)
        return fail(ErrorCode::invalid_field,
                    "class is one of on_demand, interruptible, reserved, standing");
    return static_cast<OrderClass>(*index);
}

base::Result<std::uint64_t> amount_for(UnitKind kind, std::uint64_t cumulative_units,
                                       std::uint64_t price_atoms) {
    const auto amount = base::mul_div_up(cumulative_units, price_atoms, unit_scale(kind));
    constexpr auto kMax = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
    if (!amount || *amount > kMax)
        return fail(ErrorCode::out_of_range, "units times price passes 63 bits");
    return *amount;
}

base::Hash32 domain_separator(const Domain& domain) {
    static const base::Hash32 kType = hash_text(kDomainType);
    static const base::Hash32 kName = hash_text("Millrace");
    static const base::Hash32 kVersion = hash_text("1");
    return StructHasher(kType)
        .put(kName)
        .put(kVersion)
        .put(domain.chain_id)
        .put(domain.contract)
        .finish();
}

base::Hash32 lease_id(const base::Hash32& ask_hash, const base::Hash32& bid_hash,
                      std::uint64_t index) {
    // abi.encode of three static words.
    std::array<std::uint8_t, 96> words{};
    std::copy(ask_hash.begin(), ask_hash.end(), words.begin());
    std::copy(bid_hash.begin(), bid_hash.end(), words.begin() + 32);
    for (std::size_t i = 0; i < 8; ++i)
        words[95 - i] = static_cast<std::uint8_t>(index >> (8 * i));
    return crypto::keccak256(words);
}

base::Hash32 struct_hash(const Ask& m) {
    static const base::Hash32 kType = hash_text(kAskType);
    return StructHasher(kType)
        .put(m.provider)
        .put(m.resource_hash)
        .put(m.unit_kind)
        .put(m.price_atoms)
        .put(m.min_units)
        .put(m.max_units)
        .put(m.order_class)
        .put(std::uint64_t{m.reclaim_window_s})
        .put(m.earliest_s)
        .put(m.expiry_s)
        .put(m.volume_units)
        .put(m.matcher)
        .put(m.salt)
        .finish();
}

base::Hash32 struct_hash(const Bid& m) {
    static const base::Hash32 kType = hash_text(kBidType);
    return StructHasher(kType)
        .put(m.buyer)
        .put(m.job_spec_hash)
        .put(m.unit_kind)
        .put(m.price_ceiling_atoms)
        .put(m.max_amount_atoms)
        .put(m.constraints_hash)
        .put(m.order_class)
        .put(std::uint64_t{m.verification_tier})
        .put(m.earliest_s)
        .put(m.deadline_s)
        .put(m.expiry_s)
        .put(m.volume_units)
        .put(m.matcher)
        .put(m.salt)
        .finish();
}

base::Hash32 struct_hash(const Delegation& m) {
    static const base::Hash32 kType = hash_text(kDelegationType);
    return StructHasher(kType)
        .put(m.owner)
        .put(m.delegate)
        .put(std::uint64_t{m.scope})
        .put(m.spend_cap_atoms)
        .put(m.expiry_s)
        .put(m.nonce)
        .finish();
}

base::Hash32 struct_hash(const Receipt& m) {
    static const base::Hash32 kType = hash_text(kReceiptType);
    return StructHasher(kType)
        .put(m.lease)
        .put(m.sequence)
        .put(m.previous)
        .put(m.unit_kind)
        .put(m.cumulative_units)
        .put(m.price_atoms)
        .put(m.cumulative_amount_atoms)
        .put(m.model_hash)
        .put(m.request_hash)
        .put(m.response_hash)
        .put(m.start_ms)
        .put(m.end_ms)
        .finish();
}

base::Hash32 struct_hash(const Voucher& m) {
    static const base::Hash32 kType = hash_text(kVoucherType);
    return StructHasher(kType)
        .put(m.lease)
        .put(m.sequence)
        .put(m.cumulative_units)
        .put(m.cumulative_amount_atoms)
        .put(m.receipts_root)
        .finish();
}

base::Hash32 struct_hash(const Objection& m) {
    static const base::Hash32 kType = hash_text(kObjectionType);
    return StructHasher(kType).put(m.lease).put(m.receipt).finish();
}

base::Hash32 struct_hash(const TreeHead& m) {
    static const base::Hash32 kType = hash_text(kTreeHeadType);
    return StructHasher(kType).put(m.size).put(m.root).put(m.time_ms).finish();
}

base::Hash32 typed_digest(const base::Hash32& separator, const base::Hash32& message_hash) {
    std::array<std::uint8_t, 66> bytes{0x19, 0x01};
    std::copy(separator.begin(), separator.end(), bytes.begin() + 2);
    std::copy(message_hash.begin(), message_hash.end(), bytes.begin() + 34);
    return crypto::keccak256(bytes);
}

}  // namespace ledger::eth
