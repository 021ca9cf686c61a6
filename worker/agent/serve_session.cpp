// SPDX-License-Identifier: Apache-2.0
#include "worker/agent/serve_session.hpp"

#include "ledger/base/hex.hpp"
#include "ledger/base/money.hpp"
#include "marketplace/wire/base64.hpp"
#include "worker/agent/folder_links.hpp"
#include "worker/agent/generate_request.hpp"

#include <fmt/format.h>

#include <algorithm>
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

/// Seeds of the choices lie far apart; the first has the request's own.
std::uint64_t seed_of(std::uint64_t seed, std::size_t choice) {
    return seed + choice * 0x9E3779B97F4A7C15ULL;
}

/// What the response hash is of: the text, or all texts with their lengths before them.
std::string whole_text(const std::vector<std::string>& texts) {
    if (texts.size() == 1) return texts.front();
    std::string out;
    for (const std::string& text : texts)
        out += fmt::format("{}:", text.size()) + text;
    return out;
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
        if (serving()) announce();
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
        if (phase_ == Phase::kReloading) refuse_late();
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

void ServeSession::embed(const wire::Embed& request) {
    if (!actor_.post([this, request] { accept(request); }))
        context_.outbox.send(
            wire::CompletionRefused{request.request, "unavailable", "the worker is stopping"});
}

void ServeSession::pace(const wire::HoldCompletion& message) {
    actor_.post([this, message] {
        const auto found = running_.find(message.request);
        if (!job_ || found == running_.end()) return;
        using Pace = model::TextModel::Pace;
        for (std::size_t i = 0; i < found->second.begun; ++i)
            job_->pace(to_id(message.request, i), message.hold != 0 ? Pace::kHold : Pace::kGo);
    });
}

void ServeSession::abort(std::uint64_t request) {
    actor_.post([this, request] {
        const auto found = running_.find(request);
        if (found == running_.end()) return;
        found->second.aborted = true;
        if (found->second.begun == 0) return end_request(request);
        if (!job_) return;
        for (std::size_t i = 0; i < found->second.begun; ++i)
            job_->abort(to_id(request, i));
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
        if (output_) context_.models.forget(output_->terms().lease);
        done.set_value();
    });
    if (posted) done.get_future().wait();
    actor_.stop();
}

/// Fetches what is served, until it is here or that took too long; then waits for room.
void ServeSession::prepare() {
    if (phase_ != Phase::kLoading || stopping_ || job_) return;
    const std::uint64_t now = context_.clock.now_ms();
    if (began_ms_ == 0) began_ms_ = now;
    if (need_bytes_ > 0) {
        if (now < began_ms_ + context_.give_up_ms) return;
        return fail_leases(
            Error(ErrorCode::no_capacity, context_.models.shortage(output_->terms().lease)));
    }
    const Result<void> fetched = fetch_model();
    if (fetched) {
        began_ms_ = now;
        return want_room();
    }
    const Error& error = fetched.error();
    if (is_transient(error.code()) && now < began_ms_ + context_.give_up_ms) {
        note(LogLevel::kWarning, "cannot start yet: " + error.message());
        next_attempt_ms_ = now + context_.retry_ms;
        return;
    }
    fail_leases(error);
}

Result<void> ServeSession::fetch_model() {
    if (input_->terms().spec != output_->terms().spec)
        return fail(ErrorCode::job_spec_invalid, "the two leases have different job specs");
    TRY(context_.guard.check(input_->terms()));
    TRY(context_.guard.check(output_->terms()));
    TRY_ASSIGN(const model::JobSpec spec, model::parse_job_spec(output_->terms().spec));
    const auto* serve = std::get_if<model::ServeSpec>(&spec);
    if (serve == nullptr) return fail(ErrorCode::job_spec_invalid, "the leases are for serving");
    spec_ = *serve;
    task_.spec_json = output_->terms().spec;
    task_.runtime = context_.runtime;
    task_.limits = context_.limits;
    task_.job_dir = context_.jobs_folder / to_hex(output_->terms().lease).substr(2);
    std::error_code error;
    std::filesystem::create_directories(task_.job_dir, error);
    if (error) return fail(ErrorCode::io_error, "cannot make the job's folder");
    if (const auto* own = std::get_if<model::OwnModel>(&spec_.source)) {
        TRY_ASSIGN(task_.weights, context_.blobs.fetch(own->weights));
    } else {
        task_.folder = folder_path();
        TRY(link_folder(context_.blobs, std::get<model::FolderFiles>(spec_.source).blobs,
                        task_.folder));
    }
    TRY_ASSIGN(need_bytes_, need_bytes());
    if (context_.runtime.device == "cpu")
        task_.limits.memory_bytes = std::min(task_.limits.memory_bytes, need_bytes_);
    return {};
}

Result<std::uint64_t> ServeSession::need_bytes() const {
    const int threads = context_.runtime.threads;
    const auto* files = std::get_if<model::FolderFiles>(&spec_.source);
    if (files == nullptr) return serving_need(model::memory_estimate(spec_), threads);
    std::uint64_t bytes = 0;
    for (const auto& [name, hash] : files->blobs) {
        if (!name.ends_with(".safetensors")) continue;
        std::error_code error;
        bytes += std::filesystem::file_size(task_.folder / name, error);
        if (error) return fail(ErrorCode::io_error, "cannot see how large " + name + " is");
    }
    const std::uint64_t loaded = loaded_bytes(bytes, files->format);
    // A GPU's keys and values have a quarter of the job's limit, which is the host's.
    if (context_.runtime.device != "cpu") return loaded + context_.limits.memory_bytes / 4;
    return serving_need(loaded, threads);
}

void ServeSession::want_room() {
    context_.models.want(output_->terms().lease, spec_.name, need_bytes_,
                         {[this] { actor_.post([this] { start_child(); }); },
                          [this] { actor_.post([this] { make_room(); }); }});
}

/// The room is there.
void ServeSession::start_child() {
    if (stopping_ || job_ || (phase_ != Phase::kLoading && phase_ != Phase::kReloading)) return;
    // A room given before this model stopped waiting and began again is not the one it has now.
    if (context_.models.state(output_->terms().lease) != ModelMemory::State::kInUse) return;
    const std::uint64_t child = ++child_;
    auto job = context_.executor.start_serve(task_, [this, child](const executor::JobEvent& event) {
        actor_.post([this, child, event] { on_event(child, event); });
    });
    if (!job) return fail_leases(job.error());
    job_ = std::move(*job);
}

/// Another model wants the room of this one.
void ServeSession::make_room() {
    const Hash32& key = output_->terms().lease;
    if (phase_ != Phase::kServing || context_.models.state(key) != ModelMemory::State::kLeaving)
        return;
    note(LogLevel::kInfo, "unloaded to make room for another model");
    phase_ = Phase::kUnloaded;
    ++child_;
    job_.reset();
    context_.models.unload(key);
}

/// Requests that have waited for the model as long as they may.
void ServeSession::refuse_late() {
    const Hash32& key = output_->terms().lease;
    const std::uint64_t now = context_.clock.now_ms();
    const std::string why =
        job_ ? "the model is still being loaded" : context_.models.shortage(key);
    std::vector<std::uint64_t> late;
    for (const auto& [id, running] : running_)
        if (now >= running.came_ms + context_.load_wait_ms) late.push_back(id);
    for (const std::uint64_t id : late)
        refuse(id, Error(ErrorCode::no_capacity, why));
}

std::filesystem::path ServeSession::folder_path() const {
    return context_.jobs_folder / (to_hex(output_->terms().lease).substr(2) + ".model");
}

void ServeSession::announce() {
    context_.outbox.send(wire::Started{input_->terms().lease});
    context_.outbox.send(wire::Started{output_->terms().lease});
    context_.outbox.send(wire::Serving{output_->terms().lease, spec_.name});
}

void ServeSession::on_ready() {
    const bool first = phase_ == Phase::kLoading;
    phase_ = Phase::kServing;
    note(LogLevel::kInfo, (first ? "serving " : "loaded again: ") + spec_.name);
    if (first) {
        {
            const std::lock_guard lock(serving_mutex_);
            serving_ = output_->terms().lease;
        }
        announce();
    }
    std::vector<std::uint64_t> waiting;
    for (const auto& [id, running] : running_)
        waiting.push_back(id);
    for (const std::uint64_t id : waiting)
        begin(id);
    note_idle();
}

void ServeSession::on_event(std::uint64_t child, const executor::JobEvent& event) {
    if (phase_ == Phase::kOver || stopping_ || child != child_) return;
    if (std::holds_alternative<executor::Ready>(event)) {
        on_ready();
    } else if (const auto* token = std::get_if<executor::Token>(&event)) {
        on_token(*token);
    } else if (const auto* embedded = std::get_if<executor::Embedded>(&event)) {
        on_embedded(*embedded);
    } else if (const auto* done = std::get_if<executor::GenerationDone>(&event)) {
        on_done(*done);
    } else if (const auto* refused = std::get_if<executor::GenerationRefused>(&event)) {
        if (const auto id = parse_id(refused->id)) refuse(id->request, refused->error);
    } else if (const auto* failed = std::get_if<executor::Failed>(&event)) {
        fail_leases(failed->error);
    } else if (std::holds_alternative<executor::Finished>(event)) {
        fail_leases(Error(ErrorCode::worker_failed, "the model's process ended by itself"));
    }
}

std::string ServeSession::to_id(std::uint64_t request, std::size_t choice) {
    return choice == 0 ? std::to_string(request) : fmt::format("{}.{}", request, choice);
}

std::optional<ServeSession::ChoiceId> ServeSession::parse_id(std::string_view text) {
    const auto dot = text.find('.');
    const auto request = ledger::base::parse_u64(text.substr(0, dot));
    if (!request) return std::nullopt;
    if (dot == std::string_view::npos) return ChoiceId{*request, 0};
    const auto choice = ledger::base::parse_u64(text.substr(dot + 1));
    if (!choice) return std::nullopt;
    return ChoiceId{*request, *choice};
}

void ServeSession::on_token(const executor::Token& token) {
    const auto id = parse_id(token.id);
    const auto found = id ? running_.find(id->request) : running_.end();
    if (found == running_.end() || id->choice >= found->second.begun) return;
    Running& running = found->second;
    running.choices[id->choice].text += token.piece.text;
    wire::Token message{id->request, token.piece.text, token.piece.index, id->choice, {}};
    for (const model::TokenLogprob& one : token.piece.logprobs)
        message.logprobs.push_back({one.token, one.logprob});
    context_.outbox.send(message);
    begin_others(id->request, running);
}

void ServeSession::on_embedded(const executor::Embedded& embedded) {
    const auto id = parse_id(embedded.id);
    const auto found = id ? running_.find(id->request) : running_.end();
    if (found == running_.end() || !found->second.embed) return;
    Running& running = found->second;
    if (embedded.index != running.vectors) return;
    ++running.vectors;
    wire::Embedding message{id->request, embedded.index, wire::encode_floats(embedded.vector)};
    running.choices.front().text += message.vector + "\n";
    context_.outbox.send(message);
}

/// The other choices begin when the first has run its prompt: they find its keys and values.
void ServeSession::begin_others(std::uint64_t request, Running& running) {
    while (running.begun < running.choices.size() && !running.aborted && job_) {
        executor::GenerateRequest task = running.task;
        task.id = to_id(request, running.begun);
        task.params.seed = seed_of(running.task.params.seed, running.begun);
        ++running.begun;
        if (const auto asked = job_->generate(task); !asked) return refuse(request, asked.error());
    }
}

Result<void> ServeSession::admit(const Hash32& input_lease, const Hash32& output_lease,
                                 const Running& running) const {
    if (!serving()) return fail(ErrorCode::no_capacity, "the model is not loaded");
    if (input_lease != input_->terms().lease || output_lease != output_->terms().lease)
        return fail(ErrorCode::wrong_state, "the request names other leases");
    std::size_t count = running.choices.size();
    std::uint64_t input = running.input_tokens_max;
    std::uint64_t output = running.output_tokens_max;
    for (const auto& [id, other] : running_) {
        count += other.choices.size();
        input += other.input_tokens_max;
        output += other.output_tokens_max;
    }
    if (count > kRunningMax) return fail(ErrorCode::queue_full, "too many completions at once");
    const std::uint64_t now = context_.clock.now_ms();
    if (payment_overdue(*input_, context_.payment, now) ||
        payment_overdue(*output_, context_.payment, now))
        return fail(ErrorCode::unavailable, "two voucher periods are unpaid");
    // Every token that may be billed must fit under the locks. A chat template may make any text of
    // its messages, so this bound goes to the child, which refuses inputs above it.
    if (input > remaining(*input_) || output > remaining(*output_))
        return fail(ErrorCode::voucher_above_lock, "the completion may pass the lease's tokens");
    return {};
}

void ServeSession::accept(const wire::Infer& request) {
    auto task = to_generate_request(request);
    if (!task) return refuse(request.request, task.error());
    const std::uint64_t choices = request.sampling.choices;
    if (choices == 0 || choices > kRunningMax)
        return refuse(request.request, Error(ErrorCode::out_of_range, "'n' is out of range"));
    Running running;
    running.input = request.messages.empty() ? request.prompt : request.messages;
    running.input_tokens_max = task->prompt_tokens_max;
    running.output_tokens_max = task->params.max_tokens * choices;
    running.choices.resize(choices);
    running.task = std::move(*task);
    const Result<void> admitted = admit(request.input_lease, request.output_lease, running);
    if (!admitted) return refuse(request.request, admitted.error());
    take(request.request, std::move(running));
}

void ServeSession::accept(const wire::Embed& request) {
    executor::EmbedRequest task;
    task.id = to_id(request.request, 0);
    task.inputs = request.inputs;
    task.dimensions = request.dimensions;
    task.prompt_tokens_max = wire::embed_tokens_max(request.inputs);
    Running running;
    running.input = request.inputs;
    running.input_tokens_max = task.prompt_tokens_max;
    running.choices.resize(1);
    running.embed = std::move(task);
    const Result<void> admitted = admit(request.input_lease, request.output_lease, running);
    if (!admitted) return refuse(request.request, admitted.error());
    take(request.request, std::move(running));
}

/// An admitted request begins, or waits until the model is there.
void ServeSession::take(std::uint64_t request, Running running) {
    running.came_ms = context_.clock.now_ms();
    running_[request] = std::move(running);
    if (phase_ == Phase::kServing) {
        context_.models.use(output_->terms().lease);
        begin(request);
    } else if (phase_ == Phase::kUnloaded) {
        phase_ = Phase::kReloading;
        want_room();
    }
}

void ServeSession::begin(std::uint64_t request) {
    const auto found = running_.find(request);
    if (found == running_.end() || found->second.begun > 0 || !job_) return;
    Running& running = found->second;
    running.begun = 1;
    const Result<void> asked =
        running.embed ? job_->embed(*running.embed) : job_->generate(running.task);
    if (!asked) refuse(request, asked.error());
}

/// Tells that the model may leave, once its last request is gone; one that still waits for room
/// and has nobody left to answer wants none.
void ServeSession::note_idle() {
    if (!running_.empty() || !output_) return;
    const Hash32& key = output_->terms().lease;
    if (phase_ == Phase::kServing) context_.models.idle(key, context_.clock.now_ms());
    if (phase_ == Phase::kReloading && !job_) {
        phase_ = Phase::kUnloaded;
        context_.models.unload(key);
    }
}

void ServeSession::refuse(std::uint64_t request, const Error& error) {
    if (const auto found = running_.find(request); found != running_.end()) {
        for (std::size_t i = 0; job_ && i < found->second.begun; ++i)
            if (found->second.choices[i].finish_reason.empty()) job_->abort(to_id(request, i));
        running_.erase(found);
    }
    context_.outbox.send(wire::CompletionRefused{
        request, std::string(ledger::base::to_string(error.code())), error.detail()});
    note_idle();
}

std::optional<wire::SignedReceipt> ServeSession::bill(LeaseBook& book, std::uint64_t units,
                                                      const Running& running,
                                                      const executor::GenerationDone& done) {
    if (units == 0) return std::nullopt;
    WorkDone work;
    work.cumulative_units = book.cumulative_units() + std::min(units, remaining(book));
    work.model_hash = model::model_hash(spec_);
    work.request_hash = salted_hash(book.terms().salt, running.input);
    std::vector<std::string> texts;
    for (const Choice& choice : running.choices)
        texts.push_back(choice.text);
    work.response_hash = salted_hash(book.terms().salt, whole_text(texts));
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
    const auto id = parse_id(done.id);
    const auto found = id ? running_.find(id->request) : running_.end();
    if (found == running_.end() || id->choice >= found->second.begun) return;
    Running& running = found->second;
    if (!running.choices[id->choice].finish_reason.empty()) return;  // it ended before
    running.choices[id->choice].finish_reason =
        done.finish_reason.empty() ? "stop" : done.finish_reason;
    executor::GenerationDone& total = running.total;
    if (id->choice == 0) {  // the prompt is billed once
        total.prompt_tokens = done.prompt_tokens;
        total.start_ms = done.start_ms;
    }
    total.completion_tokens += done.completion_tokens;
    total.end_ms = std::max({total.end_ms, total.start_ms, done.end_ms});
    begin_others(id->request, running);
    end_request(id->request);
}

/// Bills a request all of whose choices have ended.
void ServeSession::end_request(std::uint64_t request) {
    const auto found = running_.find(request);
    if (found == running_.end()) return;
    for (std::size_t i = 0; i < found->second.begun; ++i)
        if (found->second.choices[i].finish_reason.empty()) return;
    const Running running = std::move(found->second);
    running_.erase(found);
    wire::CompletionDone message;
    message.request = request;
    // The child read a stranger's files: it bills no more than was locked for this request.
    message.prompt_tokens = std::min(running.total.prompt_tokens, running.input_tokens_max);
    message.completion_tokens =
        std::min(running.total.completion_tokens, running.output_tokens_max);
    for (std::size_t i = 0; !running.embed && i < running.choices.size(); ++i)
        message.finish_reasons.push_back(running.choices[i].finish_reason.empty()
                                             ? "cancelled"
                                             : running.choices[i].finish_reason);
    if (auto receipt = bill(*input_, message.prompt_tokens, running, running.total))
        message.receipts.push_back(std::move(*receipt));
    if (auto receipt = bill(*output_, message.completion_tokens, running, running.total))
        message.receipts.push_back(std::move(*receipt));
    last_sent_ms_ = context_.clock.now_ms();
    resends_left_ = kResendsMax;
    context_.outbox.send(message);
    note_idle();
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
    if (!output_) return;
    context_.models.forget(output_->terms().lease);
    std::error_code ignored;
    std::filesystem::remove_all(folder_path(), ignored);
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
