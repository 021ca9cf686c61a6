// SPDX-License-Identifier: Apache-2.0
#include "worker/agent/collection.hpp"

#include <algorithm>

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

Income split_income(const Earned& earned, const LeaseOnChain& on_chain) {
    const auto& lease = on_chain.lease;
    Income out;
    out.settled = lease.paid_atoms;
    if (earned.amount_atoms <= lease.paid_atoms) return out;
    const std::uint64_t rest = earned.amount_atoms - lease.paid_atoms;
    if (lease.state == LeaseState::kNone || lease.state == LeaseState::kClosed) {
        out.failed = rest;
        return out;
    }
    const std::uint64_t covered = std::max(earned.voucher_atoms, lease.paid_atoms);
    const std::uint64_t alone = earned.amount_atoms - std::min(covered, earned.amount_atoms);
    if (on_chain.lone.is_objected) out.disputed = alone;
    out.pending = rest - out.disputed;
    return out;
}

ledger::base::Result<LeaseOnChain> read_on_chain(ledger::rpc::Chain& chain,
                                                 const ledger::base::Address& leases,
                                                 const ledger::base::Hash32& lease,
                                                 const ledger::settlement::Parties& parties) {
    namespace settlement = ledger::settlement;
    LeaseOnChain out;
    const ledger::rpc::BlockTag at = ledger::rpc::BlockTag::Name::kLatest;
    TRY_ASSIGN(out.lease, settlement::read_lease(chain, leases, lease, parties, at));
    TRY_ASSIGN(out.lone, settlement::read_lone_claim(chain, leases, lease, at));
    TRY_ASSIGN(out.final_at_s, settlement::read_final_at(chain, leases, lease, at));
    return out;
}

}  // namespace worker::agent
