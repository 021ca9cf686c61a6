// SPDX-License-Identifier: Apache-2.0
#include "marketplace/app/worker_gateway.hpp"

#include "ledger/base/hex.hpp"
#include "ledger/base/sha256.hpp"
#include "ledger/crypto/address.hpp"
#include "ledger/crypto/secp256k1.hpp"
#include "ledger/settlement/providers_abi.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <cmath>

namespace marketplace::app {
namespace {

using ledger::base::Error;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;
using ledger::crypto::to_checksum;
constexpr std::size_t kSideQueue = 4096;

template <typename... Fs>
struct Overloaded : Fs... {
    using Fs::operator()...;
};
template <typename... Fs>
Overloaded(Fs...) -> Overloaded<Fs...>;

bool is_active(const domain::Lease& lease) {
    return lease.state == domain::LeaseState::kOpen || lease.state == domain::LeaseState::kRunning;
}

std::string json_number(double value) {
    return std::isfinite(value) ? fmt::format("{}", value) : std::string("null");
}

wire::MarketError market_error(const Error& error) {
    return {std::string(ledger::base::to_string(error.code())), error.message()};
}

}  // namespace

/// One socket. Its worker is known from the session; work starts after hello was admitted.
class WorkerGateway::Connection final : public http::WebSocketHandler,
                                        public std::enable_shared_from_this<Connection> {
 public:
    Connection(WorkerGateway& gateway, const domain::Address& worker)
        : gateway_(gateway), worker_(worker) {}

    void on_open(http::WebSocketSessionPtr session) override { session_ = std::move(session); }
    void on_message(std::string text) override { gateway_.on_message(shared_from_this(), text); }
    void on_close() override {
        gateway_.on_close(*this);
        session_.reset();
    }

    [[nodiscard]] const domain::Address& worker() const { return worker_; }
    bool send(const wire::MarketMessage& message) {
        const http::WebSocketSessionPtr session = session_;
        return session && session->send(wire::encode(message));
    }
    void close(http::WsClose code, std::string reason) {
        if (const http::WebSocketSessionPtr session = session_)
            session->close(code, std::move(reason));
    }

 private:
    WorkerGateway& gateway_;
    const domain::Address worker_;
    http::WebSocketSessionPtr session_;
};

WorkerGateway::WorkerGateway(Deps deps)
    : deps_(std::move(deps)),
      separator_(ledger::eth::domain_separator(deps_.deployment.leases_domain())),
      side_(kSideQueue) {}

WorkerGateway::~WorkerGateway() {
    stop();
}

void WorkerGateway::observe() {
    deps_.engine.add_observer([this](const engine::Record& record, ledger::base::ByteView,
                                     const engine::Engine& engine) { on_record(record, engine); });
}

void WorkerGateway::start() {
    const auto held = deps_.engine.ask([](const engine::Engine& engine) {
        std::set<domain::Address> workers;
        engine.for_each_lease([&workers](const domain::Lease& lease) {
            if (is_active(lease) || lease.state == domain::LeaseState::kMatched)
                workers.insert(lease.worker);
            return true;
        });
        return workers;
    });
    if (!held) return;
    const domain::TimeMs now = deps_.clock.now_ms();
    const std::scoped_lock lock(mutex_);
    for (const domain::Address& worker : *held)
        if (!connections_.contains(worker)) away_since_.emplace(worker, now);
}

void WorkerGateway::stop() {
    side_.stop();
    std::unordered_map<domain::Address, std::shared_ptr<Connection>> connections;
    {
        const std::scoped_lock lock(mutex_);
        connections.swap(connections_);
    }
    for (const auto& [worker, connection] : connections)
        connection->close(http::WsClose::kGoingAway, "the market restarts");
}

void WorkerGateway::tick() {
    std::vector<domain::Address> lost;
    std::set<domain::Hash32> retried;
    {
        const std::scoped_lock lock(mutex_);
        retried = unsigned_;
        const domain::TimeMs now = deps_.clock.now_ms();
        for (auto it = away_since_.begin(); it != away_since_.end();) {
            if (now < it->second + deps_.grace_ms) {
                ++it;
                continue;
            }
            lost.push_back(it->first);
            it = away_since_.erase(it);
        }
    }
    for (const domain::Hash32& lease : retried)
        want_voucher(lease);
    for (const domain::Address& worker : lost) {
        spdlog::warn("worker {} is lost", to_checksum(worker));
        domain::WorkerLost command;
        command.worker = worker;
        submit(worker, command);
    }
}

http::WebSocketFactory WorkerGateway::factory(Authorise authorise) {
    return [this, authorise = std::move(authorise)](
               const http::Request& request) -> Result<std::shared_ptr<http::WebSocketHandler>> {
        TRY_ASSIGN(const domain::Address worker, authorise(request));
        return std::make_shared<Connection>(*this, worker);
    };
}

bool WorkerGateway::send(const domain::Address& worker, const wire::MarketMessage& message) {
    std::shared_ptr<Connection> connection;
    {
        const std::scoped_lock lock(mutex_);
        const auto found = connections_.find(worker);
        if (found == connections_.end()) return false;
        connection = found->second;
    }
    return connection->send(message);
}

bool WorkerGateway::is_known(const std::shared_ptr<Connection>& connection) {
    const std::scoped_lock lock(mutex_);
    const auto found = connections_.find(connection->worker());
    return found != connections_.end() && found->second == connection;
}

void WorkerGateway::on_message(const std::shared_ptr<Connection>& connection,
                               const std::string& text) {
    const auto message = wire::decode_worker_message(text);
    const domain::Address& worker = connection->worker();
    if (!message) {
        connection->send(market_error(message.error()));
        // Nothing comes of a connection whose hello is not understood.
        if (!is_known(connection)) connection->close(http::WsClose::kPolicy, "no hello");
        return;
    }
    if (const auto* hello = std::get_if<wire::Hello>(&*message))
        return on_hello(connection, *hello);
    if (!is_known(connection)) {
        connection->send(wire::MarketError{"wrong_state", "send hello first"});
        return;
    }
    std::visit(Overloaded{[](const wire::Hello&) {},
                          [&](const wire::Started& m) {
                              submit_for(worker, m.lease, domain::LeaseStarted{m.lease});
                          },
                          [&](const wire::Metrics& m) { on_metrics(worker, m); },
                          [&](const wire::ReceiptMessage& m) { on_receipt(worker, m); },
                          [&](const wire::WorkerVoucher& m) { on_voucher(worker, m); },
                          [&](const wire::WorkFailed& m) { on_failed(worker, m); },
                          [&](const wire::WorkFinished& m) {
                              submit_for(worker, m.lease, domain::LeaseFinished{m.lease});
                          },
                          [&](const wire::Serving& m) {
                              if (inference_ != nullptr)
                                  inference_->on_serving(worker, m.lease, m.model);
                          },
                          [&](const wire::Token& m) {
                              if (inference_ != nullptr) inference_->on_token(worker, m);
                          },
                          [&](const wire::Embedding& m) {
                              if (inference_ != nullptr) inference_->on_embedding(worker, m);
                          },
                          [&](const wire::CompletionDone& m) {
                              if (inference_ != nullptr) inference_->on_done(worker, m);
                          },
                          [&](const wire::CompletionRefused& m) {
                              if (inference_ != nullptr) inference_->on_refused(worker, m);
                          }},
               *message);
}

void WorkerGateway::on_close(Connection& connection) {
    {
        const std::scoped_lock lock(mutex_);
        const auto found = connections_.find(connection.worker());
        if (found == connections_.end() || found->second.get() != &connection) return;
        connections_.erase(found);
        away_since_[connection.worker()] = deps_.clock.now_ms();
    }
    spdlog::info("worker {} disconnected", to_checksum(connection.worker()));
    if (inference_ != nullptr) inference_->on_worker_gone(connection.worker());
}

void WorkerGateway::on_hello(const std::shared_ptr<Connection>& connection,
                             const wire::Hello& hello) {
    if (hello.worker != connection->worker()) {
        connection->send(
            wire::MarketError{"invalid_request", "hello must carry the key of this session"});
        connection->close(http::WsClose::kPolicy, "bad hello");
        return;
    }
    const bool queued = side_.post([this, connection, hello] { admit(connection, hello); });
    if (!queued) connection->close(http::WsClose::kTryAgainLater, "busy");
}

// On the side thread: the chain says whether the key works for that provider.
void WorkerGateway::admit(const std::shared_ptr<Connection>& connection, const wire::Hello& hello) {
    const auto active =
        ledger::settlement::read_is_active(deps_.chain, deps_.deployment.providers, hello.provider,
                                           hello.worker, ledger::rpc::BlockTag::Name::kLatest);
    if (!active) {
        // Could not ask: nothing follows from it; the worker comes again.
        connection->send(market_error(active.error()));
        connection->close(http::WsClose::kTryAgainLater, "the chain cannot be asked");
        return;
    }
    if (!*active) {
        connection->send(
            market_error(Error(ErrorCode::unknown_worker,
                               "no active key of provider " + to_checksum(hello.provider))));
        connection->close(http::WsClose::kPolicy, "unknown worker");
        return;
    }
    std::shared_ptr<Connection> older;
    {
        const std::scoped_lock lock(mutex_);
        std::shared_ptr<Connection>& slot = connections_[hello.worker];
        older = std::exchange(slot, connection);
        away_since_.erase(hello.worker);
    }
    if (older && older != connection)
        older->close(http::WsClose::kPolicy, "a newer connection came");
    spdlog::info("worker {} of provider {} connected", to_checksum(hello.worker),
                 to_checksum(hello.provider));
    wire::Welcome welcome;
    welcome.chain_id = deps_.deployment.chain_id;
    welcome.leases = deps_.deployment.leases;
    welcome.receipt_log = deps_.deployment.receipt_log;
    welcome.market_time_ms = deps_.clock.now_ms();
    connection->send(welcome);
    domain::WorkerConnected command;
    command.worker = hello.worker;
    command.provider = hello.provider;
    deps_.engine.submit(command, [this, worker = hello.worker, hello](const auto& result) {
        if (!result) {
            send(worker, market_error(result.error()));
            return;
        }
        resume(worker, hello);
    });
}

// Hands out again what the worker has in hand, and takes back what it should not have.
void WorkerGateway::resume(const domain::Address& worker, const wire::Hello& hello) {
    const bool asked = deps_.engine.query([this, worker, hello](const engine::Engine& engine) {
        engine.for_each_lease([&](const domain::Lease& lease) {
            if (lease.worker != worker) return true;
            if (is_active(lease)) assign(engine, lease);
            if (lease.voucher_sequence < lease.sequence) want_voucher(lease.id);
            return true;
        });
        for (const wire::LeaseProgress& progress : hello.leases) {
            const domain::Lease* lease = engine.find_lease(progress.lease);
            if (lease == nullptr || lease->worker != worker || !is_active(*lease)) {
                const auto reason =
                    lease == nullptr ? domain::CloseReason::kExpired : lease->close_reason;
                send(worker, wire::CancelWork{progress.lease, std::string(to_string(reason))});
            }
        }
    });
    if (!asked) spdlog::warn("the engine is busy: worker {} was not resumed", to_checksum(worker));
}

void WorkerGateway::assign(const engine::Engine& engine, const domain::Lease& lease) {
    const engine::Job* job = engine.find_job(lease.job);
    if (job == nullptr) return;
    const auto spec = deps_.catalog.job_spec(job->legs.at(lease.leg).bid.job_spec_hash);
    if (!spec) {
        spdlog::error("the job spec of {} is missing", lease.job.to_string());
        return;
    }
    {
        const std::scoped_lock lock(mutex_);
        assigned_[lease.id] = {lease.job, lease.worker};
    }
    wire::Assign message;
    message.lease = lease.id;
    message.parties.buyer = lease.buyer;
    message.parties.provider = lease.provider;
    message.parties.voucher_signer = lease.voucher_signer;
    message.parties.worker = lease.worker;
    message.ask_hash = lease.ask_hash;
    message.bid_hash = lease.bid_hash;
    message.index = lease.index;
    message.unit_kind = lease.unit_kind;
    message.price_atoms = lease.price_atoms;
    message.max_units = lease.max_units;
    message.spec = *spec;
    message.salt = salt_of(lease.id);
    message.job = lease.job;
    message.start_step = lease.start_units;
    message.start_checkpoint = lease.start_checkpoint;
    message.receipts_sequence = lease.sequence;
    message.receipts_previous = lease.last_receipt;
    message.receipts_cumulative_units = lease.units;
    send(lease.worker, message);
}

void WorkerGateway::submit(const domain::Address& worker, domain::Command command) {
    deps_.engine.submit(std::move(command), [this, worker](const auto& result) {
        if (!result) send(worker, market_error(result.error()));
    });
}

std::optional<domain::JobId> WorkerGateway::job_of(const domain::Address& worker,
                                                   const domain::Hash32& lease) {
    const std::scoped_lock lock(mutex_);
    const auto found = assigned_.find(lease);
    if (found == assigned_.end() || found->second.worker != worker) return std::nullopt;
    return found->second.job;
}

void WorkerGateway::submit_for(const domain::Address& worker, const domain::Hash32& lease,
                               domain::Command command) {
    if (job_of(worker, lease)) return submit(worker, std::move(command));
    send(worker, market_error(Error(ErrorCode::not_found, "no such lease of this worker")));
}

void WorkerGateway::on_failed(const domain::Address& worker, const wire::WorkFailed& failed) {
    spdlog::warn("worker {} failed lease {}", to_checksum(worker),
                 ledger::base::to_hex(failed.lease));
    // The code goes into the public log: a name and nothing else.
    const bool is_name =
        !failed.code.empty() && failed.code.size() <= 64 &&
        failed.code.find_first_not_of("abcdefghijklmnopqrstuvwxyz_") == std::string::npos;
    submit_for(worker, failed.lease,
               domain::LeaseFailed{failed.lease, is_name ? failed.code : "worker_failed"});
}

void WorkerGateway::on_metrics(const domain::Address& worker, const wire::Metrics& metrics) {
    const auto job = job_of(worker, metrics.lease);
    if (!job) return;
    deps_.records.add(*job, deps_.clock.now_ms(), metrics.kind == "eval" ? "eval" : "train",
                      fmt::format(R"({{"step":{},"loss":{},"metric":{},"tokens_per_s":{}}})",
                                  metrics.step, json_number(metrics.loss),
                                  json_number(metrics.metric), json_number(metrics.tokens_per_s)));
}

void WorkerGateway::take_receipt(const domain::Address& worker,
                                 const wire::SignedReceipt& signed_receipt,
                                 std::function<void(Result<void>)> done) {
    if (!job_of(worker, signed_receipt.receipt.lease))
        return done(fail(ErrorCode::not_found, "no such lease of this worker"));
    const domain::Hash32 digest =
        ledger::eth::typed_digest(separator_, ledger::eth::struct_hash(signed_receipt.receipt));
    if (const auto valid = ledger::crypto::verify(digest, signed_receipt.signature, worker); !valid)
        return done(valid);
    domain::SubmitReceipt command;
    command.receipt = signed_receipt.receipt;
    command.signature = signed_receipt.signature;
    deps_.engine.submit(
        command, [this, worker, done = std::move(done), lease = command.receipt.lease,
                  sequence = command.receipt.sequence](const auto& result) {
            if (!result) return done(tl::make_unexpected(result.error()));
            for (const domain::Event& event : *result)
                if (std::holds_alternative<domain::ReceiptEquivocated>(event))
                    return done(fail(ErrorCode::receipt_equivocation, "the lease ends here"));
            send(worker, wire::Ack{lease, sequence});
            done({});
        });
}

void WorkerGateway::on_receipt(const domain::Address& worker, const wire::ReceiptMessage& message) {
    take_receipt(worker, message.receipt, [this, worker](const Result<void>& result) {
        if (!result) send(worker, market_error(result.error()));
    });
}

void WorkerGateway::want_voucher(const domain::Hash32& lease) {
    {
        const std::scoped_lock lock(mutex_);
        if (!wanted_.insert(lease).second) return;
    }
    if (!side_.post([this, lease] { issue_voucher(lease); })) {
        const std::scoped_lock lock(mutex_);
        wanted_.erase(lease);
    }
}

// On the side thread: the signer may take its time.
void WorkerGateway::issue_voucher(const domain::Hash32& id) {
    {
        const std::scoped_lock lock(mutex_);
        wanted_.erase(id);
    }
    struct Found {
        domain::Lease lease;
        ledger::signer::LeaseOrigin origin;
    };
    const auto found = deps_.engine.ask([id](const engine::Engine& engine) {
        const domain::Lease* lease = engine.find_lease(id);
        const engine::AskEntry* ask = lease == nullptr ? nullptr : engine.find_ask(lease->ask_hash);
        if (ask == nullptr) return std::optional<Found>();
        return std::optional<Found>({*lease, {ask->ask, lease->bid_hash, lease->index}});
    });
    if (!found || !*found) return;
    const domain::Lease& state = (*found)->lease;
    if (state.voucher_sequence >= state.sequence || state.voucher_signer != deps_.delegate) return;
    Pending pending;
    pending.voucher.lease = id;
    pending.voucher.sequence = state.sequence;
    pending.voucher.cumulative_units = state.units;
    pending.voucher.cumulative_amount_atoms = state.amount_atoms;
    pending.voucher.receipts_root = state.receipts_root;
    const auto signature = deps_.signer.sign_voucher(
        deps_.delegate, deps_.deployment.leases_domain(), pending.voucher, (*found)->origin);
    if (!signature) {
        // A signer that is away comes back; what it refused it goes on refusing.
        const bool comes_back = signature.error().code() == ErrorCode::unavailable ||
                                signature.error().code() == ErrorCode::timeout;
        const std::scoped_lock lock(mutex_);
        const bool is_news = comes_back ? unsigned_.insert(id).second : true;
        if (is_news)
            spdlog::error("voucher of lease {}: {}", ledger::base::to_hex(id),
                          signature.error().message());
        return;
    }
    pending.buyer_signature = *signature;
    {
        const std::scoped_lock lock(mutex_);
        unsigned_.erase(id);
        pending_[id] = pending;
    }
    send(state.worker, wire::BuyerVoucher{pending.voucher, pending.buyer_signature});
}

void WorkerGateway::on_voucher(const domain::Address& worker, const wire::WorkerVoucher& message) {
    std::optional<Pending> pending;
    {
        const std::scoped_lock lock(mutex_);
        const auto found = pending_.find(message.voucher.lease);
        if (found != pending_.end() && found->second.voucher == message.voucher)
            pending = found->second;
    }
    if (!pending) return want_voucher(message.voucher.lease);
    const domain::Hash32 digest =
        ledger::eth::typed_digest(separator_, ledger::eth::struct_hash(message.voucher));
    if (const auto valid = ledger::crypto::verify(digest, message.worker_signature, worker);
        !valid) {
        send(worker, market_error(valid.error()));
        return;
    }
    domain::RecordVoucher command;
    command.voucher = message.voucher;
    command.buyer_signature = pending->buyer_signature;
    command.worker_signature = message.worker_signature;
    deps_.engine.submit(command, [this, worker, lease = message.voucher.lease,
                                  sequence = message.voucher.sequence](const auto& result) {
        if (!result && result.error().code() != ErrorCode::voucher_not_higher)
            send(worker, market_error(result.error()));
        const std::scoped_lock lock(mutex_);
        const auto found = pending_.find(lease);
        if (result && found != pending_.end() && found->second.voucher.sequence <= sequence)
            pending_.erase(found);
    });
}

// On the engine thread, after the record is on disk.
void WorkerGateway::on_record(const engine::Record& record, const engine::Engine& engine) {
    for (const domain::Event& event : record.events) {
        if (const auto* changed = std::get_if<domain::LeaseChanged>(&event)) {
            const domain::Lease* lease = engine.find_lease(changed->lease);
            if (lease == nullptr) continue;
            if (changed->state == domain::LeaseState::kOpen) {
                assign(engine, *lease);
            } else if (changed->state == domain::LeaseState::kClosing &&
                       changed->reason != domain::CloseReason::kCompleted) {
                send(lease->worker,
                     wire::CancelWork{lease->id, std::string(to_string(changed->reason))});
            } else if (changed->state == domain::LeaseState::kClosed) {
                const std::scoped_lock lock(mutex_);
                assigned_.erase(lease->id);
                pending_.erase(lease->id);
                unsigned_.erase(lease->id);
            }
        } else if (const auto* receipt = std::get_if<domain::ReceiptAccepted>(&event)) {
            want_voucher(receipt->lease);
        } else if (const auto* job = std::get_if<domain::JobChanged>(&event)) {
            deps_.records.add(job->job, record.time_ms, "phase",
                              fmt::format(R"({{"state":"{}","units_done":{},"reason":"{}"}})",
                                          to_string(job->state), job->units_done, job->reason));
        }
    }
}

domain::Hash32 WorkerGateway::salt_of(const domain::Hash32& lease) const {
    ledger::base::Bytes bytes = deps_.secret;
    ledger::base::append(bytes, lease.span());
    return ledger::base::sha256(bytes);
}

}  // namespace marketplace::app
