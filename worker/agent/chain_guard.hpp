// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/rpc/chain.hpp"
#include "ledger/settlement/deployment.hpp"
#include "worker/agent/ports.hpp"

#include <functional>
#include <memory>

namespace worker::agent {

/// Decides from what the contract knows of a lease. lease_closed names what does not fit: never
/// opened between these parties, closed, expired, other units, or a lock that does not cover the
/// price.
[[nodiscard]] Result<void> check_lease(const LeaseTerms& terms,
                                       const ledger::settlement::LeaseView& view,
                                       std::uint64_t now_ms);

/// Reads the lease from the worker's own node, never from the market.
class ChainGuard final : public LeaseGuard {
 public:
    /// A connection per check: sessions ask from their own threads.
    using MakeChain = std::function<std::unique_ptr<ledger::rpc::Chain>()>;
    ChainGuard(MakeChain make_chain, const Address& leases, const ledger::base::Clock& clock)
        : make_chain_(std::move(make_chain)), leases_(leases), clock_(clock) {}
    [[nodiscard]] Result<void> check(const LeaseTerms& terms) override;

 private:
    MakeChain make_chain_;
    const Address leases_;
    const ledger::base::Clock& clock_;
};

}  // namespace worker::agent
