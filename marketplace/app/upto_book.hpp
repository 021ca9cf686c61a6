// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "marketplace/app/engine_thread.hpp"
#include "marketplace/app/payment_desk.hpp"
#include "marketplace/app/read_store.hpp"
#include "marketplace/storage/upto_store.hpp"

#include <cstdint>
#include <deque>
#include <map>
#include <vector>

namespace marketplace::app {

/// Payments up to an amount that are not settled, in memory and on disk. Every change is on disk
/// before it counts. One thread.
class UptoBook {
 public:
    static constexpr std::size_t kUnsettledMax = 256;
    static constexpr std::uint64_t kRememberedS = 7ULL * 24 * 3600;  ///< after the deadline

    struct Entry {
        storage::UptoRow row;
        bool is_mined = false;  ///< its transaction is in a block and succeeded
        domain::TimeMs retry_at_ms = 0;
        PaymentDesk::Done done;  ///< while an answer waits for it
    };

    /// `unpaid_calls`: of one payer, as Config::x402_unpaid_calls.
    UptoBook(EngineThread& engine, ReadStore& reads, std::uint64_t unpaid_calls)
        : engine_(engine), reads_(reads), unpaid_calls_(unpaid_calls) {}

    /// What a run before left; after failed transactions were released.
    [[nodiscard]] ledger::base::Result<void> load(std::uint64_t now_s);
    /// Whether a call may be served for it: nonce_used, rate_limited, queue_full.
    [[nodiscard]] ledger::base::Result<void> check(const api::UptoPayment& payment) const;
    /// From here on it serves no other call.
    [[nodiscard]] ledger::base::Result<void> reserve(const api::UptoPayment& payment);
    /// Takes over what calls came to; answers those that came to nothing. Those it could not write
    /// down stay with it and are tried again with the next call.
    [[nodiscard]] ledger::base::Result<void> keep(std::deque<PaymentDesk::Charge> charges,
                                                  const ledger::eth::U256& units_per_atom);

    /// Those to be taken.
    [[nodiscard]] std::vector<domain::Hash32> owed() const;
    /// Null when it is settled.
    [[nodiscard]] Entry* find(const domain::Hash32& name);
    [[nodiscard]] Entry* find_call(ledger::base::ByteView call);
    /// Nothing more will be taken; `state` is kFree or kLost.
    [[nodiscard]] ledger::base::Result<void> end(const domain::Hash32& name,
                                                 storage::UptoState state);
    /// Those whose transactions are final are paid.
    [[nodiscard]] ledger::base::Result<void> note_final(const domain::Hash32& name);
    /// Forgets what is long over. About once an hour.
    [[nodiscard]] ledger::base::Result<void> forget(std::uint64_t now_s);
    /// Nobody is answered any more.
    void refuse_all(const ledger::base::Error& error);

 private:
    [[nodiscard]] ledger::base::Result<void> keep(PaymentDesk::Charge& charge,
                                                  const ledger::eth::U256& units_per_atom);

    EngineThread& engine_;
    ReadStore& reads_;
    const std::uint64_t unpaid_calls_;
    std::map<domain::Hash32, Entry> entries_;  ///< being served, to be taken, or not final yet
    std::deque<PaymentDesk::Charge> charges_;  ///< not on disk yet
};

}  // namespace marketplace::app
