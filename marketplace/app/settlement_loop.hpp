// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/rpc/chain.hpp"
#include "ledger/settlement/deployment.hpp"
#include "ledger/settlement/submitter.hpp"
#include "ledger/settlement/watcher.hpp"
#include "ledger/signer/signer_client.hpp"
#include "marketplace/app/config.hpp"
#include "marketplace/app/engine_thread.hpp"
#include "marketplace/app/public_log.hpp"
#include "marketplace/app/read_store.hpp"
#include "marketplace/storage/settlement_store.hpp"

#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace marketplace::app {

/// ledger/settlement's rows on the market's database. Each call is one durable transaction on the
/// engine thread; `insert` also binds the items named before it.
class SettlementRows final : public ledger::settlement::TransactionStore {
 public:
    SettlementRows(EngineThread& engine, const ledger::base::Clock& clock)
        : engine_(engine), clock_(clock) {}

    void set_items(std::vector<storage::SettlementItem> items) { items_ = std::move(items); }

    [[nodiscard]] ledger::base::Result<std::vector<ledger::settlement::TransactionRecord>>
    load_alive() override;
    [[nodiscard]] ledger::base::Result<std::optional<ledger::settlement::TransactionRecord>> find(
        std::string_view instruction_id) override;
    [[nodiscard]] ledger::base::Result<std::optional<std::uint64_t>> next_nonce() override;
    [[nodiscard]] ledger::base::Result<void> insert(
        const ledger::settlement::TransactionRecord& record) override;
    [[nodiscard]] ledger::base::Result<void> update(
        const ledger::settlement::TransactionRecord& record) override;

 private:
    EngineThread& engine_;
    const ledger::base::Clock& clock_;
    std::vector<storage::SettlementItem> items_;
};

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
    };
    explicit SettlementLoop(Deps deps);
    ~SettlementLoop() override;

    void observe();  ///< wakes on what the engine brings about; before the engine thread starts
    /// Reads the stored cursor and bindings, then starts the thread.
    [[nodiscard]] ledger::base::Result<void> start();
    void stop();

    [[nodiscard]] std::vector<api::SettlementRow> settlements(std::uint64_t after,
                                                              std::size_t limit) const override;
    /// Seconds since 1970 of the newest block seen; 0 before the first look.
    [[nodiscard]] std::uint64_t head_time_s() const;

 private:
    using Item = storage::SettlementItem;

    void run();
    [[nodiscard]] ledger::base::Result<void> round();
    [[nodiscard]] ledger::base::Result<void> follow_chain();
    [[nodiscard]] ledger::base::Result<void> track_transactions();
    [[nodiscard]] ledger::base::Result<void> open_leases();
    [[nodiscard]] ledger::base::Result<void> claim_vouchers();
    [[nodiscard]] ledger::base::Result<void> close_leases();
    [[nodiscard]] ledger::base::Result<void> anchor_log();
    /// Submits one transaction that settles these items. False: not now.
    [[nodiscard]] ledger::base::Result<bool> submit(const std::string& kind,
                                                    const domain::Address& to, domain::Bytes data,
                                                    std::vector<Item> items);
    /// The same with the submitter's errors.
    [[nodiscard]] ledger::base::Result<void> try_submit(const std::string& kind,
                                                        const domain::Address& to,
                                                        domain::Bytes data,
                                                        const std::vector<Item>& items);
    /// As many as fit one transaction to Leases; those that cannot go are left for a minute.
    template <typename Call>
    [[nodiscard]] ledger::base::Result<void> submit_batch(
        const std::string& kind, const std::vector<Call>& calls, const std::vector<Item>& items,
        domain::Bytes (*encode)(const std::vector<Call>&));
    [[nodiscard]] bool is_bound(const Item& item) const;  ///< or set aside
    void wake();

    Deps deps_;
    SettlementRows rows_;
    ledger::settlement::CallbackTransactionSigner signer_;
    ledger::settlement::Submitter submitter_;
    ledger::settlement::Watcher watcher_;
    bool started_ = false;
    ledger::settlement::WatchCursor cursor_;
    std::set<Item> bound_;
    std::set<Item> finished_;                            ///< bound by a transaction that is final
    std::map<Item, domain::TimeMs> set_aside_until_;     ///< refused even alone
    std::map<domain::Hash32, domain::TimeMs> retry_at_;  ///< finalizing closes
    std::optional<std::uint64_t> anchored_size_;
    bool anchor_in_flight_ = false;
    domain::TimeMs anchored_ms_ = 0;
    std::string last_error_;

    mutable std::mutex mutex_;
    std::condition_variable wake_;
    bool woken_ = false;
    bool stopping_ = false;
    std::uint64_t head_time_s_ = 0;
    std::thread thread_;
};

}  // namespace marketplace::app
