// SPDX-License-Identifier: Apache-2.0
#include "ledger/settlement/transaction_store.hpp"

#include <algorithm>

namespace ledger::settlement {

using base::ErrorCode;
using base::fail;
using base::Result;

std::string_view to_string(TransactionState state) noexcept {
    switch (state) {
        case TransactionState::kSigned:
            return "signed";
        case TransactionState::kBroadcast:
            return "broadcast";
        case TransactionState::kMined:
            return "mined";
        case TransactionState::kFinal:
            return "final";
    }
    return "unknown";
}

Result<std::vector<TransactionRecord>> MemoryTransactionStore::load_alive() {
    std::vector<TransactionRecord> alive;
    std::copy_if(records_.begin(), records_.end(), std::back_inserter(alive),
                 [](const auto& record) { return record.state != TransactionState::kFinal; });
    return alive;
}

Result<std::optional<TransactionRecord>> MemoryTransactionStore::find(
    std::string_view instruction_id) {
    for (const TransactionRecord& record : records_)
        if (record.instruction.id == instruction_id) return record;
    return std::nullopt;
}

Result<std::optional<std::uint64_t>> MemoryTransactionStore::next_nonce() {
    if (records_.empty()) return std::nullopt;
    return records_.back().nonce + 1;
}

Result<void> MemoryTransactionStore::insert(const TransactionRecord& record) {
    for (const TransactionRecord& known : records_)
        if (known.nonce >= record.nonce || known.instruction.id == record.instruction.id)
            return fail(ErrorCode::exists_with_different_body, "nonce or id bound already");
    records_.push_back(record);
    return {};
}

Result<void> MemoryTransactionStore::update(const TransactionRecord& record) {
    for (TransactionRecord& known : records_) {
        if (known.nonce != record.nonce) continue;
        known = record;
        return {};
    }
    return fail(ErrorCode::not_found, "no transaction with this nonce");
}

}  // namespace ledger::settlement
