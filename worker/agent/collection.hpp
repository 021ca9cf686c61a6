// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/settlement/leases_abi.hpp"

#include <cstdint>
#include <string_view>

/// What a worker can do for its pay without the market: vouchers that both sides signed are claimed
/// by anybody, and so are, after a window, receipts that nobody objects to.
namespace worker::agent {

/// What the worker's book has of a lease.
struct Earned {
    std::uint64_t amount_atoms = 0;   ///< by its own receipts
    std::uint64_t voucher_atoms = 0;  ///< of them, by the last voucher with both signatures
};

/// A lease as the chain has it at one time.
struct LeaseOnChain {
    ledger::settlement::LeaseView lease;
    ledger::settlement::LoneClaimView lone;
    std::uint64_t final_at_s = 0;  ///< when it can be ended; 0: not asked to, see its expiry
};

enum class CollectStep : std::uint8_t {
    kNothing,       ///< all that was earned is paid
    kClaimVoucher,  ///< the last voucher pays more than was paid
    kClaimAlone,    ///< receipts beyond it are claimed alone
    kWait,          ///< a claim alone is not payable yet
    kPayAlone,      ///< it is
    kObjected,      ///< the buyer's side does not accept the receipts beyond the last voucher
    kTooLate,       ///< the lease is closed, or could be: nothing more can be claimed alone
};
[[nodiscard]] std::string_view to_string(CollectStep step) noexcept;

/// The next thing to do for a lease. `now_s`: of the chain's newest block.
[[nodiscard]] CollectStep next_collect_step(const Earned& earned, const LeaseOnChain& on_chain,
                                            std::uint64_t close_window_s, std::uint64_t now_s);

/// What a lease earned, each atom in exactly one of these.
struct Income {
    std::uint64_t settled = 0;   ///< paid on chain, before the fee
    std::uint64_t pending = 0;   ///< on its way: vouchers to claim, receipts to be covered
    std::uint64_t disputed = 0;  ///< beyond the last voucher, and the buyer's side objected
    std::uint64_t failed = 0;    ///< the lease is closed: no claim brings it any more

    Income& operator+=(const Income& other) noexcept {
        settled += other.settled;
        pending += other.pending;
        disputed += other.disputed;
        failed += other.failed;
        return *this;
    }
    friend bool operator==(const Income&, const Income&) = default;
};
[[nodiscard]] Income split_income(const Earned& earned, const LeaseOnChain& on_chain);

/// Asks the chain for a lease.
[[nodiscard]] ledger::base::Result<LeaseOnChain> read_on_chain(
    ledger::rpc::Chain& chain, const ledger::base::Address& leases,
    const ledger::base::Hash32& lease, const ledger::settlement::Parties& parties);

}  // namespace worker::agent
