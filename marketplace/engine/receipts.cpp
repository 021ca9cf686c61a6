// SPDX-License-Identifier: Apache-2.0
#include "ledger/base/limits.hpp"
#include "marketplace/engine/impl.hpp"
#include "marketplace/engine/reasons.hpp"

#include <algorithm>

namespace marketplace::engine {
namespace {

/// Work is metered while the lease runs. Tokens that were on their way when a serving lease began
/// to close are still taken; training steps are not: they may be redone elsewhere.
Result<void> check_metering(const LeaseRecord& record, domain::JobKind kind) {
    const Lease& lease = record.lease;
    if (lease.state == LeaseState::kRunning) return {};
    if (lease.state == LeaseState::kMatched || lease.state == LeaseState::kOpen)
        return fail(ErrorCode::wrong_state, "the lease is not running");
    if (lease.state == LeaseState::kClosing && kind == domain::JobKind::kServe &&
        !record.voucher_overdue)
        return {};
    return fail(ErrorCode::lease_closed);
}

Result<void> check_next(const Lease& lease, const ledger::eth::Receipt& receipt) {
    if (receipt.sequence != lease.sequence + 1)
        return fail(ErrorCode::receipt_out_of_order,
                    "expected sequence " + std::to_string(lease.sequence + 1));
    if (receipt.previous != lease.last_receipt)
        return fail(ErrorCode::receipt_out_of_order, "previous");
    if (receipt.unit_kind != lease.unit_kind) return fail(ErrorCode::invalid_field, "unit_kind");
    if (receipt.price_atoms != lease.price_atoms) return fail(ErrorCode::invalid_field, "price");
    if (receipt.cumulative_units <= lease.units)
        return fail(ErrorCode::invalid_quantity, "cumulative_units must grow");
    if (receipt.cumulative_units > lease.max_units)
        return fail(ErrorCode::invalid_quantity,
                    "cumulative_units: at most " + std::to_string(lease.max_units));
    TRY_ASSIGN(
        const std::uint64_t amount,
        ledger::eth::amount_for(lease.unit_kind, receipt.cumulative_units, lease.price_atoms));
    if (receipt.cumulative_amount_atoms != amount)
        return fail(ErrorCode::invalid_field,
                    "cumulative_amount: expected " + std::to_string(amount));
    return {};
}

}  // namespace

Result<void> Engine::Impl::on(const domain::SubmitReceipt& command) {
    const auto& receipt = command.receipt;
    if (receipt.sequence == 0) return fail(ErrorCode::invalid_field, "sequence");
    if (receipt.cumulative_units > ledger::base::limits::kMaxUnits)
        return fail(ErrorCode::invalid_quantity, "cumulative_units");
    if (receipt.start_ms > receipt.end_ms) return fail(ErrorCode::invalid_window, "start, end");
    TRY_ASSIGN(const Index index, lease_index(receipt.lease));
    LeaseRecord& record = leases_[index];
    Lease& lease = record.lease;
    const Hash32& hash = hashes_.front();
    if (receipt.sequence <= lease.sequence) {
        const Hash32& first = record.receipts[receipt.sequence - 1].hash;
        if (first == hash) return {};
        if (record.has_equivocated)
            return fail(ErrorCode::receipt_equivocation,
                        "sequence " + std::to_string(receipt.sequence));
        record.has_equivocated = true;
        emit(domain::ReceiptEquivocated{lease.id, receipt.sequence, first, hash});
        if (lease.state == LeaseState::kOpen || lease.state == LeaseState::kRunning)
            leave(index, {reason::kEquivocation, CloseReason::kWorkerFailed, /*back_off_ms=*/0});
        return {};
    }
    JobRecordState& state = jobs_[record.job];
    TRY(check_metering(record, state.job.terms.kind));
    TRY(check_next(lease, receipt));

    record.tree.append_data({hash.data(), Hash32::kSize});
    lease.sequence = receipt.sequence;
    lease.last_receipt = hash;
    lease.units = receipt.cumulative_units;
    lease.amount_atoms = receipt.cumulative_amount_atoms;
    lease.receipts_root = record.tree.root();
    lease.changed_ms = now_ms_;
    record.receipts.push_back(
        {hash, lease.units, lease.amount_atoms, lease.receipts_root, receipt.response_hash});
    if (is_training(state.job)) {
        lease.checkpoint = receipt.response_hash;
        update_progress(state);
    }
    if (lease.state == LeaseState::kClosing) wait_for_voucher(index);
    update_queues(index);
    emit(domain::ReceiptAccepted{lease.id, lease.sequence, hash, lease.receipts_root});
    return {};
}

/// The first member's last checkpoint that every member has reached.
void Engine::Impl::update_progress(JobRecordState& state) {
    Job& job = state.job;
    std::uint64_t slowest = UINT64_MAX;
    for (const Index member : state.team)
        slowest = std::min(slowest, leases_[member].lease.units);
    const LeaseRecord& first = leases_[state.team.front()];
    const auto past = std::upper_bound(
        first.receipts.begin(), first.receipts.end(), slowest,
        [](std::uint64_t units, const ReceiptMark& mark) { return units < mark.units; });
    job.changed_ms = now_ms_;
    if (past == first.receipts.begin()) return;
    job.units_done = first.lease.start_units + std::prev(past)->units;
    job.checkpoint = std::prev(past)->response;
}

Result<void> Engine::Impl::on(const domain::RecordVoucher& command) {
    const auto& voucher = command.voucher;
    TRY_ASSIGN(const Index index, lease_index(voucher.lease));
    LeaseRecord& record = leases_[index];
    Lease& lease = record.lease;
    if (record.voucher && record.voucher->voucher == voucher) return {};
    if (lease.state == LeaseState::kMatched || lease.state == LeaseState::kOpenFailed)
        return fail(ErrorCode::wrong_state, "the lease is not open");
    if (lease.state == LeaseState::kClosed) return fail(ErrorCode::lease_closed);
    if (voucher.sequence <= lease.voucher_sequence)
        return fail(ErrorCode::voucher_not_higher,
                    "sequence " + std::to_string(lease.voucher_sequence) + " is known");
    if (voucher.cumulative_amount_atoms > lease.locked_atoms)
        return fail(ErrorCode::voucher_above_lock,
                    "the lock is " + std::to_string(lease.locked_atoms));
    if (voucher.sequence > lease.sequence)
        return fail(ErrorCode::receipt_out_of_order, "the voucher covers receipts not seen");
    const ReceiptMark& mark = record.receipts[voucher.sequence - 1];
    if (voucher.cumulative_units != mark.units)
        return fail(ErrorCode::invalid_field, "cumulative_units");
    if (voucher.cumulative_amount_atoms != mark.amount_atoms)
        return fail(ErrorCode::invalid_field, "cumulative_amount");
    if (voucher.receipts_root != mark.root) return fail(ErrorCode::invalid_field, "receipts_root");

    record.voucher = command;
    lease.voucher_sequence = voucher.sequence;
    lease.voucher_amount_atoms = voucher.cumulative_amount_atoms;
    if (lease.voucher_amount_atoms == lease.amount_atoms) record.voucher_due_ms = 0;
    lease.changed_ms = now_ms_;
    update_queues(index);
    emit(domain::VoucherAccepted{lease.id, lease.voucher_sequence, lease.voucher_amount_atoms});
    return {};
}

}  // namespace marketplace::engine
