// SPDX-License-Identifier: Apache-2.0
#include "worker/agent/ports.hpp"

#include "ledger/base/sha256.hpp"

namespace worker::agent {

using ledger::base::ErrorCode;

bool is_transient(ErrorCode code) noexcept {
    return code == ErrorCode::chain_unreachable || code == ErrorCode::chain_bad_answer ||
           code == ErrorCode::timeout || code == ErrorCode::unavailable ||
           code == ErrorCode::rate_limited || code == ErrorCode::queue_full ||
           code == ErrorCode::session_expired || code == ErrorCode::unauthorized;
}

Hash32 salted_hash(const Hash32& salt, std::string_view data) {
    ledger::base::Sha256 hash;
    hash.update(ledger::base::ByteView(salt.data(), Hash32::kSize));
    hash.update(ledger::base::as_bytes(data));
    return hash.finish();
}

marketplace::wire::ReceiptMessage to_message(const StoredReceipt& stored) {
    marketplace::wire::ReceiptMessage message;
    message.receipt.receipt = stored.receipt;
    message.receipt.signature = stored.signature;
    message.step = stored.step;
    if (stored.receipt.unit_kind == ledger::eth::UnitKind::kTrainingStep)
        message.checkpoint = stored.receipt.response_hash;
    return message;
}

bool payment_overdue(const LeaseBook& book, const PaymentPolicy& policy, std::uint64_t now_ms) {
    const std::uint64_t unpaid = book.unpaid_atoms();
    if (unpaid == 0) return false;
    if (unpaid >= 2 * policy.period_atoms) return true;
    const auto since = book.unpaid_since_ms();
    return since && now_ms >= *since + 2 * policy.period_ms;
}

}  // namespace worker::agent
