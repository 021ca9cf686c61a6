// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/rpc/chain.hpp"
#include "ledger/settlement/claim_policy.hpp"
#include "ledger/settlement/deployment.hpp"
#include "ledger/settlement/leases_abi.hpp"
#include "ledger/settlement/submitter.hpp"
#include "ledger/settlement/watcher.hpp"
#include "ledger/signer/signer_client.hpp"
#include "marketplace/app/config.hpp"
#include "marketplace/app/disk_check.hpp"
#include "marketplace/app/engine_thread.hpp"
#include "marketplace/app/payment_desk.hpp"
#include "marketplace/app/public_log.hpp"
#include "marketplace/app/read_store.hpp"
#include "marketplace/app/settlement_rows.hpp"
#include "marketplace/app/upto_book.hpp"

#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace marketplace::app {

/// One thread between the engine and the chain: follows the contracts' events into commands, and
/// turns what the engine wants (opens, claims, closes, log anchors) into transactions, each once.
class SettlementLoop final : public api::SettlementPort {
 public:
    struct Deps {
        EngineThread& engine;
        ReadStore& reads;
        ledger::rpc::Chain& chain;  ///< this thread's own client
        const ledger::signer::SignerClient& signer;
        const ledger::base::Clock& clock;
        PublicLog& log;
        ledger::settlement::Deployment deployment;
        Config config;
        PaymentDesk* payments = nullptr;  ///< null: nobody pays without an account
    };
    explicit SettlementLoop(Deps deps);
    ~SettlementLoop() override;

    void observe();  ///< wakes on what the engine brings about; before the engine thread starts
    /// Reads the stored cursor and bindings, then starts the thread.
    [[nodiscard]] ledger::base::Result<void> start();
    void stop();

    [[nodiscard]] std::vector<api::SettlementRow> settlements(std::uint64_t after,
                                                              std::size_t limit) const override;
    [[nodiscard]] std::string status() const override;
    /// Seconds since 1970 of the newest block seen; 0 before the first look.
    [[nodiscard]] std::uint64_t head_time_s() const;

 private:
    using Item = storage::SettlementItem;

    void run();
    [[nodiscard]] ledger::base::Result<void> round();
    /// True when nothing final is left to read.
    [[nodiscard]] ledger::base::Result<bool> follow_chain();
    /// Before the first signature: the ledger item by item against the chain, and the log against
    /// the head anchored last. An older copy of the database fails here.
    [[nodiscard]] ledger::base::Result<void> reconcile_all();
    [[nodiscard]] ledger::base::Result<void> compare_with_chain();
    [[nodiscard]] ledger::base::Result<void> track_transactions();
    [[nodiscard]] ledger::base::Result<void> open_leases();
    [[nodiscard]] ledger::base::Result<ledger::settlement::ClaimPolicy> claim_policy();
    /// Worker-made claims beyond the receipts that were handed in here, half a window before they
    /// are payable: the buyer's side does not accept them.
    [[nodiscard]] ledger::base::Result<void> object_to_lone_claims();
    [[nodiscard]] ledger::base::Result<void> claim_vouchers();
    [[nodiscard]] ledger::base::Result<void> close_leases();
    [[nodiscard]] ledger::base::Result<std::uint64_t> final_at(const domain::Hash32& lease);
    [[nodiscard]] ledger::base::Result<void> anchor_log();
    /// Signs a head of the log as it is. False: not yet, or there is nothing new.
    [[nodiscard]] ledger::base::Result<bool> sign_head(domain::TimeMs now);
    [[nodiscard]] bool misses_witness() const;
    /// One transaction that settles these items; the submitter's errors.
    [[nodiscard]] ledger::base::Result<void> submit(const std::string& kind,
                                                    const domain::Address& to, domain::Bytes data,
                                                    const std::vector<Item>& items);
    /// As many as fit one transaction to Leases; those that cannot go are left for a minute.
    template <typename Call>
    [[nodiscard]] ledger::base::Result<void> submit_batch(
        const std::string& kind, const std::vector<Call>& calls, const std::vector<Item>& items,
        domain::Bytes (*encode)(const std::vector<Call>&));
    /// Answers what waits at the desk, and payments that came into no block while they were valid.
    void handle_payments();
    [[nodiscard]] ledger::base::Result<void> check_payment(const api::TokenPayment& payment);
    [[nodiscard]] ledger::base::Result<void> send_payment(const api::TokenPayment& payment);
    void note_payment(const ledger::settlement::SubmitterEvent& event);
    // Payments up to an amount.
    [[nodiscard]] ledger::base::Result<void> check_payment(const api::UptoPayment& payment);
    /// Writes down what calls came to; needs no chain.
    [[nodiscard]] ledger::base::Result<void> keep_charges();
    [[nodiscard]] ledger::base::Result<void> take_owed();
    /// True when it is on its way or cannot be asked for now, and the next one may be looked at.
    [[nodiscard]] ledger::base::Result<bool> take_one(const domain::Hash32& name);
    void note_upto(const ledger::settlement::SubmitterEvent& event);
    [[nodiscard]] ledger::base::Result<void> end_upto(const domain::Hash32& name,
                                                      const ledger::base::Error& error);
    [[nodiscard]] ledger::base::Result<void> settle_final_upto(const Item& item, bool succeeded);
    void refuse_payments(const ledger::base::Error& error);
    [[nodiscard]] bool is_bound(const Item& item) const;  ///< or set aside
    void wake();

    Deps deps_;
    SettlementRows rows_;
    ledger::settlement::CallbackTransactionSigner signer_;
    ledger::settlement::Submitter submitter_;
    ledger::settlement::Watcher watcher_;
    bool started_ = false;
    bool reconciled_ = false;
    std::optional<ledger::base::Error> mismatch_;
    domain::TimeMs reconcile_at_ms_ = 0;
    ledger::settlement::WatchCursor cursor_;
    std::set<Item> bound_;
    std::set<Item> finished_;                             ///< bound by a transaction that is final
    std::map<Item, domain::TimeMs> set_aside_until_;      ///< refused even alone
    std::map<domain::Hash32, std::uint64_t> final_at_s_;  ///< of closes that were requested
    std::map<domain::Hash32, ledger::settlement::ClaimedAlone> lone_claims_;
    std::map<domain::Hash32, domain::TimeMs> unclaimed_since_;
    struct SentPayment {
        std::uint64_t valid_before_s = 0;
        PaymentDesk::Done done;
    };
    std::map<domain::Hash32, SentPayment> payments_;  ///< by SHA-256 of the call
    bool reached_payments_ = false;                   ///< in this round
    UptoBook upto_;
    domain::TimeMs upto_forget_ms_ = 0;  ///< when long settled ones are forgotten next
    DiskCheck disk_check_;
    std::optional<ledger::eth::TreeHead> anchored_;   ///< the newest head on the chain
    std::optional<ledger::eth::TreeHead> anchoring_;  ///< the one on its way
    domain::TimeMs signed_ms_ = 0;                    ///< the last head
    domain::TimeMs cosigned_ms_ = 0;  ///< the last head that the witness signed, or the start
    std::string last_error_;

    mutable std::mutex mutex_;
    std::condition_variable wake_;
    bool woken_ = false;
    bool stopping_ = false;
    std::uint64_t head_time_s_ = 0;
    std::string status_ = "starting";
    std::thread thread_;
};

}  // namespace marketplace::app
