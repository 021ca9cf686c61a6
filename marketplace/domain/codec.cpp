// SPDX-License-Identifier: Apache-2.0
#include "marketplace/domain/codec.hpp"

#include "marketplace/domain/command.hpp"
#include "marketplace/domain/event.hpp"

#include <utility>
#include <variant>

namespace marketplace::domain {
namespace {

// Commands
template <typename A>
void fields(A& a, Like<PostAsk> auto& v) {
    a(v.ask, v.signature, v.resource);
}
template <typename A>
void fields(A& a, Like<PostJob> auto& v) {
    a(v.id, v.terms, v.legs, v.delegation, v.delegation_signature);
}
template <typename A>
void fields(A& a, Like<CancelAsk> auto& v) {
    a(v.ask, v.by);
}
template <typename A>
void fields(A& a, Like<CancelJob> auto& v) {
    a(v.job, v.by);
}
template <typename A>
void fields(A& a, Like<WorkerConnected> auto& v) {
    a(v.worker, v.provider);
}
template <typename A>
void fields(A& a, Like<WorkerLost> auto& v) {
    a(v.worker);
}
template <typename A>
void fields(A& a, Like<EscrowDeposited> auto& v) {
    a(v.account, v.amount_atoms, v.transaction, v.log_index);
}
template <typename A>
void fields(A& a, Like<EscrowWithdrawn> auto& v) {
    a(v.account, v.amount_atoms, v.transaction, v.log_index);
}
template <typename A>
void fields(A& a, Like<LeaseOpened> auto& v) {
    a(v.lease, v.locked_atoms, v.transaction);
}
template <typename A>
void fields(A& a, Like<LeaseOpenFailed> auto& v) {
    a(v.lease, v.reason);
}
template <typename A>
void fields(A& a, Like<ClaimConfirmed> auto& v) {
    a(v.lease, v.sequence, v.cumulative_amount_atoms, v.paid_atoms, v.fee_atoms, v.transaction);
}
template <typename A>
void fields(A& a, Like<LeaseCloseConfirmed> auto& v) {
    a(v.lease, v.paid_atoms, v.refunded_atoms, v.transaction);
}
template <typename A>
void fields(A& a, Like<LeaseStarted> auto& v) {
    a(v.lease);
}
template <typename A>
void fields(A& a, Like<SubmitReceipt> auto& v) {
    a(v.receipt, v.signature);
}
template <typename A>
void fields(A& a, Like<RecordVoucher> auto& v) {
    a(v.voucher, v.buyer_signature, v.worker_signature);
}
template <typename A>
void fields(A& a, Like<LeaseFinished> auto& v) {
    a(v.lease);
}
template <typename A>
void fields(A& a, Like<LeaseFailed> auto& v) {
    a(v.lease, v.code);
}
template <typename A>
void fields(A&, Like<Tick> auto&) {}
template <typename A>
void fields(A& a, Like<LeaseCloseRequested> auto& v) {
    a(v.lease, v.transaction);
}
template <typename A>
void fields(A& a, Like<AmendAsk> auto& v) {
    a(v.old_ask);
    fields(a, v.replacement);
}
template <typename A>
void fields(A& a, Like<AmendJob> auto& v) {
    a(v.old_job);
    fields(a, v.replacement);
}

// Events
template <typename A>
void fields(A& a, Like<AskAccepted> auto& v) {
    a(v.ask);
}
template <typename A>
void fields(A& a, Like<AskClosed> auto& v) {
    a(v.ask, v.reason);
}
template <typename A>
void fields(A& a, Like<JobChanged> auto& v) {
    a(v.job, v.state, v.units_done, v.reason);
}
template <typename A>
void fields(A& a, Like<NotMatched> auto& v) {
    a(v.job, v.reasons);
}
template <typename A>
void fields(A& a, Like<Matched> auto& v) {
    a(v.lease, v.job, v.ask_hash, v.bid_hash, v.index, v.price_atoms, v.max_units, v.locked_atoms);
}
template <typename A>
void fields(A& a, Like<LeaseChanged> auto& v) {
    a(v.lease, v.state, v.reason);
}
template <typename A>
void fields(A& a, Like<ReceiptAccepted> auto& v) {
    a(v.lease, v.sequence, v.receipt, v.receipts_root);
}
template <typename A>
void fields(A& a, Like<VoucherAccepted> auto& v) {
    a(v.lease, v.sequence, v.amount_atoms);
}
template <typename A>
void fields(A& a, Like<Paid> auto& v) {
    a(v.lease, v.paid_atoms, v.fee_atoms);
}
template <typename A>
void fields(A& a, Like<BalanceChanged> auto& v) {
    a(v.account, v.available_atoms, v.held_atoms, v.earned_atoms);
}
template <typename A>
void fields(A& a, Like<WorkerChanged> auto& v) {
    a(v.worker, v.provider, v.connected);
}
template <typename A>
void fields(A& a, Like<LeaseReclaimed> auto& v) {
    a(v.lease, v.by, v.at_ms);
}
template <typename A>
void fields(A& a, Like<ReceiptEquivocated> auto& v) {
    a(v.lease, v.sequence, v.first, v.other);
}
template <typename A>
void fields(A& a, Like<BatchCleared> auto& v) {
    a(v.unit_kind, v.gpu_models, v.price_atoms, v.bids, v.matched);
}

template <typename Variant>
void write_variant(Bytes& out, const Variant& value) {
    out.push_back(static_cast<std::uint8_t>(value.index()));
    Writer writer(out);
    std::visit([&writer](const auto& alternative) { fields(writer, alternative); }, value);
}

/// Makes the alternative that the kind byte names and reads it.
template <typename Variant, std::size_t... I>
bool read_alternative(Reader& reader, Variant& value, std::uint8_t kind,
                      std::index_sequence<I...> /*alternatives*/) {
    return ((kind == I ? (fields(reader, value.template emplace<I>()), true) : false) || ...);
}

template <typename Variant>
ledger::base::Result<Variant> read_variant(ledger::base::ByteView bytes, const char* what) {
    using ledger::base::ErrorCode;
    Reader reader(bytes);
    std::uint8_t kind = 0;
    reader(kind);
    Variant value;
    constexpr std::size_t kSize = std::variant_size_v<Variant>;
    const bool known =
        reader.ok() && read_alternative(reader, value, kind, std::make_index_sequence<kSize>());
    if (!known) return ledger::base::fail(ErrorCode::invalid_encoding, std::string(what) + " kind");
    if (!reader.complete())
        return ledger::base::fail(ErrorCode::invalid_encoding, std::string(what) + " bytes");
    return value;
}

}  // namespace

void encode(ledger::base::Bytes& out, const Command& command) {
    write_variant(out, command);
}

ledger::base::Result<Command> decode_command(ledger::base::ByteView bytes) {
    return read_variant<Command>(bytes, "command");
}

void encode(ledger::base::Bytes& out, const Event& event) {
    write_variant(out, event);
}

ledger::base::Result<Event> decode_event(ledger::base::ByteView bytes) {
    return read_variant<Event>(bytes, "event");
}

}  // namespace marketplace::domain
