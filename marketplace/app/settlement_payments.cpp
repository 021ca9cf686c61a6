// SPDX-License-Identifier: Apache-2.0
#include "ledger/base/sha256.hpp"
#include "ledger/settlement/escrow_abi.hpp"
#include "marketplace/app/settlement_loop.hpp"

#include <spdlog/spdlog.h>

/// Payments that callers without an account signed (x402): the token takes them once.
namespace marketplace::app {
namespace {

namespace settlement = ledger::settlement;
using ledger::base::Error;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;
using ledger::rpc::BlockTag;

constexpr std::uint64_t kOverdueS = 15;  // a block's time may lag behind the clock

domain::Bytes call_of(const api::TokenPayment& payment) {
    return ledger::eth::encode_transfer_with_authorization(payment.authorization,
                                                           payment.signature);
}

}  // namespace

void SettlementLoop::handle_payments() {
    reached_payments_ = true;
    if (deps_.payments == nullptr) return;
    for (PaymentDesk::Task& task : deps_.payments->take()) {
        if (task.want == PaymentDesk::Want::kCheck) {
            const auto checked =
                std::visit([this](const auto& one) { return check_payment(one); }, task.payment);
            if (checked)
                task.done(domain::Hash32());
            else
                task.done(tl::make_unexpected(checked.error()));
            continue;
        }
        const auto& payment = std::get<api::TokenPayment>(task.payment);
        const auto sent = send_payment(payment);
        if (!sent) {
            task.done(tl::make_unexpected(sent.error()));
            continue;
        }
        payments_[ledger::base::sha256(call_of(payment))] = {payment.authorization.valid_before_s,
                                                             std::move(task.done)};
    }
    const std::uint64_t now_s = deps_.clock.now_ms() / 1000;
    for (auto at = payments_.begin(); at != payments_.end();) {
        if (now_s < at->second.valid_before_s + kOverdueS) {
            ++at;
            continue;
        }
        at->second.done(fail(ErrorCode::timeout, "the payment came into no block in time"));
        at = payments_.erase(at);
    }
}

Result<void> SettlementLoop::check_payment(const api::TokenPayment& payment) {
    const domain::Address token = deps_.payments->terms().token;
    TRY_ASSIGN(const ledger::eth::U256 balance,
               settlement::read_token_balance(deps_.chain, token, payment.authorization.from,
                                              BlockTag::Name::kLatest));
    if (balance < payment.authorization.value) return fail(ErrorCode::insufficient_funds);
    if (bound_.contains({"x402", api::name_of(payment), 0})) return fail(ErrorCode::nonce_used);
    ledger::rpc::CallRequest call;
    call.from = deps_.deployment.market_operator;
    call.to = token;
    call.data = call_of(payment);
    const auto answer = deps_.chain.call(call, BlockTag::Name::kLatest);
    if (answer) return {};
    if (answer.error().code() == ErrorCode::chain_refused) return fail(ErrorCode::nonce_used);
    return tl::make_unexpected(answer.error());
}

Result<void> SettlementLoop::send_payment(const api::TokenPayment& payment) {
    const Item item{"x402", api::name_of(payment), 0};
    if (bound_.contains(item)) return fail(ErrorCode::nonce_used);
    return submit("x402", deps_.payments->terms().token, call_of(payment), {item});
}

void SettlementLoop::note_payment(const settlement::SubmitterEvent& event) {
    using Kind = settlement::SubmitterEvent::Kind;
    if (event.record.instruction.kind == storage::UptoStore::kItem) return note_upto(event);
    if (event.record.instruction.kind != "x402") return;
    if (event.kind != Kind::kMined && event.kind != Kind::kFinal) return;
    const auto found = payments_.find(ledger::base::sha256(event.record.instruction.data));
    if (found == payments_.end()) return;
    const PaymentDesk::Done done = std::move(found->second.done);
    payments_.erase(found);
    if (event.record.mined && event.record.mined->succeeded)
        done(event.record.mined->transaction_hash);
    else
        done(fail(ErrorCode::chain_refused, "the token refused the payment"));
}

void SettlementLoop::refuse_payments(const Error& error) {
    if (deps_.payments == nullptr) return;
    for (PaymentDesk::Task& task : deps_.payments->take())
        task.done(tl::make_unexpected(error));
}

}  // namespace marketplace::app
