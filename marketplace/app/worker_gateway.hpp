// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/rpc/chain.hpp"
#include "ledger/settlement/deployment.hpp"
#include "ledger/signer/signer_client.hpp"
#include "marketplace/api/task_thread.hpp"
#include "marketplace/app/engine_thread.hpp"
#include "marketplace/app/job_records.hpp"
#include "marketplace/http/router.hpp"
#include "marketplace/wire/worker_json.hpp"

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <unordered_map>

namespace marketplace::app {

/// What concerns completions, answered by the inference router.
class InferenceEvents {
 public:
    virtual ~InferenceEvents() = default;
    virtual void on_serving(const domain::Address& worker, const domain::Hash32& output_lease,
                            const std::string& model) = 0;
    virtual void on_token(const domain::Address& worker, const wire::Token& token) = 0;
    virtual void on_embedding(const domain::Address& worker, const wire::Embedding& embedding) = 0;
    virtual void on_done(const domain::Address& worker, const wire::CompletionDone& done) = 0;
    virtual void on_refused(const domain::Address& worker,
                            const wire::CompletionRefused& refused) = 0;
    virtual void on_worker_gone(const domain::Address& worker) = 0;
};

/// The workers' side of the market: one WebSocket per worker key. Hands out assignments, takes
/// receipts into the engine, gets vouchers signed by the buyers' delegate and countersigned by
/// the worker, and reports workers that stay away. Thread-safe.
class WorkerGateway {
 public:
    struct Deps {
        EngineThread& engine;
        api::CatalogPort& catalog;
        ledger::rpc::Chain& chain;  ///< used on the side thread only
        const ledger::signer::SignerClient& signer;
        const ledger::base::Clock& clock;
        JobRecords& records;
        ledger::settlement::Deployment deployment;
        domain::Address delegate;    ///< the market's voucher signer
        ledger::base::Bytes secret;  ///< of the leases' salts
        std::uint64_t grace_ms = 15'000;
    };
    using Authorise = std::function<ledger::base::Result<domain::Address>(const http::Request&)>;

    explicit WorkerGateway(Deps deps);
    ~WorkerGateway();

    void set_inference(InferenceEvents* inference) { inference_ = inference; }  ///< before start
    /// Registers with the engine thread, before it starts.
    void observe();
    /// After a restart: workers with work in hand have the grace period to come back.
    void start();
    /// Ends side work and closes the connections.
    void stop();
    /// Reports workers whose grace is over. Call a few times a second.
    void tick();

    /// Factory of the route /v1/worker/ws; `authorise` gives the session's account.
    [[nodiscard]] http::WebSocketFactory factory(Authorise authorise);

    /// Sends to a connected worker; false when it is away or its queue is full.
    bool send(const domain::Address& worker, const wire::MarketMessage& message);
    /// Checks a receipt's signature and hands it to the engine; acknowledges it to the worker.
    void take_receipt(const domain::Address& worker, const wire::SignedReceipt& receipt,
                      std::function<void(ledger::base::Result<void>)> done);

 private:
    class Connection;
    struct Pending {
        ledger::eth::Voucher voucher;
        domain::Signature buyer_signature;
    };

    struct Assigned {
        domain::JobId job;
        domain::Address worker;
    };

    /// Its worker was admitted, and has not dialled anew since.
    [[nodiscard]] bool is_known(const std::shared_ptr<Connection>& connection);
    void on_message(const std::shared_ptr<Connection>& connection, const std::string& text);
    /// The job of a lease that was handed to this very worker.
    [[nodiscard]] std::optional<domain::JobId> job_of(const domain::Address& worker,
                                                      const domain::Hash32& lease);
    void on_close(Connection& connection);
    void on_hello(const std::shared_ptr<Connection>& connection, const wire::Hello& hello);
    void admit(const std::shared_ptr<Connection>& connection, const wire::Hello& hello);
    void resume(const domain::Address& worker, const wire::Hello& hello);
    void on_receipt(const domain::Address& worker, const wire::ReceiptMessage& message);
    void on_voucher(const domain::Address& worker, const wire::WorkerVoucher& message);
    void on_metrics(const domain::Address& worker, const wire::Metrics& metrics);
    void on_failed(const domain::Address& worker, const wire::WorkFailed& failed);
    void on_record(const engine::Record& record, const engine::Engine& engine);
    /// Submits what a worker says of a lease, when the lease is its own.
    void submit_for(const domain::Address& worker, const domain::Hash32& lease,
                    domain::Command command);
    void submit(const domain::Address& worker, domain::Command command);
    void assign(const engine::Engine& engine, const domain::Lease& lease);
    /// Queues a voucher over all receipts of the lease so far.
    void want_voucher(const domain::Hash32& lease);
    void issue_voucher(const domain::Hash32& lease);
    [[nodiscard]] domain::Hash32 salt_of(const domain::Hash32& lease) const;

    Deps deps_;
    domain::Hash32 separator_;
    InferenceEvents* inference_ = nullptr;
    api::TaskThread side_;  // for what may wait: chain and signer
    std::mutex mutex_;
    std::unordered_map<domain::Address, std::shared_ptr<Connection>> connections_;
    std::unordered_map<domain::Address, domain::TimeMs> away_since_;
    std::unordered_map<domain::Hash32, Assigned> assigned_;  // leases handed out
    std::unordered_map<domain::Hash32, Pending> pending_;    // vouchers not yet countersigned
    std::set<domain::Hash32> wanted_;                        // vouchers queued
    std::set<domain::Hash32> unsigned_;                      // vouchers whose signer was away
};

}  // namespace marketplace::app
