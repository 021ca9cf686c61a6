// SPDX-License-Identifier: Apache-2.0
#include "ledger/base/hex.hpp"
#include "ledger/crypto/address.hpp"
#include "ledger/settlement/escrow_abi.hpp"
#include "ledger/settlement/permit2_abi.hpp"
#include "marketplace/app/settlement_loop.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <utility>

/// Payments up to an amount (x402's "upto"): checked before a call, taken after it.
namespace marketplace::app {
namespace {

namespace settlement = ledger::settlement;
using ledger::base::Error;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;
using ledger::crypto::to_checksum;
using storage::UptoState;

constexpr std::uint64_t kOverdueS = 15;  // a block's time may lag behind the clock
constexpr domain::TimeMs kRetryMs = 5'000;
constexpr domain::TimeMs kForgetEveryMs = 3'600'000;

}  // namespace

Result<void> SettlementLoop::check_payment(const api::UptoPayment& payment) {
    const api::PaymentTerms terms = deps_.payments->terms();
    if (!terms.upto) return fail(ErrorCode::unavailable, "such payments are not taken now");
    TRY(upto_.check(payment));
    const ledger::eth::UptoPermit& permit = payment.permit;
    TRY_ASSIGN(const bool is_used,
               settlement::is_permit2_nonce_used(deps_.chain, terms.upto->permit2, permit.payer,
                                                 permit.nonce));
    if (is_used) return fail(ErrorCode::nonce_used);
    TRY_ASSIGN(const ledger::eth::U256 balance,
               settlement::read_token_balance(deps_.chain, terms.token, permit.payer,
                                              ledger::rpc::BlockTag::Name::kLatest));
    if (balance < permit.amount_max) return fail(ErrorCode::insufficient_funds);
    TRY_ASSIGN(const ledger::eth::U256 allowance,
               settlement::read_token_allowance(deps_.chain, terms.token, permit.payer,
                                                terms.upto->permit2));
    if (allowance < permit.amount_max)
        return fail(
            ErrorCode::wrong_state,
            fmt::format("let Permit2 move the token, once: call approve({}, {}) of the "
                        "token {}; or pay by the scheme \"exact\", which needs no approval",
                        to_checksum(terms.upto->permit2),
                        ledger::eth::to_decimal(permit.amount_max), to_checksum(terms.token)));
    ledger::rpc::CallRequest call;
    call.from = terms.upto->facilitator;
    call.to = permit.spender;
    call.data = ledger::eth::encode_upto_settle(permit, permit.amount_max, payment.signature);
    const auto answer = deps_.chain.call(call, ledger::rpc::BlockTag::Name::kLatest);
    if (!answer) return tl::make_unexpected(answer.error());
    return upto_.reserve(payment);
}

Result<void> SettlementLoop::keep_charges() {
    if (deps_.payments == nullptr) return {};
    return upto_.keep(deps_.payments->take_charges(), deps_.payments->terms().units_per_atom);
}

Result<void> SettlementLoop::take_owed() {
    if (deps_.payments == nullptr) return {};
    for (const domain::Hash32& name : upto_.owed()) {
        TRY_ASSIGN(const bool goes_on, take_one(name));
        if (!goes_on) break;
    }
    const domain::TimeMs now = deps_.clock.now_ms();
    if (now < upto_forget_ms_) return {};
    upto_forget_ms_ = now + kForgetEveryMs;
    return upto_.forget(now / 1000);
}

Result<bool> SettlementLoop::take_one(const domain::Hash32& name) {
    UptoBook::Entry& entry = *upto_.find(name);
    const Item item{storage::UptoStore::kItem, name, 0};
    const domain::TimeMs now = deps_.clock.now_ms();
    if (bound_.contains(item)) return true;
    if (now / 1000 >= entry.row.deadline_s + kOverdueS) {
        TRY(end_upto(name, Error(ErrorCode::timeout, "the payment came into no block in time")));
        return true;
    }
    if (now < entry.retry_at_ms) return true;
    const auto sent = submit(item.kind, entry.row.proxy, entry.row.call, {item});
    if (sent) return true;
    const ErrorCode code = sent.error().code();
    if (code == ErrorCode::queue_full) return false;
    if (code == ErrorCode::policy_refused && deps_.payments->terms().upto) {
        spdlog::error("x402 by \"upto\" is offered no more: {}", sent.error().message());
        deps_.payments->withdraw_upto();
    }
    const bool is_no = code == ErrorCode::chain_refused || code == ErrorCode::too_large;
    if (is_no && entry.row.state == UptoState::kTaking) {
        TRY(end_upto(name, Error(ErrorCode::chain_refused, "the chain refused the payment")));
        return true;
    }
    if (!is_no && code != ErrorCode::policy_refused) return tl::make_unexpected(sent.error());
    if (entry.retry_at_ms == 0)
        spdlog::warn("upto: {} atoms of {} cannot be taken now: {}", entry.row.atoms,
                     to_checksum(entry.row.payer), settlement::explain_revert(sent.error()));
    entry.retry_at_ms = now + kRetryMs;
    return true;
}

/// It was not taken and will not be. Only one that had its answer lost us something.
Result<void> SettlementLoop::end_upto(const domain::Hash32& name, const Error& error) {
    UptoBook::Entry& entry = *upto_.find(name);
    const PaymentDesk::Done done = std::exchange(entry.done, nullptr);
    const bool is_lost = entry.row.state == UptoState::kOwed;
    if (is_lost)
        spdlog::error("upto: {} atoms of {} are lost: {}", entry.row.atoms,
                      to_checksum(entry.row.payer), error.message());
    const auto ended = upto_.end(name, is_lost ? UptoState::kLost : UptoState::kFree);
    if (done) done(tl::make_unexpected(error));
    return ended;
}

void SettlementLoop::note_upto(const settlement::SubmitterEvent& event) {
    using Kind = settlement::SubmitterEvent::Kind;
    UptoBook::Entry* entry = upto_.find_call(event.record.instruction.data);
    if (entry == nullptr || event.kind == Kind::kBumped) return;
    entry->is_mined = event.record.mined && event.record.mined->succeeded;
    if (!entry->done || event.kind == Kind::kUndone) return;
    const PaymentDesk::Done done = std::exchange(entry->done, nullptr);
    if (entry->is_mined)
        done(event.record.mined->transaction_hash);
    else
        done(fail(ErrorCode::chain_refused, "the proxy refused the payment"));
}

Result<void> SettlementLoop::settle_final_upto(const Item& item, bool succeeded) {
    if (item.kind != storage::UptoStore::kItem) return {};
    const UptoBook::Entry* entry = upto_.find(item.lease);
    if (entry == nullptr) return {};
    if (succeeded) return upto_.note_final(item.lease);
    // An answer was refused when its transaction failed; what was given is tried again.
    if (entry->row.state == UptoState::kTaking) return upto_.end(item.lease, UptoState::kFree);
    return {};
}

}  // namespace marketplace::app
