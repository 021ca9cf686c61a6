// SPDX-License-Identifier: Apache-2.0
#include "ledger/settlement/leases_abi.hpp"

#include "ledger/base/check.hpp"
#include "ledger/crypto/keccak.hpp"
#include "ledger/eth/abi.hpp"
#include "ledger/settlement/abi_support.hpp"

#include <algorithm>
#include <utility>

namespace ledger::settlement {

using base::Bytes;
using base::Hash32;
using base::Result;
using eth::abi::Decoder;
using eth::abi::Encoder;

namespace {

#define ASK_TYPES                                                                            \
    "(address,bytes32,uint8,uint64,uint64,uint64,uint8,uint32,uint64,uint64,uint64,address," \
    "bytes32)"
#define BID_TYPES                                                                           \
    "(address,bytes32,uint8,uint64,uint64,bytes32,uint8,uint8,uint64,uint64,uint64,uint64," \
    "address,"                                                                              \
    "bytes32)"
#define DELEGATION_TYPES "(address,address,uint8,uint64,uint64,uint64)"
#define PARTIES_TYPES "(address,address,address,address)"
#define KEY_TYPES "(bytes32,bytes32,uint64)"

constexpr std::string_view kOpen =
    "open((" ASK_TYPES ",bytes,(" BID_TYPES ",bytes," DELEGATION_TYPES
    ",bytes,uint64,uint64,address,uint64)[])[])";
constexpr std::string_view kClaim = "claim(bytes)";
constexpr std::string_view kRequestClose =
    "requestClose((" KEY_TYPES "," PARTIES_TYPES ",uint8)[])";
constexpr std::string_view kFinalizeClose = "finalizeClose((" KEY_TYPES "," PARTIES_TYPES ")[])";
#define RECEIPT_TYPES \
    "(bytes32,uint64,bytes32,uint8,uint64,uint64,uint64,bytes32,bytes32,bytes32,uint64,uint64)"
constexpr std::string_view kClaimAlone =
    "claimAlone((" PARTIES_TYPES "," RECEIPT_TYPES ",bytes)[])";
constexpr std::string_view kObjectTo = "objectTo((" PARTIES_TYPES ",(bytes32,bytes32),bytes)[])";
constexpr std::string_view kPayAlone = "payAlone((" KEY_TYPES "," PARTIES_TYPES ")[])";
constexpr std::string_view kCancelAsk = "cancelAsk(" ASK_TYPES ")";
constexpr std::string_view kCancelBid = "cancelBid(" BID_TYPES ")";

std::uint64_t number(eth::UnitKind kind) {
    return static_cast<std::uint64_t>(kind);
}
std::uint64_t number(eth::OrderClass value) {
    return static_cast<std::uint64_t>(value);
}

Bytes encode(const eth::Ask& ask) {
    Encoder out;
    out.address(ask.provider).word(ask.resource_hash).uint(number(ask.unit_kind));
    out.uint(ask.price_atoms).uint(ask.min_units).uint(ask.max_units);
    out.uint(number(ask.order_class)).uint(std::uint64_t{ask.reclaim_window_s});
    out.uint(ask.earliest_s).uint(ask.expiry_s).uint(ask.volume_units);
    out.address(ask.matcher).word(ask.salt);
    return out.finish();
}

Bytes encode(const eth::Bid& bid) {
    Encoder out;
    out.address(bid.buyer).word(bid.job_spec_hash).uint(number(bid.unit_kind));
    out.uint(bid.price_ceiling_atoms).uint(bid.max_amount_atoms).word(bid.constraints_hash);
    out.uint(number(bid.order_class)).uint(std::uint64_t{bid.verification_tier});
    out.uint(bid.earliest_s).uint(bid.deadline_s).uint(bid.expiry_s).uint(bid.volume_units);
    out.address(bid.matcher).word(bid.salt);
    return out.finish();
}

Bytes encode(const eth::Delegation& delegation) {
    Encoder out;
    out.address(delegation.owner).address(delegation.delegate);
    out.uint(std::uint64_t{delegation.scope}).uint(delegation.spend_cap_atoms);
    out.uint(delegation.expiry_s).uint(delegation.nonce);
    return out.finish();
}

Bytes encode(const LeaseKey& key) {
    return Encoder().word(key.ask_hash).word(key.bid_hash).uint(key.index).finish();
}

/// Without the ask, which its group has.
Bytes encode(const OpenItem& item) {
    Encoder out;
    out.inline_static(encode(item.bid)).bytes(item.bid_signature);
    out.inline_static(encode(item.delegation)).bytes(item.delegation_signature);
    out.uint(item.price_atoms).uint(item.max_units).address(item.worker_key).uint(item.index);
    return out.finish();
}

/// Neighbours for which `same` holds, as [first, last).
template <typename Item, typename Same>
std::vector<std::pair<std::size_t, std::size_t>> groups_of(const std::vector<Item>& items,
                                                           std::size_t most, const Same& same) {
    std::vector<std::pair<std::size_t, std::size_t>> out;
    for (std::size_t i = 0; i < items.size(); ++i) {
        const bool joins =
            !out.empty() && i - out.back().first < most && same(items[out.back().first], items[i]);
        if (joins)
            out.back().second = i + 1;
        else
            out.emplace_back(i, i + 1);
    }
    return out;
}

// The packed form of claims, described in contracts/src/interfaces/ILeases.sol.

constexpr std::size_t kMostClaimsOfAGroup = 255;
constexpr std::uint64_t kMostUnits = (std::uint64_t{1} << 48) - 1;

void put_number(Bytes& out, std::uint64_t value, int bytes) {
    for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8)
        out.push_back(static_cast<std::uint8_t>(value >> shift));
}

void put_signature(Bytes& out, const Bytes& signature) {
    MR_CHECK(signature.size() <= 0xffff);
    put_number(out, signature.size(), 2);
    base::append(out, signature);
}

void put_claim(Bytes& out, const ClaimItem& item) {
    const eth::Voucher& voucher = item.voucher;
    MR_CHECK(voucher.cumulative_units <= kMostUnits);
    MR_CHECK(voucher.cumulative_amount_atoms <= kMostUnits);
    put_number(out, item.key ? 1 : 0, 1);
    if (item.key) {
        base::append(out, item.key->ask_hash.span());
        base::append(out, item.key->bid_hash.span());
        put_number(out, item.key->index, 8);
    } else {
        base::append(out, voucher.lease.span());
    }
    put_number(out, voucher.sequence, 8);
    put_number(out, voucher.cumulative_units, 6);
    put_number(out, voucher.cumulative_amount_atoms, 6);
    base::append(out, voucher.receipts_root.span());
    base::append(out, item.parties.buyer.span());
    base::append(out, item.parties.voucher_signer.span());
    put_signature(out, item.buyer_signature);
    put_signature(out, item.worker_signature);
}

Bytes encode(const FinalItem& item) {
    return Encoder().inline_static(encode(item.key)).inline_static(encode(item.parties)).finish();
}

Bytes encode(const CloseItem& item) {
    Encoder out;
    out.inline_static(encode(item.key)).inline_static(encode(item.parties));
    out.uint(static_cast<std::uint64_t>(item.reason));
    return out.finish();
}

Bytes encode(const LoneItem& item) {
    return Encoder()
        .inline_static(encode(item.parties))
        .inline_static(settlement::encode(item.receipt.receipt))
        .bytes(item.receipt.signature.span())
        .finish();
}

Bytes encode(const ObjectionItem& item) {
    return Encoder()
        .inline_static(encode(item.parties))
        .word(item.objection.lease)
        .word(item.objection.receipt)
        .bytes(item.signature)
        .finish();
}

template <typename Item>
Bytes encode_dynamic_batch(std::string_view signature, const std::vector<Item>& items) {
    std::vector<Bytes> encoded;
    encoded.reserve(items.size());
    for (const Item& item : items)
        encoded.push_back(encode(item));
    return eth::abi::encode_call(signature,
                                 Encoder().dynamic(eth::abi::encode_dynamic_array(encoded)));
}

template <typename Item>
Bytes encode_static_batch(std::string_view signature, const std::vector<Item>& items) {
    std::vector<Bytes> encoded;
    encoded.reserve(items.size());
    for (const Item& item : items)
        encoded.push_back(encode(item));
    return eth::abi::encode_call(signature,
                                 Encoder().dynamic(eth::abi::encode_static_array(encoded)));
}

}  // namespace

Bytes encode(const Parties& parties) {
    Encoder out;
    out.address(parties.buyer).address(parties.provider);
    out.address(parties.voucher_signer).address(parties.worker_key);
    return out.finish();
}

Bytes encode(const eth::Receipt& receipt) {
    Encoder out;
    out.word(receipt.lease).uint(receipt.sequence).word(receipt.previous);
    out.uint(number(receipt.unit_kind)).uint(receipt.cumulative_units).uint(receipt.price_atoms);
    out.uint(receipt.cumulative_amount_atoms).word(receipt.model_hash).word(receipt.request_hash);
    out.word(receipt.response_hash).uint(receipt.start_ms).uint(receipt.end_ms);
    return out.finish();
}

Hash32 parties_hash(const Parties& parties) {
    return crypto::keccak256(encode(parties));
}

Hash32 lease_id(const LeaseKey& key) {
    return eth::lease_id(key.ask_hash, key.bid_hash, key.index);
}

std::string_view to_string(CloseReason reason) noexcept {
    switch (reason) {
        case CloseReason::kCompleted:
            return "completed";
        case CloseReason::kBuyerCancelled:
            return "buyer_cancelled";
        case CloseReason::kWorkerLost:
            return "worker_lost";
        case CloseReason::kWorkerFailed:
            return "worker_failed";
        case CloseReason::kExpired:
            return "expired";
        case CloseReason::kOutbid:
            return "outbid";
        case CloseReason::kProviderLeft:
            return "provider_left";
    }
    return "unknown";
}

Bytes encode_open(const std::vector<OpenItem>& items) {
    const auto same_ask = [](const OpenItem& a, const OpenItem& b) {
        return a.ask == b.ask && a.ask_signature == b.ask_signature;
    };
    std::vector<Bytes> groups;
    for (const auto& [first, last] : groups_of(items, items.size(), same_ask)) {
        std::vector<Bytes> encoded;
        for (std::size_t i = first; i < last; ++i)
            encoded.push_back(encode(items[i]));
        Encoder group;
        group.inline_static(encode(items[first].ask)).bytes(items[first].ask_signature);
        group.dynamic(eth::abi::encode_dynamic_array(encoded));
        groups.push_back(group.finish());
    }
    return eth::abi::encode_call(kOpen, Encoder().dynamic(eth::abi::encode_dynamic_array(groups)));
}

Bytes encode_claim(const std::vector<ClaimItem>& items) {
    const auto same_worker = [](const ClaimItem& a, const ClaimItem& b) {
        return a.parties.provider == b.parties.provider &&
               a.parties.worker_key == b.parties.worker_key;
    };
    Bytes batch;
    for (const auto& [first, last] : groups_of(items, kMostClaimsOfAGroup, same_worker)) {
        base::append(batch, items[first].parties.provider.span());
        base::append(batch, items[first].parties.worker_key.span());
        put_number(batch, last - first, 1);
        for (std::size_t i = first; i < last; ++i)
            put_claim(batch, items[i]);
    }
    return eth::abi::encode_call(kClaim, Encoder().bytes(batch));
}

Bytes encode_request_close(const std::vector<CloseItem>& items) {
    return encode_static_batch(kRequestClose, items);
}

Bytes encode_finalize_close(const std::vector<FinalItem>& items) {
    return encode_static_batch(kFinalizeClose, items);
}

Bytes encode_claim_alone(const std::vector<LoneItem>& items) {
    return encode_dynamic_batch(kClaimAlone, items);
}

Bytes encode_object_to(const std::vector<ObjectionItem>& items) {
    return encode_dynamic_batch(kObjectTo, items);
}

Bytes encode_pay_alone(const std::vector<FinalItem>& items) {
    return encode_static_batch(kPayAlone, items);
}

Bytes encode_revoke_delegations() {
    return eth::abi::encode_call("revokeDelegations()", Encoder());
}

Bytes encode_cancel_ask(const eth::Ask& ask) {
    return eth::abi::encode_call(kCancelAsk, Encoder().inline_static(encode(ask)));
}

Bytes encode_cancel_bid(const eth::Bid& bid) {
    return eth::abi::encode_call(kCancelBid, Encoder().inline_static(encode(bid)));
}

// ---- views ------------------------------------------------------------------------------------

namespace {

Result<LeaseView> decode_lease_view(const Decoder& decoder) {
    LeaseView view;
    TRY_ASSIGN(view.locked_atoms, decoder.u64(0));
    TRY_ASSIGN(view.paid_atoms, decoder.u64(1));
    TRY_ASSIGN(view.max_units, decoder.u64(2));
    TRY_ASSIGN(view.claimed_units, decoder.u64(3));
    TRY_ASSIGN(view.expiry_s, decoder.u64(4));
    TRY_ASSIGN(const std::uint64_t state, decoder.u64(5));
    if (state > static_cast<std::uint64_t>(LeaseState::kClosed))
        return base::fail(base::ErrorCode::chain_bad_answer, "a lease's state");
    view.state = static_cast<LeaseState>(state);
    return view;
}

}  // namespace

Result<LeaseView> read_lease(rpc::Chain& chain, const base::Address& leases, const Hash32& lease,
                             const Parties& parties, rpc::BlockTag at) {
    TRY_ASSIGN(const Bytes answer,
               detail::view(chain, leases, "leases(bytes32,bytes32)",
                            Encoder().word(lease).word(parties_hash(parties)), at));
    return detail::as_answer(decode_lease_view(Decoder(answer)));
}

namespace {

Result<LoneClaimView> decode_lone_claim(const Decoder& decoder) {
    LoneClaimView view;
    TRY_ASSIGN(view.receipt, decoder.word(0));
    TRY_ASSIGN(view.units, decoder.u64(1));
    TRY_ASSIGN(view.amount_atoms, decoder.u64(2));
    TRY_ASSIGN(view.payable_at_s, decoder.u64(3));
    TRY_ASSIGN(view.is_objected, decoder.boolean(4));
    return view;
}

}  // namespace

Result<LoneClaimView> read_lone_claim(rpc::Chain& chain, const base::Address& leases,
                                      const Hash32& lease, rpc::BlockTag at) {
    TRY_ASSIGN(const Bytes answer,
               detail::view(chain, leases, "loneClaim(bytes32)", Encoder().word(lease), at));
    return detail::as_answer(decode_lone_claim(Decoder(answer)));
}

Result<std::uint64_t> read_final_at(rpc::Chain& chain, const base::Address& leases,
                                    const Hash32& lease, rpc::BlockTag at) {
    TRY_ASSIGN(const Bytes answer,
               detail::view(chain, leases, "finalAt(bytes32)", Encoder().word(lease), at));
    return detail::as_answer(Decoder(answer).u64(0));
}

Result<std::uint64_t> read_delegation_nonce(rpc::Chain& chain, const base::Address& leases,
                                            const base::Address& owner, rpc::BlockTag at) {
    TRY_ASSIGN(const Bytes answer, detail::view(chain, leases, "delegationNonce(address)",
                                                Encoder().address(owner), at));
    return detail::as_answer(Decoder(answer).u64(0));
}

// ---- events -----------------------------------------------------------------------------------

namespace {

struct Topics {
    Hash32 opened = eth::abi::event_topic(
        "LeaseOpened(bytes32,address,address,bytes32,bytes32,address,address,uint256)");
    Hash32 item_failed = eth::abi::event_topic("ItemFailed(bytes32,uint256,bytes)");
    Hash32 claimed = eth::abi::event_topic("Claimed(bytes32,bytes32,uint256)");
    Hash32 claimed_alone =
        eth::abi::event_topic("ClaimedAlone(bytes32,bytes32,uint64,uint64,uint64)");
    Hash32 objected = eth::abi::event_topic("Objected(bytes32,bytes32)");
    Hash32 close_requested = eth::abi::event_topic("CloseRequested(bytes32,address,uint8,uint64)");
    Hash32 closed = eth::abi::event_topic("LeaseClosed(bytes32,uint64,uint64,uint8)");
    Hash32 cancelled = eth::abi::event_topic("OrderCancelled(bytes32,address)");
};
const Topics& topics() {
    static const Topics instance;
    return instance;
}

Result<std::uint8_t> u8(const Decoder& decoder, std::size_t slot) {
    TRY_ASSIGN(const std::uint64_t value, decoder.u64(slot));
    if (value > 255) return base::fail(base::ErrorCode::invalid_encoding, "abi: not a uint8");
    return static_cast<std::uint8_t>(value);
}

/// The fields of a packed word, from its high end.
class Fields {
 public:
    explicit Fields(const Hash32& word) : word_(word) {}
    std::uint64_t next(std::size_t bytes) {
        std::uint64_t value = 0;
        for (; bytes > 0; --bytes)
            value = value << 8 | word_.data()[at_++];
        return value;
    }

 private:
    Hash32 word_;
    std::size_t at_ = 0;
};

Result<LeaseOpened> decode_opened(const rpc::LogEntry& entry) {
    const Decoder data(entry.data);
    LeaseOpened event;
    event.lease = entry.topics[1];
    TRY_ASSIGN(event.buyer, detail::topic_address(entry, 2));
    TRY_ASSIGN(event.provider, detail::topic_address(entry, 3));
    TRY_ASSIGN(event.ask_hash, data.word(0));
    TRY_ASSIGN(event.bid_hash, data.word(1));
    TRY_ASSIGN(event.voucher_signer, data.address(2));
    TRY_ASSIGN(event.worker_key, data.address(3));
    TRY_ASSIGN(const Hash32 terms, data.word(4));
    Fields fields(terms);
    const std::uint64_t kind = fields.next(5);
    if (kind >= eth::kUnitKindCount)
        return base::fail(base::ErrorCode::invalid_encoding, "an unknown unit kind");
    event.unit_kind = static_cast<eth::UnitKind>(kind);
    event.price_atoms = fields.next(8);
    event.max_units = fields.next(6);
    event.locked_atoms = fields.next(6);
    event.expiry_s = fields.next(5);
    event.fee_bps = fields.next(2);
    return event;
}

Result<ItemFailed> decode_item_failed(const rpc::LogEntry& entry) {
    const Decoder data(entry.data);
    ItemFailed event;
    event.lease = entry.topics[1];
    TRY_ASSIGN(event.index, data.u64(0));
    TRY_ASSIGN(const base::ByteView reason, data.bytes(1));
    event.reason.assign(reason.begin(), reason.end());
    return event;
}

Result<Claimed> decode_claimed(const rpc::LogEntry& entry) {
    const Decoder data(entry.data);
    Claimed event;
    event.lease = entry.topics[1];
    TRY_ASSIGN(event.receipts_root, data.word(0));
    TRY_ASSIGN(const Hash32 totals, data.word(1));
    Fields fields(totals);
    event.sequence = fields.next(8);
    event.cumulative_units = fields.next(6);
    event.cumulative_amount_atoms = fields.next(6);
    event.paid_atoms = fields.next(6);
    event.fee_atoms = fields.next(6);
    return event;
}

Result<ClaimedAlone> decode_claimed_alone(const rpc::LogEntry& entry) {
    const Decoder data(entry.data);
    ClaimedAlone event;
    event.lease = entry.topics[1];
    TRY_ASSIGN(event.receipt, data.word(0));
    TRY_ASSIGN(event.units, data.u64(1));
    TRY_ASSIGN(event.amount_atoms, data.u64(2));
    TRY_ASSIGN(event.payable_at_s, data.u64(3));
    return event;
}

Result<Objected> decode_objected(const rpc::LogEntry& entry) {
    Objected event;
    event.lease = entry.topics[1];
    TRY_ASSIGN(event.receipt, Decoder(entry.data).word(0));
    return event;
}

Result<CloseRequested> decode_close_requested(const rpc::LogEntry& entry) {
    const Decoder data(entry.data);
    CloseRequested event;
    event.lease = entry.topics[1];
    TRY_ASSIGN(event.by, data.address(0));
    TRY_ASSIGN(event.reason, u8(data, 1));
    TRY_ASSIGN(event.final_at_s, data.u64(2));
    return event;
}

Result<LeaseClosed> decode_closed(const rpc::LogEntry& entry) {
    const Decoder data(entry.data);
    LeaseClosed event;
    event.lease = entry.topics[1];
    TRY_ASSIGN(event.paid_atoms, data.u64(0));
    TRY_ASSIGN(event.refunded_atoms, data.u64(1));
    TRY_ASSIGN(event.reason, u8(data, 2));
    return event;
}

Result<OrderCancelled> decode_cancelled(const rpc::LogEntry& entry) {
    OrderCancelled event;
    event.order = entry.topics[1];
    TRY_ASSIGN(event.by, detail::topic_address(entry, 2));
    return event;
}

template <typename Event>
Result<std::optional<LeasesEvent>> wrap(Result<Event> event) {
    TRY_ASSIGN(Event value, detail::as_answer(std::move(event)));
    return LeasesEvent(std::move(value));
}

}  // namespace

Result<std::optional<LeasesEvent>> decode_leases_event(const rpc::LogEntry& entry) {
    if (detail::is_event(entry, topics().opened, 3)) return wrap(decode_opened(entry));
    if (detail::is_event(entry, topics().item_failed, 1)) return wrap(decode_item_failed(entry));
    if (detail::is_event(entry, topics().claimed, 1)) return wrap(decode_claimed(entry));
    if (detail::is_event(entry, topics().claimed_alone, 1))
        return wrap(decode_claimed_alone(entry));
    if (detail::is_event(entry, topics().objected, 1)) return wrap(decode_objected(entry));
    if (detail::is_event(entry, topics().close_requested, 1))
        return wrap(decode_close_requested(entry));
    if (detail::is_event(entry, topics().closed, 1)) return wrap(decode_closed(entry));
    if (detail::is_event(entry, topics().cancelled, 2)) return wrap(decode_cancelled(entry));
    return std::nullopt;
}

std::optional<Hash32> cancelled_order(base::ByteView reason) {
    const auto selector = eth::abi::selector("OrderIsCancelled(bytes32)");
    if (reason.size() != 4 + 32 || !std::equal(selector.begin(), selector.end(), reason.begin()))
        return std::nullopt;
    return Hash32(reason.subspan(4).first<32>());
}

}  // namespace ledger::settlement
