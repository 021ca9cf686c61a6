// SPDX-License-Identifier: Apache-2.0
#include "worker/agent/serve_session.hpp"

#include "ledger/base/hex.hpp"
#include "ledger/base/money.hpp"
#include "worker/agent/folder_links.hpp"

#include <fmt/format.h>

#include <charconv>
#include <future>
#include <utility>
#include <variant>

namespace worker::agent {
namespace {

using ledger::base::Error;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::to_hex;
namespace wire = marketplace::wire;

constexpr std::size_t kRunningMax = 64;

Result<double> parse_decimal(std::string_view text, const char* name) {
    double value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size())
        return fail(ErrorCode::invalid_field, std::string(name) + " is no decimal number");
    return value;
}

Result<executor::GenerateRequest> to_request(const wire::Infer& infer) {
    executor::GenerateRequest request;
    request.id = std::to_string(infer.request);
    request.prompt = infer.prompt;
    request.messages = infer.messages;
    request.prompt_tokens_max = wire::input_tokens_max(infer.prompt, infer.messages);
    request.params.max_tokens = static_cast<std::uint32_t>(
        std::min<std::uint64_t>(infer.max_tokens, std::uint64_t{1} << 20));
    request.temperature_given = !infer.temperature.empty();
    request.top_p_given = !infer.top_p.empty();
    if (request.temperature_given) {
        TRY_ASSIGN(request.params.temperature, parse_decimal(infer.temperature, "temperature"));
    }
    if (request.top_p_given) {
        TRY_ASSIGN(request.params.top_p, parse_decimal(infer.top_p, "top_p"));
    }
    request.params.seed = infer.seed;
    request.params.stop = infer.stop;
    return request;
}

std::uint64_t remaining(const LeaseBook& book) {
    return book.terms().max_units - std::min(book.terms().max_units, book.cumulative_units());
}

}  // namespace

ServeSession::ServeSession(const SessionContext& context) : context_(context) {}

ServeSession::~ServeSession() {
    stop();
}

void ServeSession::note(LogLevel level, std::string_view text) const {
    const LeaseBook* book = output_ ? output_.get() : input_.get();
    const std::string name = book ? to_hex(book->terms().lease).substr(0, 10) : "";
    context_.log(level, fmt::format("serving lease {}: {}", name, text));
}

void ServeSession::add(std::shared_ptr<LeaseBook> book) {
    actor_.post([this, book = std::move(book)] {
        if (book->terms().unit_kind == ledger::eth::UnitKind::kInputToken) {
            input_ = book;
        } else {
            output_ = book;
        }
        if (!input_ || !output_ || phase_ != Phase::kWaiting) return;
        const bool over =
            input_->outcome() != Outcome::kOpen || output_->outcome() != Outcome::kOpen;
        phase_ = over ? Phase::kOver : Phase::kLoading;
        prepare();
    });
}

void ServeSession::resync(const Hash32& lease, std::uint64_t market_sequence) {
    actor_.post([this, lease, market_sequence] {
        for (const auto& book : {input_, output_}) {
            if (!book || book->terms().lease != lease) continue;
            book->acknowledge(market_sequence);
            resends_left_ = kResendsMax;
            say_again(*book);
        }
        if (phase_ == Phase::kServing) announce();
    });
}

void ServeSession::paid() {}

void ServeSession::cancel(const std::string& reason) {
    actor_.post([this, reason] {
        if (phase_ == Phase::kOver) return;
        note(LogLevel::kInfo, "ended by the market: " + reason);
        end(Outcome::kCancelled);
    });
}

void ServeSession::tick() {
    actor_.post([this] {
        const std::uint64_t now = context_.clock.now_ms();
        if (phase_ == Phase::kLoading && now >= next_attempt_ms_) prepare();
        if (now < last_sent_ms_ + context_.resend_ms || resends_left_ == 0) return;
        --resends_left_;
        for (const auto& book : {input_, output_})
            if (book && !book->unacknowledged().empty()) say_again(*book);
    });
}

void ServeSession::infer(const wire::Infer& request) {
    if (!actor_.post([this, request] { accept(request); }))
        context_.outbox.send(
            wire::CompletionRefused{request.request, "unavailable", "the worker is stopping"});
}

void ServeSession::abort(std::uint64_t request) {
    actor_.post([this, request] {
        if (job_ && running_.contains(request)) job_->abort(std::to_string(request));
    });
}

bool ServeSession::active() const {
    return phase_ != Phase::kOver;
}

std::optional<Hash32> ServeSession::serving() const {
    const std::lock_guard lock(serving_mutex_);
    return serving_;
}

void ServeSession::stop() {
    std::promise<void> done;
    const bool posted = actor_.post([this, &done] {
        stopping_ = true;
        job_.reset();
        done.set_value();
    });
    if (posted) done.get_future().wait();
    actor_.stop();
}

void ServeSession::prepare() {
    if (phase_ != Phase::kLoading || stopping_ || job_) return;
    const std::uint64_t now = context_.clock.now_ms();
    if (began_ms_ == 0) began_ms_ = now;
    const Result<void> started = try_start();
    if (started) return;
    const Error& error = started.error();
    if (is_transient(error.code()) && now < began_ms_ + context_.give_up_ms) {
        note(LogLevel::kWarning, "cannot start yet: " + error.message());
        next_attempt_ms_ = now + context_.retry_ms;
        return;
    }
    fail_leases(error);
}

Result<void> ServeSession::try_start() {
    if (input_->terms().spec != output_->terms().spec)
        return fail(ErrorCode::job_spec_invalid, "the two leases have different job specs");
    TRY(context_.guard.check(input_->terms()));
    TRY(context_.guard.check(output_->terms()));
    TRY_ASSIGN(const model::JobSpec spec, model::parse_job_spec(output_->terms().spec));
    const auto* serve = std::get_if<model::ServeSpec>(&spec);
    if (serve == nullptr) return fail(ErrorCode::job_spec_invalid, "the leases are for serving");
    spec_ = *serve;
    executor::ServeTask task;
    task.spec_json = output_->terms().spec;
    task.runtime = context_.runtime;
    task.limits = context_.limits;
    task.job_dir = context_.jobs_folder / to_hex(output_->terms().lease).substr(2);
    std::error_code error;
    std::filesystem::create_directories(task.job_dir, error);
    if (error) return fail(ErrorCode::io_error, "cannot make the job's folder");
    if (const auto* own = std::get_if<model::OwnModel>(&spec_.source)) {
        TRY_ASSIGN(task.weights, context_.blobs.fetch(own->weights));
    } else {
        task.folder = folder_path();
        TRY(link_folder(context_.blobs, std::get<model::FolderFiles>(spec_.source).blobs,
                        task.folder));
    }
    TRY_ASSIGN(auto job, context_.executor.start_serve(task, [this](const executor::JobEvent& e) {
        actor_.post([this, e] { on_event(e); });
    }));
    job_ = std::move(job);
    return {};
}

std::filesystem::path ServeSession::folder_path() const {
    return context_.jobs_folder / (to_hex(output_->terms().lease).substr(2) + ".model");
}

void ServeSession::announce() {
    context_.outbox.send(wire::Started{input_->terms().lease});
    context_.outbox.send(wire::Started{output_->terms().lease});
    context_.outbox.send(wire::Serving{output_->terms().lease, spec_.name});
}

void ServeSession::on_event(const executor::JobEvent& event) {
    if (phase_ == Phase::kOver || stopping_) return;
    if (std::holds_alternative<executor::Ready>(event)) {
        phase_ = Phase::kServing;
        {
            const std::lock_guard lock(serving_mutex_);
            serving_ = output_->terms().lease;
        }
        note(LogLevel::kInfo, "serving " + spec_.name);
        announce();
    } else if (const auto* token = std::get_if<executor::Token>(&event)) {
        const auto id = ledger::base::parse_u64(token->id);
        const auto found = id ? running_.find(*id) : running_.end();
        if (found == running_.end()) return;
        found->second.text += token->piece.text;
        context_.outbox.send(wire::Token{*id, token->piece.text, token->piece.index});
    } else if (const auto* done = std::get_if<executor::GenerationDone>(&event)) {
        on_done(*done);
    } else if (const auto* refused = std::get_if<executor::GenerationRefused>(&event)) {
        if (const auto id = ledger::base::parse_u64(refused->id)) refuse(*id, refused->error);
    } else if (const auto* failed = std::get_if<executor::Failed>(&event)) {
        fail_leases(failed->error);
    } else if (std::holds_alternative<executor::Finished>(event)) {
        fail_leases(Error(ErrorCode::worker_failed, "the model's process ended by itself"));
    }
}

Result<void> ServeSession::admit(const wire::Infer& request) const {
    if (phase_ != Phase::kServing || !job_)
        return fail(ErrorCode::no_capacity, "the model is not loaded");
    if (request.input_lease != input_->terms().lease ||
        request.output_lease != output_->terms().lease)
        return fail(ErrorCode::wrong_state, "the request names other leases");
    if (running_.size() >= kRunningMax)
        return fail(ErrorCode::queue_full, "too many completions at once");
    const std::uint64_t now = context_.clock.now_ms();
    if (payment_overdue(*input_, context_.payment, now) ||
        payment_overdue(*output_, context_.payment, now))
        return fail(ErrorCode::unavailable, "two voucher periods are unpaid");
    // Every token that may be billed must fit under the locks. A chat template may make any text of
    // its messages, so this bound goes to the child, which refuses inputs above it.
    std::uint64_t input = wire::input_tokens_max(request.prompt, request.messages);
    std::uint64_t output = request.max_tokens;
    for (const auto& [id, other] : running_) {
        input += other.input_tokens_max;
        output += other.max_tokens;
    }
    if (input > remaining(*input_) || output > remaining(*output_))
        return fail(ErrorCode::voucher_above_lock, "the completion may pass the lease's tokens");
    return {};
}

void ServeSession::accept(const wire::Infer& request) {
    Result<void> admitted = admit(request);
    if (admitted) {
        const auto task = to_request(request);
        running_[request.request] =
            Running{request.messages.empty() ? request.prompt : request.messages,
                    wire::input_tokens_max(request.prompt, request.messages),
                    {},
                    request.max_tokens};
        admitted = task ? job_->generate(*task) : tl::make_unexpected(task.error());
    }
    if (!admitted) refuse(request.request, admitted.error());
}

void ServeSession::refuse(std::uint64_t request, const Error& error) {
    running_.erase(request);
    context_.outbox.send(wire::CompletionRefused{
        request, std::string(ledger::base::to_string(error.code())), error.detail()});
}

std::optional<wire::SignedReceipt> ServeSession::bill(LeaseBook& book, std::uint64_t units,
                                                      const Running& running,
                                                      const executor::GenerationDone& done) {
    if (units == 0) return std::nullopt;
    WorkDone work;
    work.cumulative_units = book.cumulative_units() + std::min(units, remaining(book));
    work.model_hash = model::model_hash(spec_);
    work.request_hash = salted_hash(book.terms().salt, running.input);
    work.response_hash = salted_hash(book.terms().salt, running.text);
    work.start_ms = done.start_ms;
    work.end_ms = done.end_ms;
    const auto stored = book.append(work, context_.worker, context_.domain);
    if (!stored) {
        note(LogLevel::kError, "no receipt: " + stored.error().message());
        return std::nullopt;
    }
    return wire::SignedReceipt{stored->receipt, stored->signature};
}

void ServeSession::on_done(const executor::GenerationDone& done) {
    const auto id = ledger::base::parse_u64(done.id);
    const auto found = id ? running_.find(*id) : running_.end();
    if (found == running_.end()) return;
    const Running running = std::move(found->second);
    running_.erase(found);
    // The child read a stranger's files: it bills no more input than was locked for this request.
    const std::uint64_t prompt_tokens = std::min(done.prompt_tokens, running.input_tokens_max);
    wire::CompletionDone message;
    message.request = *id;
    message.prompt_tokens = prompt_tokens;
    message.completion_tokens = done.completion_tokens;
    message.finish_reason = done.finish_reason;
    if (auto receipt = bill(*input_, prompt_tokens, running, done))
        message.receipts.push_back(std::move(*receipt));
    if (auto receipt = bill(*output_, done.completion_tokens, running, done))
        message.receipts.push_back(std::move(*receipt));
    last_sent_ms_ = context_.clock.now_ms();
    resends_left_ = kResendsMax;
    context_.outbox.send(message);
}

void ServeSession::fail_leases(const Error& error) {
    note(LogLevel::kError, error.message());
    failure_ = error;
    for (const auto& [id, running] : std::exchange(running_, {}))
        refuse(id, error);
    for (const auto& book : {input_, output_})
        context_.outbox.send(wire::WorkFailed{book->terms().lease,
                                              std::string(ledger::base::to_string(error.code())),
                                              error.detail()});
    end(Outcome::kFailed);
}

void ServeSession::end(Outcome outcome) {
    phase_ = Phase::kOver;
    {
        const std::lock_guard lock(serving_mutex_);
        serving_.reset();
    }
    for (const auto& [id, running] : std::exchange(running_, {}))
        refuse(id, Error(ErrorCode::lease_closed, "the serving lease ended"));
    for (const auto& book : {input_, output_}) {
        if (!book) continue;
        if (const Result<void> stored = book->set_outcome(outcome); !stored)
            note(LogLevel::kError, stored.error().message());
    }
    job_.reset();
    std::error_code ignored;
    if (output_) std::filesystem::remove_all(folder_path(), ignored);
}

void ServeSession::say_again(LeaseBook& book) {
    last_sent_ms_ = context_.clock.now_ms();
    for (const StoredReceipt& stored : book.unacknowledged())
        context_.outbox.send(to_message(stored));
    if (book.outcome() == Outcome::kFailed) {
        const Error error = failure_.value_or(Error(ErrorCode::worker_failed));
        context_.outbox.send(wire::WorkFailed{book.terms().lease,
                                              std::string(ledger::base::to_string(error.code())),
                                              error.detail()});
    }
}

}  // namespace worker::agent
