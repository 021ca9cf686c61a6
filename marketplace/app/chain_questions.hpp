// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/rpc/chain.hpp"
#include "marketplace/api/ports.hpp"

namespace marketplace::app {

/// What the API asks of the chain. One thread at a time, as its `Chain`.
class ChainQuestions final : public api::ChainPort {
 public:
    /// Keeps a reference to the chain; `leases` is the contract that knows delegations.
    ChainQuestions(ledger::rpc::Chain& chain, const domain::Address& leases)
        : chain_(chain), leases_(leases) {}

    [[nodiscard]] ledger::base::Result<bool> accepts_signature(
        const domain::Address& account, const domain::Hash32& digest,
        ledger::base::ByteView signature) override;
    [[nodiscard]] ledger::base::Result<std::uint64_t> delegation_nonce(
        const domain::Address& owner) override;

 private:
    ledger::rpc::Chain& chain_;
    const domain::Address leases_;
};

}  // namespace marketplace::app
