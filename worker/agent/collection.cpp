// SPDX-License-Identifier: Apache-2.0
#include "worker/agent/collection.hpp"

namespace worker::agent {

using ledger::settlement::LeaseState;

std::string_view to_string(CollectStep step) noexcept {
    switch (step) {
        case CollectStep::kNothing:
            return "paid";
        case CollectStep::kClaimVoucher:
            return "claim_voucher";
        case CollectStep::kClaimAlone:
            return "claim_alone";
        case CollectStep::kWait:
            return "wait";
        case CollectStep::kPayAlone:
            return "pay_alone";
        case CollectStep::kObjected:
            return "objected";
        case CollectStep::kTooLate:
            return "too_late";
    }
    return "paid";
}

CollectStep next_collect_step(const Earned& earned, const LeaseOnChain& on_chain,
                              std::uint64_t close_window_s, std::uint64_t now_s) {
    const auto& [lease, lone, final_at_s] = on_chain;
    if (earned.amount_atoms <= lease.paid_atoms) return CollectStep::kNothing;
    if (lease.state == LeaseState::kNone || lease.state == LeaseState::kClosed)
        return CollectStep::kTooLate;
    if (earned.voucher_atoms > lease.paid_atoms) return CollectStep::kClaimVoucher;
    if (lone.is_objected) return CollectStep::kObjected;
    const bool waits = lone.payable_at_s != 0 && lone.amount_atoms > lease.paid_atoms;
    if (waits && now_s >= lone.payable_at_s) return CollectStep::kPayAlone;
    // What came since is claimed when this is paid: a higher claim would begin the window again.
    if (waits) return CollectStep::kWait;
    const std::uint64_t until_s =
        lease.state == LeaseState::kClosing ? final_at_s : lease.expiry_s + close_window_s;
    return now_s < until_s ? CollectStep::kClaimAlone : CollectStep::kTooLate;
}

}  // namespace worker::agent
