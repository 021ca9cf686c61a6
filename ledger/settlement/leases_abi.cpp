// SPDX-License-Identifier: Apache-2.0
#include "ledger/settlement/leases_abi.hpp"

#include "ledger/crypto/keccak.hpp"
#include "ledger/eth/abi.hpp"
#include "ledger/settlement/abi_support.hpp"

#include <algorithm>

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
#define VOUCHER_TYPES "(bytes32,uint64,uint64,uint64,bytes32)"

constexpr std::string_view kOpen = "open((" ASK_TYPES ",bytes," BID_TYPES ",bytes," DELEGATION_TYPES
                                   ",bytes,uint64,uint64,address,uint64)[])";
constexpr std::string_view kClaim = "claim((" VOUCHER_TYPES "," PARTIES_TYPES ",bytes,bytes)[])";
constexpr std::string_view kRequestClose = "requestClose(" KEY_TYPES "," PARTIES_TYPES ",uint8)";
constexpr std::string_view kFinalizeClose = "finalizeClose(bytes32," PARTIES_TYPES ")";
constexpr std::string_view kReclaim = "reclaim(" KEY_TYPES "," PARTIES_TYPES ")";
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

Bytes encode(const Parties& parties) {
    Encoder out;
    out.address(parties.buyer).address(parties.provider);
    out.address(parties.voucher_signer).address(parties.worker_key);
    return out.finish();
}

Bytes encode(const LeaseKey& key) {
    return Encoder().word(key.ask_hash).word(key.bid_hash).uint(key.index).finish();
}

Bytes encode(const eth::Voucher& voucher) {
    Encoder out;
    out.word(voucher.lease).uint(voucher.sequence).uint(voucher.cumulative_units);
    out.uint(voucher.cumulative_amount_atoms).word(voucher.receipts_root);
    return out.finish();
}

Bytes encode(const OpenItem& item) {
    Encoder out;
    out.inline_static(encode(item.ask)).bytes(item.ask_signature);
    out.inline_static(encode(item.bid)).bytes(item.bid_signature);
    out.inline_static(encode(item.delegation)).bytes(item.delegation_signature);
    out.uint(item.price_atoms).uint(item.max_units).address(item.worker_key).uint(item.index);
    return out.finish();
}

Bytes encode(const ClaimItem& item) {
    Encoder out;
    out.inline_static(encode(item.voucher)).inline_static(encode(item.parties));
    out.bytes(item.buyer_signature).bytes(item.worker_signature);
    return out.finish();
}

template <typename Item>
Bytes encode_batch(std::string_view signature, const std::vector<Item>& items) {
    std::vector<Bytes> encoded;
    encoded.reserve(items.size());
    for (const Item& item : items)
        encoded.push_back(encode(item));
    return eth::abi::encode_call(signature,
                                 Encoder().dynamic(eth::abi::encode_dynamic_array(encoded)));
}

}  // namespace

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
    return encode_batch(kOpen, items);
}

Bytes encode_claim(const std::vector<ClaimItem>& items) {
    return encode_batch(kClaim, items);
}

Bytes encode_request_close(const LeaseKey& key, const Parties& parties, CloseReason reason) {
    Encoder arguments;
    arguments.inline_static(encode(key)).inline_static(encode(parties));
    arguments.uint(static_cast<std::uint64_t>(reason));
    return eth::abi::encode_call(kRequestClose, arguments);
}

Bytes encode_finalize_close(const Hash32& lease, const Parties& parties) {
    return eth::abi::encode_call(kFinalizeClose,
                                 Encoder().word(lease).inline_static(encode(parties)));
}

Bytes encode_reclaim(const LeaseKey& key, const Parties& parties) {
    return eth::abi::encode_call(
        kReclaim, Encoder().inline_static(encode(key)).inline_static(encode(parties)));
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
        "LeaseOpened(bytes32,address,address,bytes32,bytes32,address,address,uint8,uint64,uint64,"
        "uint64,uint64)");
    Hash32 item_failed = eth::abi::event_topic("ItemFailed(bytes32,uint256,bytes)");
    Hash32 claimed = eth::abi::event_topic(
        "Claimed(bytes32,address,uint64,uint64,uint64,bytes32,uint64,uint64)");
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
    TRY_ASSIGN(const std::uint8_t kind, u8(data, 4));
    if (kind >= eth::kUnitKindCount)
        return base::fail(base::ErrorCode::invalid_encoding, "an unknown unit kind");
    event.unit_kind = static_cast<eth::UnitKind>(kind);
    TRY_ASSIGN(event.price_atoms, data.u64(5));
    TRY_ASSIGN(event.max_units, data.u64(6));
    TRY_ASSIGN(event.locked_atoms, data.u64(7));
    TRY_ASSIGN(event.expiry_s, data.u64(8));
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
    TRY_ASSIGN(event.provider, detail::topic_address(entry, 2));
    TRY_ASSIGN(event.sequence, data.u64(0));
    TRY_ASSIGN(event.cumulative_units, data.u64(1));
    TRY_ASSIGN(event.cumulative_amount_atoms, data.u64(2));
    TRY_ASSIGN(event.receipts_root, data.word(3));
    TRY_ASSIGN(event.paid_atoms, data.u64(4));
    TRY_ASSIGN(event.fee_atoms, data.u64(5));
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
    if (detail::is_event(entry, topics().claimed, 2)) return wrap(decode_claimed(entry));
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
