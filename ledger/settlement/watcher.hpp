// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"
#include "ledger/rpc/chain.hpp"
#include "ledger/settlement/deployment.hpp"
#include "ledger/settlement/escrow_abi.hpp"
#include "ledger/settlement/leases_abi.hpp"
#include "ledger/settlement/receipt_log_abi.hpp"

#include <cstdint>
#include <variant>
#include <vector>

namespace ledger::settlement {

/// How far the chain was read. Kept by the caller in the transaction that applies the events.
struct WatchCursor {
    std::uint64_t next_block = 0;  ///< first block not yet read
    base::Hash32 last_hash;        ///< of block next_block − 1; zero at the beginning
    friend bool operator==(const WatchCursor&, const WatchCursor&) = default;
};

/// One event of the market's contracts, at finality depth.
struct ChainEvent {
    std::uint64_t block_number = 0;
    std::uint64_t log_index = 0;
    base::Hash32 transaction_hash;
    std::variant<LeasesEvent, EscrowEvent, Anchored> event;
};

struct WatchBatch {
    std::vector<ChainEvent> events;  ///< in chain order
    WatchCursor cursor;              ///< store it together with their effects
    std::uint64_t head_number = 0;
    std::uint64_t head_time_s = 0;
};

struct WatcherOptions {
    std::uint64_t finality_depth = 2;  ///< as in SubmitterOptions
    std::uint64_t blocks_per_poll = 2000;
};

/// Reads the events of Leases, Escrow and ReceiptLog up to finality depth, each once.
/// chain_mismatch when a block that was final is another one now: halt, do not repair silently.
/// One thread at a time.
class Watcher {
 public:
    Watcher(rpc::Chain& chain, Deployment deployment, WatcherOptions options);
    /// Where a market that never read anything begins.
    [[nodiscard]] WatchCursor beginning() const noexcept;
    [[nodiscard]] base::Result<WatchBatch> poll(const WatchCursor& from);

 private:
    rpc::Chain& chain_;
    Deployment deployment_;
    WatcherOptions options_;
};

}  // namespace ledger::settlement
