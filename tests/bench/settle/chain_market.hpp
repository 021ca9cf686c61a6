// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/settlement/leases_abi.hpp"
#include "tests/support/anvil.hpp"

#include <cstdint>
#include <memory>
#include <vector>

namespace bench {

namespace settlement = ledger::settlement;
using ledger::base::Bytes;
using ledger::base::Hash32;
using ledger::crypto::PrivateKey;

constexpr std::uint64_t kPriceAtoms = 1'200;
constexpr std::uint64_t kUnitsPerReceipt = 25;

/// One buyer with a delegate, one provider with a worker, and the operator, on a chain of their
/// own: registered, with the buyer's money in escrow. Blocks come every second.
class ChainMarket {
 public:
    /// Ends the program when there is no chain to be had.
    ChainMarket();

    /// Both orders of a lease of so many receipts, signed.
    [[nodiscard]] settlement::OpenItem make_lease(std::uint64_t number,
                                                  std::uint64_t receipts) const;
    /// Receipts `first` + 1 to `last` of a lease are signed; the voucher over all up to `last`.
    /// `leaves` are the lease's receipts so far and grow.
    [[nodiscard]] settlement::ClaimItem work(const Hash32& lease, std::vector<Hash32>& leaves,
                                             std::uint64_t last) const;
    [[nodiscard]] settlement::Parties parties() const;
    [[nodiscard]] const PrivateKey& market_operator() const { return keys_[0]; }
    [[nodiscard]] const settlement::Deployment& deployment() const { return deployment_; }
    [[nodiscard]] const std::string& url() const { return anvil_.url(); }
    /// Without faults: for set-up and for the proof at the end.
    [[nodiscard]] ledger::rpc::EthClient& chain() const { return *chain_; }
    [[nodiscard]] const ledger::base::Address& provider() const { return provider_; }

 private:
    void send(const PrivateKey& from, const ledger::base::Address& to, Bytes data) const;

    tests::support::Anvil anvil_;
    std::unique_ptr<ledger::rpc::EthClient> chain_;
    std::vector<PrivateKey> keys_;  // operator, buyer, delegate, provider, worker
    settlement::Deployment deployment_;
    ledger::base::Address provider_;
    std::uint64_t expiry_s_ = 0;
};

}  // namespace bench
