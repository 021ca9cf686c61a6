// SPDX-License-Identifier: Apache-2.0
#include "worker/agent/train_session.hpp"

#include "ledger/base/hex.hpp"
#include "worker/agent/folder_links.hpp"

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

constexpr std::size_t kPendingSegmentsMax = 2;
constexpr std::size_t kQueueMax = 1000;
constexpr std::uint64_t kPrepareSecondsMax = 1800;
/// For a sealed job's key. A buyer's watching program gives it in seconds; this is for a person who
/// is told, a laptop that sleeps, a market that starts anew, or a script that looks every five
/// minutes. The machine earns nothing meanwhile, so it is no longer than that takes.
constexpr std::uint64_t kKeyWaitMs = 15 * 60'000;

}  // namespace

TrainSession::TrainSession(const SessionContext& context, std::shared_ptr<LeaseBook> book)
    : context_(context),
      book_(std::move(book)),
      name_(to_hex(book_->terms().lease).substr(0, 10)),
      data_hash_(salted_hash(book_->terms().salt, book_->terms().spec)) {
    if (book_->outcome() != Outcome::kOpen) phase_ = Phase::kOver;
    actor_.post([this] { prepare(); });
}

TrainSession::~TrainSession() {
    stop();
}

void TrainSession::note(LogLevel level, std::string_view text) const {
    context_.log(level, fmt::format("lease {}: {}", name_, text));
}

void TrainSession::resync(const Hash32& /*lease*/, std::uint64_t market_sequence) {
    actor_.post([this, market_sequence] {
        book_->acknowledge(market_sequence);
        resends_left_ = kResendsMax;
        say_again();
    });
}

void TrainSession::paid() {
    actor_.post([this] { check_payment(); });
}

void TrainSession::cancel(const std::string& reason) {
    actor_.post([this, reason] {
        if (phase_ == Phase::kOver) return;
        note(LogLevel::kInfo, "cancelled by the market: " + reason);
        end(Outcome::kCancelled);
    });
}

void TrainSession::tick() {
    if (actor_.waiting() > kQueueMax) return;
    actor_.post([this] {
        const std::uint64_t now = context_.clock.now_ms();
        if (phase_ == Phase::kPreparing && now >= next_attempt_ms_) prepare();
        if (phase_ == Phase::kRunning) {
            if (now >= next_attempt_ms_) settle_segments();
            check_payment();
        }
        // A cancelled lease's training is redone elsewhere: the market takes no more of it.
        const bool wanted = book_->outcome() != Outcome::kCancelled;
        if (wanted && now >= last_sent_ms_ + context_.resend_ms && resends_left_ > 0 &&
            !book_->unacknowledged().empty()) {
            --resends_left_;
            say_again();
        }
    });
}

void TrainSession::infer(const wire::Infer& request) {
    context_.outbox.send(
        wire::CompletionRefused{request.request, "wrong_state", "the lease is for training"});
}

void TrainSession::embed(const wire::Embed& request) {
    context_.outbox.send(
        wire::CompletionRefused{request.request, "wrong_state", "the lease is for training"});
}

void TrainSession::pace(const wire::HoldCompletion& /*message*/) {}

void TrainSession::abort(std::uint64_t /*request*/) {}

bool TrainSession::active() const {
    return phase_ != Phase::kOver;
}

void TrainSession::stop() {
    // The job's thread posts to the actor: end it first, from the actor, then the actor.
    actor_.post([this] {
        stopping_ = true;
        if (job_) job_->stop();
    });
    actor_.post([this] { job_.reset(); });
    std::promise<void> done;
    if (actor_.post([&done] { done.set_value(); })) done.get_future().wait();
    actor_.stop();
}

void TrainSession::prepare() {
    if (phase_ != Phase::kPreparing || stopping_) return;
    const std::uint64_t now = context_.clock.now_ms();
    if (began_ms_ == 0) began_ms_ = now;
    const Result<void> started = try_start();
    if (started) {
        phase_ = Phase::kRunning;
        return;
    }
    const Error& error = started.error();
    const std::uint64_t patience_ms = waits_for_key_ ? kKeyWaitMs : context_.give_up_ms;
    if (is_transient(error.code()) && now < began_ms_ + patience_ms) {
        if (told_ != error.message())
            note(LogLevel::kWarning, "cannot start yet: " + error.message());
        told_ = error.message();
        next_attempt_ms_ = now + context_.retry_ms;
        return;
    }
    fail_lease(error);
}

Result<void> TrainSession::try_start() {
    TRY(context_.guard.check(book_->terms()));
    TRY_ASSIGN(const model::JobSpec spec, model::parse_job_spec(book_->terms().spec));
    std::uint64_t flops = 0;
    std::optional<Hash32> sealed;
    if (const auto* train = std::get_if<model::TrainSpec>(&spec)) {
        flops = model::flops_per_step(*train);
        sealed = train->sealed;
    } else if (const auto* finetune = std::get_if<model::FinetuneSpec>(&spec)) {
        flops = finetune->declared_flops_per_step;  // the child holds the model against it
        sealed = finetune->sealed;
    } else {
        return fail(ErrorCode::job_spec_invalid, "the lease is for training");
    }
    if (context_.max_flops_per_step > 0 && flops > context_.max_flops_per_step)
        return fail(ErrorCode::job_limit,
                    fmt::format("a step takes {} FLOP, this worker's price is for at most {}",
                                flops, context_.max_flops_per_step));
    if (sealed && !sealed_) {
        waits_for_key_ = true;
        TRY_ASSIGN(sealed_, SealedFiles::make(context_.keys, book_->terms(), *sealed,
                                              context_.worker, opened_path()));
        waits_for_key_ = false;
        began_ms_ = context_.clock.now_ms();  // what follows has its own time
    }
    TRY_ASSIGN(const executor::TrainTask task, make_task(spec));
    TRY_ASSIGN(auto job, context_.executor.start_train(task, [this](const executor::JobEvent& e) {
        const bool droppable = std::holds_alternative<executor::Metrics>(e);
        if (droppable && actor_.waiting() > kQueueMax) return;
        actor_.post([this, e] { on_event(e); });
    }));
    job_ = std::move(job);
    return {};
}

Result<executor::TrainTask> TrainSession::make_task(const model::JobSpec& spec) {
    executor::TrainTask task;
    task.spec_json = book_->terms().spec;
    task.runtime = context_.runtime;
    task.limits = context_.limits;
    task.job_dir = context_.jobs_folder / to_hex(book_->terms().lease).substr(2);
    const auto* train = std::get_if<model::TrainSpec>(&spec);
    const auto* finetune = std::get_if<model::FinetuneSpec>(&spec);
    const std::uint64_t steps = train != nullptr ? train->steps : finetune->steps;
    // A slice of the job: the rest is for other leases.
    const std::uint64_t end = book_->terms().start_step + book_->terms().max_units;
    if (end < steps) task.stop_at_step = end;
    std::error_code error;
    std::filesystem::create_directories(task.job_dir, error);
    if (error) return fail(ErrorCode::io_error, "cannot make the job's folder");
    Hash32 checkpoint = book_->terms().start_checkpoint;
    if (const auto last = book_->last_receipt()) checkpoint = last->receipt.response_hash;
    if (!checkpoint.is_zero()) {
        TRY_ASSIGN(task.files.checkpoint, fetch(checkpoint, "checkpoint"));
        model_hash_ = checkpoint;
    }
    if (train != nullptr) {
        TRY(fetch_inputs(*train, task));
    } else {
        TRY(fetch_inputs(*finetune, task));
    }
    return task;
}

Result<void> TrainSession::fetch_inputs(const model::TrainSpec& spec, executor::TrainTask& task) {
    const model::DataBlobs blobs = model::blobs_of(spec.data);
    if (blobs.text) {
        TRY_ASSIGN(task.files.text, fetch(*blobs.text, "text"));
    }
    if (blobs.images) {
        TRY_ASSIGN(task.files.images, fetch(*blobs.images, "images"));
    }
    if (blobs.labels) {
        TRY_ASSIGN(task.files.labels, fetch(*blobs.labels, "labels"));
    }
    if (spec.init && !task.files.checkpoint) {
        TRY_ASSIGN(task.files.init, fetch(*spec.init, "init"));
        model_hash_ = *spec.init;
    }
    return {};
}

Result<void> TrainSession::fetch_inputs(const model::FinetuneSpec& spec,
                                        executor::TrainTask& task) {
    TRY_ASSIGN(task.examples, fetch(spec.data, "examples"));
    if (spec.validation) {
        TRY_ASSIGN(task.validation, fetch(*spec.validation, "validation"));
    }
    // Words are made into tokens and weights are read before the job is ready.
    task.limits.start_seconds_max =
        std::max<std::uint64_t>(task.limits.start_seconds_max, kPrepareSecondsMax);
    // Last: its links keep the files, whatever the cache drops.
    task.folder = folder_path();
    TRY(link_folder(context_.blobs, spec.files, task.folder));
    if (!task.files.checkpoint) model_hash_ = model::model_hash(spec.files);
    return {};
}

Result<std::filesystem::path> TrainSession::fetch(const Hash32& hash, const std::string& name) {
    TRY_ASSIGN(const std::filesystem::path blob, context_.blobs.fetch(hash));
    if (!sealed_) return blob;
    return sealed_->open(blob, name);
}

std::filesystem::path TrainSession::opened_path() const {
    return context_.jobs_folder / (to_hex(book_->terms().lease).substr(2) + ".opened");
}

std::filesystem::path TrainSession::folder_path() const {
    return context_.jobs_folder / (to_hex(book_->terms().lease).substr(2) + ".model");
}

void TrainSession::on_event(const executor::JobEvent& event) {
    if (phase_ == Phase::kOver || stopping_) return;
    const Hash32& lease = book_->terms().lease;
    if (const auto* ready = std::get_if<executor::Ready>(&event)) {
        note(LogLevel::kInfo, fmt::format("training from step {}", ready->step));
        started_ = true;
        context_.outbox.send(wire::Started{lease});
    } else if (const auto* prepared = std::get_if<executor::Prepared>(&event)) {
        note(prepared->cut + prepared->dropped > 0 ? LogLevel::kWarning : LogLevel::kInfo,
             fmt::format("{} examples of {} tokens, {} cut to the context, {} left out",
                         prepared->examples, prepared->tokens, prepared->cut, prepared->dropped));
    } else if (const auto* metrics = std::get_if<executor::Metrics>(&event)) {
        context_.outbox.send(
            wire::Metrics{lease, metrics->step, "train", metrics->loss, 0, metrics->samples_per_s});
    } else if (const auto* eval = std::get_if<executor::Evaluated>(&event)) {
        context_.outbox.send(
            wire::Metrics{lease, eval->step, "eval", eval->loss, eval->accuracy, 0});
    } else if (const auto* segment = std::get_if<executor::Segment>(&event)) {
        on_segment(*segment);
    } else if (std::holds_alternative<executor::Finished>(event)) {
        trained_ = true;
        finish_when_settled();
    } else if (const auto* failed = std::get_if<executor::Failed>(&event)) {
        failure_ = failed->error;
        finish_when_settled();
    }
}

void TrainSession::on_segment(const executor::Segment& segment) {
    if (sealed_) {
        Result<executor::Segment> sealed = sealed_->seal(segment);
        if (!sealed) return fail_lease(sealed.error());
        pending_.push_back(std::move(*sealed));
    } else {
        pending_.push_back(segment);
    }
    settle_segments();
    if (pending_.size() > kPendingSegmentsMax && job_ && !paused_) {
        paused_ = true;
        note(LogLevel::kWarning, "paused: checkpoints cannot be uploaded");
        job_->pause();
    }
}

void TrainSession::settle_segments() {
    while (!pending_.empty()) {
        const Result<void> settled = settle(pending_.front());
        if (!settled && is_transient(settled.error().code())) {
            note(LogLevel::kWarning, "checkpoint not uploaded yet: " + settled.error().message());
            next_attempt_ms_ = context_.clock.now_ms() + context_.retry_ms;
            return;
        }
        if (!settled) {
            fail_lease(settled.error());
            return;
        }
        pending_.pop_front();
    }
    check_payment();
    finish_when_settled();
}

Result<void> TrainSession::settle(const executor::Segment& segment) {
    TRY(context_.blobs.publish(segment.checkpoint, segment.sha256));
    WorkDone work;
    work.step = segment.step;
    work.cumulative_units = segment.step - std::min(segment.step, book_->terms().start_step);
    work.model_hash = model_hash_;
    work.request_hash = data_hash_;
    work.response_hash = segment.sha256;
    work.start_ms = segment.start_ms;
    work.end_ms = segment.end_ms;
    TRY_ASSIGN(const StoredReceipt stored, book_->append(work, context_.worker, context_.domain));
    model_hash_ = segment.sha256;
    last_sent_ms_ = context_.clock.now_ms();
    resends_left_ = kResendsMax;
    context_.outbox.send(to_message(stored));
    note(LogLevel::kInfo,
         fmt::format("step {}: receipt {} for {} atoms in all", segment.step,
                     stored.receipt.sequence, stored.receipt.cumulative_amount_atoms));
    return {};
}

void TrainSession::check_payment() {
    if (phase_ != Phase::kRunning || !job_) return;
    const bool blocked = pending_.size() > kPendingSegmentsMax ||
                         payment_overdue(*book_, context_.payment, context_.clock.now_ms());
    if (blocked && !paused_) {
        note(LogLevel::kWarning, "paused: two voucher periods are unpaid");
        job_->pause();
    } else if (!blocked && paused_) {
        note(LogLevel::kInfo, "goes on: paid");
        job_->resume();
    }
    paused_ = blocked;
}

void TrainSession::finish_when_settled() {
    if (phase_ != Phase::kRunning || !pending_.empty()) return;
    if (trained_) {
        note(LogLevel::kInfo, "finished");
        context_.outbox.send(wire::WorkFinished{book_->terms().lease});
        end(Outcome::kFinished);
    } else if (failure_) {
        fail_lease(*failure_);
    }
}

void TrainSession::fail_lease(const Error& error) {
    note(LogLevel::kError, error.message());
    failure_ = error;
    context_.outbox.send(wire::WorkFailed{
        book_->terms().lease, std::string(ledger::base::to_string(error.code())), error.detail()});
    end(Outcome::kFailed);
}

void TrainSession::end(Outcome outcome) {
    phase_ = Phase::kOver;
    if (const Result<void> stored = book_->set_outcome(outcome); !stored)
        note(LogLevel::kError, stored.error().message());
    job_.reset();
    pending_.clear();
    std::error_code ignored;
    std::filesystem::remove_all(folder_path(), ignored);
    std::filesystem::remove_all(opened_path(), ignored);
    // Checkpoints that matter were moved to the cache.
    if (outcome == Outcome::kFinished)
        std::filesystem::remove_all(context_.jobs_folder / to_hex(book_->terms().lease).substr(2),
                                    ignored);
}

void TrainSession::say_again() {
    last_sent_ms_ = context_.clock.now_ms();
    const Hash32& lease = book_->terms().lease;
    if (started_ && phase_ == Phase::kRunning) context_.outbox.send(wire::Started{lease});
    for (const StoredReceipt& stored : book_->unacknowledged())
        context_.outbox.send(to_message(stored));
    if (book_->outcome() == Outcome::kFinished) {
        context_.outbox.send(wire::WorkFinished{lease});
    } else if (book_->outcome() == Outcome::kFailed) {
        const Error error = failure_.value_or(Error(ErrorCode::worker_failed));
        context_.outbox.send(wire::WorkFailed{
            lease, std::string(ledger::base::to_string(error.code())), error.detail()});
    }
}

}  // namespace worker::agent
