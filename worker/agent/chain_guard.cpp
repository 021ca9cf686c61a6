// SPDX-License-Identifier: Apache-2.0
#include "worker/agent/chain_guard.hpp"

#include "ledger/settlement/leases_abi.hpp"

namespace worker::agent {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::settlement::LeaseState;

Result<void> check_lease(const LeaseTerms& terms, const ledger::settlement::LeaseView& view,
                         std::uint64_t now_ms) {
    if (view.state == LeaseState::kNone)
        return fail(ErrorCode::lease_closed, "the chain knows no such lease of these parties");
    if (view.state != LeaseState::kOpen)
        return fail(ErrorCode::lease_closed, "the lease is closed on chain");
    if (view.max_units != terms.max_units)
        return fail(ErrorCode::lease_closed, "the lease on chain has other units");
    TRY_ASSIGN(const std::uint64_t needed,
               ledger::eth::amount_for(terms.unit_kind, terms.max_units, terms.price_atoms));
    // The price is in the lock only: another price would lock another amount.
    if (view.locked_atoms != needed)
        return fail(ErrorCode::lease_closed, "the lock on chain does not cover units times price");
    if (view.expiry_s * 1000 <= now_ms)
        return fail(ErrorCode::lease_closed, "the lease has expired");
    return {};
}

Result<void> ChainGuard::check(const LeaseTerms& terms) {
    const std::unique_ptr<ledger::rpc::Chain> chain = make_chain_();
    TRY_ASSIGN(const auto view,
               ledger::settlement::read_lease(*chain, leases_, terms.lease, terms.parties,
                                              ledger::rpc::BlockTag::Name::kLatest));
    return check_lease(terms, view, clock_.now_ms());
}

}  // namespace worker::agent
