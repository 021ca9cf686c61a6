// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/clock.hpp"
#include "ledger/base/result.hpp"
#include "ledger/rpc/chain.hpp"
#include "ledger/settlement/transaction_signer.hpp"
#include "ledger/settlement/transaction_store.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace ledger::settlement {

struct SubmitterOptions {
    std::uint64_t chain_id = 0;
    /// A transaction is final when its block has this many blocks on top, itself counted: 1 is
    /// final at once.
    std::uint64_t finality_depth = 2;
    std::uint64_t resend_after_ms = 5'000;  ///< no receipt: send the last version again
    std::uint64_t bump_after_ms = 30'000;   ///< no receipt: sign a replacement with higher fees
    std::uint32_t bump_percent = 12;        ///< nodes want 10 or more on both fees
    std::uint32_t versions_max = 12;        ///< then only re-sent
    eth::U256 max_fee_per_gas_cap{500'000'000'000ULL};  ///< 500 gwei
    std::uint32_t gas_margin_percent = 25;              ///< on top of the node's estimate
    /// Of one transaction (EIP-7825). An estimate above half of it is too_large: a batch must still
    /// fit when its items cost twice as much.
    std::uint64_t gas_limit_max = 16'777'216;
    std::uint32_t in_flight_max = 16;  ///< nodes keep 16 slots per account
    std::uint32_t foreign_polls = 3;   ///< sightings before a foreign nonce halts us
    /// The way out of foreign_nonce: the operator looked, stopped the other program, and lets the
    /// submitter go on from the chain's nonce. What was in flight and lost its nonce to the other
    /// program is over: a kFinal event without `mined`.
    bool adopt_chain_nonce = false;
};

/// What happened to an instruction since the poll before.
struct SubmitterEvent {
    enum class Kind : std::uint8_t {
        kMined = 0,   ///< seen in a block; may still be undone
        kUndone = 1,  ///< that block went away; it is being sent again
        kFinal = 2,   ///< at finality depth; `receipt.logs` hold its events
        kBumped = 3,  ///< a version with higher fees was sent
    };
    Kind kind = Kind::kMined;
    TransactionRecord record;
    std::optional<rpc::TransactionReceipt> receipt;  ///< with kMined, and kFinal when mined
};

/// Sends each instruction exactly once over crashes, lost answers, reorganisations and stuck fees.
///
/// Signed bytes are stored before they are sent; an answer that did not come means the
/// transaction may have landed. Nonces come from the store, never from the chain once one is
/// bound. A nonce used by somebody else halts it with foreign_nonce until the operator acts.
/// One thread at a time. Keeps references to what it is given.
class Submitter {
 public:
    Submitter(rpc::Chain& chain, TransactionSigner& signer, TransactionStore& store,
              const base::Clock& clock, SubmitterOptions options);

    /// Checks the chain id and reconciles the stored records with the chain. Until it succeeded
    /// nothing is signed. chain_mismatch, foreign_nonce, or could not ask: call it again.
    [[nodiscard]] base::Result<void> start();

    /// Estimates, signs, stores, sends. An id that is known returns its record and signs nothing.
    /// chain_refused: the call would revert; no nonce was used. too_large: it needs too much gas.
    /// queue_full: too many in flight.
    /// Once the record is stored a send that fails is not an error: `poll` goes on with it.
    [[nodiscard]] base::Result<TransactionRecord> submit(const Instruction& instruction);

    /// One round over all records alive: receipts, finality, re-sending, fee bumps. Events seen
    /// before an error are returned; the error comes back with the next poll if it lasts.
    /// The events are news, not the truth: a crash may swallow one. What a transaction did is
    /// read from the chain by `Watcher`, whose cursor the caller stores with the effects.
    [[nodiscard]] base::Result<std::vector<SubmitterEvent>> poll();

    /// Transactions not yet final.
    [[nodiscard]] std::size_t in_flight() const noexcept { return alive_.size(); }
    /// Set when halted by foreign_nonce.
    [[nodiscard]] const std::optional<base::Error>& halted() const noexcept { return halted_; }

 private:
    struct Round;
    [[nodiscard]] base::Result<void> check_running() const;
    [[nodiscard]] base::Error halt(std::uint64_t nonce);
    [[nodiscard]] base::Result<void> give_up_lost(std::vector<TransactionRecord>& alive);
    [[nodiscard]] base::Result<std::uint64_t> plan_nonce();
    [[nodiscard]] base::Result<std::uint64_t> plan_gas(const Instruction& instruction);
    [[nodiscard]] base::Result<TransactionVersion> sign_version(const TransactionRecord& record,
                                                                const eth::U256& max_fee,
                                                                const eth::U256& priority_fee);
    void send(TransactionRecord& record);
    [[nodiscard]] bool is_resend_due(const TransactionRecord& record) const;
    [[nodiscard]] base::Result<std::optional<rpc::TransactionReceipt>> find_receipt(
        const TransactionRecord& record);
    [[nodiscard]] base::Result<void> advance(TransactionRecord& record, Round& round);
    [[nodiscard]] base::Result<void> on_mined(TransactionRecord& record, const Round& round,
                                              rpc::TransactionReceipt receipt);
    [[nodiscard]] base::Result<void> on_missing(TransactionRecord& record, Round& round);
    [[nodiscard]] base::Result<void> bump(TransactionRecord& record);

    rpc::Chain& chain_;
    TransactionSigner& signer_;
    TransactionStore& store_;
    const base::Clock& clock_;
    SubmitterOptions options_;
    bool started_ = false;
    std::uint64_t nonce_floor_ = 0;         // adopted from the chain
    std::vector<TransactionRecord> alive_;  // by nonce
    std::vector<SubmitterEvent> events_;    // not yet handed out
    std::uint32_t foreign_sightings_ = 0;
    std::optional<base::Error> halted_;
};

/// Sends one transaction and polls until it is final or the time is over (timeout: it may have
/// landed). For set-up and command line. chain_refused when it was mined but reverted.
[[nodiscard]] base::Result<rpc::TransactionReceipt> send_and_wait(rpc::Chain& chain,
                                                                  TransactionSigner& signer,
                                                                  const base::Address& to,
                                                                  base::Bytes data,
                                                                  std::uint64_t timeout_ms);

}  // namespace ledger::settlement
