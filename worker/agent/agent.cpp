// SPDX-License-Identifier: Apache-2.0
#include "worker/agent/agent.hpp"

#include "ledger/base/hex.hpp"
#include "worker/agent/train_session.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>
#include <variant>

namespace worker::agent {
namespace {

using ledger::base::Error;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::to_hex;
using ledger::eth::UnitKind;
namespace wire = marketplace::wire;

constexpr std::size_t kHelloLeasesMax = 300;  // fits the message limit
constexpr std::size_t kTrainSessionsMax = 4;
constexpr std::uint64_t kClockSkewMsMax = 30'000;

LeaseTerms to_terms(const wire::Assign& message) {
    LeaseTerms terms;
    terms.lease = message.lease;
    terms.parties = {message.parties.buyer, message.parties.provider,
                     message.parties.voucher_signer, message.parties.worker};
    terms.key = {message.ask_hash, message.bid_hash, message.index};
    terms.unit_kind = message.unit_kind;
    terms.price_atoms = message.price_atoms;
    terms.max_units = message.max_units;
    terms.spec = message.spec;
    terms.salt = message.salt;
    terms.job = message.job.to_string();
    terms.start_step = message.start_step;
    terms.start_checkpoint = message.start_checkpoint;
    return terms;
}

}  // namespace

Agent::Agent(SessionContext context, Identity identity, LeaseStore& store)
    : context_(std::move(context)), identity_(std::move(identity)), store_(store) {}

Agent::~Agent() {
    stop();
}

void Agent::on_open() {
    welcomed_ = false;
    wire::Hello hello;
    hello.worker = identity_.worker;
    hello.provider = identity_.provider;
    hello.resource = identity_.resource;
    for (const auto& book : store_.all()) {
        const bool open = book->outcome() == Outcome::kOpen || book->unpaid_atoms() > 0;
        if (open && hello.leases.size() < kHelloLeasesMax)
            hello.leases.push_back({book->terms().lease, book->sequence()});
    }
    for (const auto& [job, session] : serve_jobs_)
        if (const auto lease = session->serving()) hello.serving.push_back(*lease);
    context_.outbox.send(hello);
}

void Agent::on_message(std::string_view text) {
    const auto message = wire::decode_market_message(text);
    if (!message) {
        context_.log(LogLevel::kError,
                     "message of the market not understood: " + message.error().message());
        return;
    }
    std::visit([this](const auto& m) { handle(m); }, *message);
}

void Agent::tick() {
    for (const auto& [lease, session] : sessions_)
        session->tick();
}

void Agent::stop() {
    std::set<Session*> stopped;
    for (const auto& [lease, session] : sessions_)
        if (stopped.insert(session.get()).second) session->stop();
    serve_jobs_.clear();
    sessions_.clear();
}

std::size_t Agent::active_sessions() const {
    std::set<const Session*> active;
    for (const auto& [lease, session] : sessions_)
        if (session->active()) active.insert(session.get());
    return active.size();
}

std::vector<SessionStatus> Agent::sessions() const {
    std::vector<SessionStatus> out;
    for (const auto& [lease, session] : sessions_) {
        const auto book = store_.find(lease);
        if (!book) continue;
        out.push_back({lease, book->terms().job,
                       std::string(ledger::eth::to_string(book->terms().unit_kind)),
                       session->active()});
    }
    return out;
}

void Agent::handle(const wire::Welcome& message) {
    if (message.chain_id != context_.domain.chain_id ||
        message.leases != context_.domain.contract) {
        fatal_ = Error(ErrorCode::chain_mismatch,
                       fmt::format("the market settles on chain {} at {}, this worker was set up "
                                   "for chain {} at {}",
                                   message.chain_id, to_hex(message.leases),
                                   context_.domain.chain_id, to_hex(context_.domain.contract)));
        return;
    }
    welcomed_ = true;
    const std::uint64_t now = context_.clock.now_ms();
    const std::uint64_t skew =
        now > message.market_time_ms ? now - message.market_time_ms : message.market_time_ms - now;
    if (skew > kClockSkewMsMax)
        context_.log(
            LogLevel::kWarning,
            fmt::format("this clock and the market's differ by {} s; set the clock", skew / 1000));
    context_.log(LogLevel::kInfo, "connected to the market");
    for (const auto& [lease, session] : sessions_) {
        const auto book = store_.find(lease);
        if (book) session->resync(lease, 0);
    }
}

Result<std::shared_ptr<LeaseBook>> Agent::accept(const wire::Assign& message) {
    const LeaseTerms terms = to_terms(message);
    if (terms.parties.worker_key != identity_.worker ||
        terms.parties.provider != identity_.provider)
        return fail(ErrorCode::invalid_field, "the lease is for another worker or provider");
    if (ledger::settlement::lease_id(terms.key) != terms.lease)
        return fail(ErrorCode::invalid_field, "the lease's id does not follow from its orders");
    if (terms.unit_kind == UnitKind::kGpuMs)
        return fail(ErrorCode::unsupported, "leases of GPU time are not run by this worker");
    std::shared_ptr<LeaseBook> book = store_.find(terms.lease);
    if (!book) {
        if (message.receipts_sequence > 0)
            return fail(ErrorCode::worker_lost, "this worker's record of the lease is gone");
        if (draining_) return fail(ErrorCode::no_capacity, "the worker takes no new work");
        const bool training = terms.unit_kind == UnitKind::kTrainingStep;
        if (training && active_sessions() >= kTrainSessionsMax)
            return fail(ErrorCode::no_capacity, "the worker is busy");
    }
    TRY_ASSIGN(book, store_.create(terms));
    if (message.receipts_sequence > book->sequence())
        return fail(ErrorCode::worker_lost, "this worker lost receipts of the lease");
    return book;
}

void Agent::handle(const wire::Assign& message) {
    if (!welcomed_) return;  // a market that has not said who it is gives no work
    const auto book = accept(message);
    if (!book) {
        refuse(message.lease, book.error());
        return;
    }
    const bool is_new = !sessions_.contains(message.lease);
    const bool has_past = (*book)->sequence() > 0 || (*book)->outcome() != Outcome::kOpen;
    if (is_new) open_session(*book);
    // A lease that begins has nothing to say again.
    if (is_new && !has_past) return;
    const auto found = sessions_.find(message.lease);
    if (found != sessions_.end()) found->second->resync(message.lease, message.receipts_sequence);
}

void Agent::open_session(const std::shared_ptr<LeaseBook>& book) {
    const LeaseTerms& terms = book->terms();
    context_.log(
        LogLevel::kInfo,
        fmt::format("lease {} of {} assigned: {} units of {}", to_hex(terms.lease).substr(0, 10),
                    terms.job, terms.max_units, ledger::eth::to_string(terms.unit_kind)));
    if (terms.unit_kind == UnitKind::kTrainingStep) {
        sessions_[terms.lease] = std::make_shared<TrainSession>(context_, book);
        return;
    }
    std::shared_ptr<ServeSession>& serve = serve_jobs_[terms.job];
    // A job that failed here before and came back has new leases: it gets a session of its own.
    if (!serve || !serve->active()) serve = std::make_shared<ServeSession>(context_);
    serve->add(book);
    sessions_[terms.lease] = serve;
}

void Agent::refuse(const Hash32& lease, const Error& error) {
    context_.log(LogLevel::kWarning,
                 fmt::format("lease {} refused: {}", to_hex(lease).substr(0, 10), error.message()));
    context_.outbox.send(wire::WorkFailed{lease, std::string(ledger::base::to_string(error.code())),
                                          error.detail()});
}

void Agent::handle(const wire::Ack& message) {
    if (const auto book = store_.find(message.lease)) book->acknowledge(message.sequence);
}

void Agent::handle(const wire::BuyerVoucher& message) {
    const auto book = store_.find(message.voucher.lease);
    if (!book) {
        context_.log(LogLevel::kWarning, "voucher of an unknown lease ignored");
        return;
    }
    const auto stored = book->countersign(message.voucher, message.buyer_signature, context_.worker,
                                          context_.domain);
    if (!stored) {
        context_.log(LogLevel::kWarning, fmt::format("voucher of lease {} not signed: {}",
                                                     to_hex(message.voucher.lease).substr(0, 10),
                                                     stored.error().message()));
        return;
    }
    context_.outbox.send(wire::WorkerVoucher{stored->voucher, stored->worker_signature});
    const auto found = sessions_.find(message.voucher.lease);
    if (found != sessions_.end()) found->second->paid();
}

void Agent::handle(const wire::CancelWork& message) {
    const auto found = sessions_.find(message.lease);
    if (found != sessions_.end()) {
        found->second->cancel(message.reason);
        return;
    }
    const auto book = store_.find(message.lease);
    if (book && book->outcome() == Outcome::kOpen) {
        if (const auto stored = book->set_outcome(Outcome::kCancelled); !stored)
            context_.log(LogLevel::kError, stored.error().message());
    }
}

void Agent::handle(const wire::Infer& message) {
    const auto found = sessions_.find(message.output_lease);
    if (found == sessions_.end()) {
        context_.outbox.send(wire::CompletionRefused{message.request, "no_capacity",
                                                     "the worker does not serve this lease"});
        return;
    }
    found->second->infer(message);
}

void Agent::handle(const wire::Embed& message) {
    const auto found = sessions_.find(message.output_lease);
    if (found == sessions_.end()) {
        context_.outbox.send(wire::CompletionRefused{message.request, "no_capacity",
                                                     "the worker does not serve this lease"});
        return;
    }
    found->second->embed(message);
}

void Agent::handle(const wire::HoldCompletion& message) {
    for (const auto& [job, session] : serve_jobs_)
        session->pace(message);
}

void Agent::handle(const wire::AbortCompletion& message) {
    for (const auto& [job, session] : serve_jobs_)
        session->abort(message.request);
}

void Agent::handle(const wire::MarketError& message) {
    context_.log(LogLevel::kWarning, "the market says " + message.code + ": " + message.detail);
}

}  // namespace worker::agent
