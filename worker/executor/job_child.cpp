// SPDX-License-Identifier: Apache-2.0
#include "worker/executor/job_child.hpp"

#include "worker/executor/audit_child.hpp"
#include "worker/executor/child_io.hpp"
#include "worker/executor/finetune_data.hpp"
#include "worker/executor/folder_model.hpp"
#include "worker/executor/protocol.hpp"
#include "worker/executor/rank_processes.hpp"
#include "worker/model/finetune.hpp"
#include "worker/model/inference.hpp"
#include "worker/model/json_reader.hpp"
#include "worker/model/training.hpp"
#include "worker/sandbox/sandbox.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <deque>
#include <filesystem>
#include <map>
#include <memory>
#include <new>
#include <optional>
#include <system_error>

namespace worker::executor {

using ledger::base::Error;
using ledger::base::ErrorCode;
using ledger::base::Result;
using ledger::base::TimeMs;

namespace {

constexpr std::size_t kEmbedsMax = 64;
constexpr std::uint32_t kEmbeddingMax = 8192;  // numbers of a vector, which is one message

enum class Outcome : std::uint8_t { kFinished, kStopped };

TimeMs now_ms() {
    return ledger::base::SystemClock().now_ms();
}

double seconds_since(std::chrono::steady_clock::time_point begin) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

/// Trains segment by segment; a checkpoint is written while the next segment runs.
class TrainLoop {
 public:
    /// `samples` are what one step takes.
    TrainLoop(ChildIo& io, const model::LoopSpec& spec, std::uint64_t samples,
              model::TrainingRun run, const ChildStart& start, const RankProcesses& ranks)
        : io_(io),
          ranks_(ranks),
          spec_(spec),
          samples_(samples),
          run_(std::move(run)),
          job_dir_(start.job_dir),
          last_step_(start.stop_at_step == 0 ? spec.steps
                                             : std::min(spec.steps, start.stop_at_step)) {}

    Result<Outcome> run(const std::optional<Prepared>& prepared) {
        io_.emit(Ready{run_.step()});
        if (prepared) io_.emit(*prepared);
        if (run_.step() == 0) TRY(evaluate());
        while (run_.step() < last_step_ && !run_.stopped_early()) {
            TRY_ASSIGN(const bool go_on, run_segment());
            if (!go_on) return Outcome::kStopped;
        }
        TRY(collect());
        io_.emit(Finished{run_.step()});
        return Outcome::kFinished;
    }

 private:
    /// False when the parent said stop.
    Result<bool> run_segment() {
        const std::uint64_t begin = run_.step();
        const std::uint64_t end =
            std::min(last_step_, (begin / spec_.segment_steps + 1) * spec_.segment_steps);
        const std::uint64_t chunk = std::max<std::uint64_t>(1, spec_.segment_steps / 5);
        const TimeMs start_ms = now_ms();
        double loss_sum = 0;
        while (run_.step() < end) {
            TRY_ASSIGN(const bool go_on, obey());
            if (!go_on) return false;
            const auto started = std::chrono::steady_clock::now();
            const std::uint64_t steps = std::min(chunk, end - run_.step());
            ranks_.tell(steps);
            const auto report = run_.advance(steps);
            if (!report) {
                TRY(collect());  // what was finished before counts
                return tl::make_unexpected(report.error());
            }
            loss_sum += report->loss * static_cast<double>(steps);
            const double rate = static_cast<double>(steps * samples_) / seconds_since(started);
            io_.emit(Metrics{run_.step(), report->loss, report->gradient_norm, rate});
            if (pending_ && run_.checkpoint_ready()) TRY(collect());
        }
        TRY(collect());
        // Before the checkpoint, which keeps how the held-out loss went.
        if (spec_.early_stop && evaluation_due(spec_, end)) TRY(evaluate());
        Segment segment;
        segment.step = end;
        segment.steps = end - begin;
        segment.loss = loss_sum / static_cast<double>(end - begin);
        segment.start_ms = start_ms;
        segment.end_ms = now_ms();
        segment.checkpoint = fmt::format("checkpoint-{}.safetensors", end);
        run_.begin_checkpoint(job_dir_ / segment.checkpoint);
        pending_ = std::move(segment);
        if (!spec_.early_stop && evaluation_due(spec_, end)) TRY(evaluate());
        return true;
    }

    /// Waits for the checkpoint under way and reports its segment.
    Result<void> collect() {
        if (!pending_) return {};
        TRY_ASSIGN(const model::CheckpointInfo info, run_.finish_checkpoint());
        pending_->sha256 = info.sha256;
        pending_->bytes = info.bytes;
        io_.emit(*pending_);
        pending_.reset();
        return {};
    }

    Result<void> evaluate() {
        if (spec_.eval_batches == 0) return {};
        TRY_ASSIGN(const model::EvalReport report, run_.evaluate());
        if (report.samples > 0)
            io_.emit(Evaluated{report.step, report.loss, report.accuracy, report.samples});
        return {};
    }

    /// Takes the commands that have come, waits while paused. False when told to stop.
    Result<bool> obey() {
        bool paused = false;
        for (;;) {
            const std::optional<Command> command =
                paused ? std::optional<Command>(io_.wait()) : io_.poll();
            if (!command) return true;
            if (std::holds_alternative<Stop>(*command)) return false;
            if (std::holds_alternative<Pause>(*command)) {
                // A paused job owes its parent what is done.
                TRY(collect());
                paused = true;
            }
            if (std::holds_alternative<Resume>(*command)) paused = false;
        }
    }

    ChildIo& io_;
    const RankProcesses& ranks_;
    const model::LoopSpec& spec_;
    std::uint64_t samples_;
    model::TrainingRun run_;
    std::filesystem::path job_dir_;
    std::uint64_t last_step_;  // of the job, or of this slice of it
    std::optional<Segment> pending_;
};

/// Serves requests: each pass takes the commands that have come, then moves every request one step.
class ServeLoop {
 public:
    ServeLoop(ChildIo& io, model::TextModel text_model, std::optional<FolderWords> words)
        : io_(io), model_(std::move(text_model)), words_(std::move(words)) {}

    Result<Outcome> run() {
        io_.emit(Ready{0});
        for (;;) {
            std::optional<Command> command =
                model_.busy() || !embeds_.empty() ? io_.poll() : std::optional<Command>(io_.wait());
            while (command) {
                if (std::holds_alternative<Stop>(*command)) return Outcome::kStopped;
                take(*command);
                command = io_.poll();
            }
            for (model::GenerationEvent& event : model_.step())
                report(event);
            embed_next();
        }
    }

 private:
    void take(const Command& command) {
        if (const auto* abort = std::get_if<Abort>(&command)) {
            model_.cancel(abort->id);
            std::erase_if(embeds_, [&](const Embed& one) {
                if (one.done.id != abort->id) return false;
                finish(one);
                return true;
            });
        }
        if (const auto* hold = std::get_if<Hold>(&command)) model_.pace(hold->id, hold->pace);
        if (const auto* embed = std::get_if<EmbedRequest>(&command)) {
            const auto begun = begin_embed(*embed);
            if (!begun) io_.emit(GenerationRefused{embed->id, begun.error()});
        }
        const auto* request = std::get_if<GenerateRequest>(&command);
        if (request == nullptr) return;
        const auto added = add(*request);
        if (added) {
            started_.emplace(request->id, now_ms());
        } else {
            io_.emit(GenerationRefused{request->id, added.error()});
        }
    }

    Result<void> add(const GenerateRequest& request) {
        if (!words_) {
            if (!request.messages.empty())
                return ledger::base::fail(ErrorCode::unsupported,
                                          "the model has no chat template: use /v1/completions");
            return model_.add(request.id, request.prompt, request.params);
        }
        TRY_ASSIGN(auto tokens, words_->encode(request));
        return model_.add_tokens(request.id, std::move(tokens),
                                 with_defaults(request, model_.defaults()));
    }

    /// The inputs of a request that are still to do, one text between two steps of the others.
    struct Embed {
        std::deque<std::vector<std::uint32_t>> inputs;
        std::uint64_t index = 0;
        GenerationDone done;
    };

    Result<void> begin_embed(const EmbedRequest& request) {
        if (embeds_.size() >= kEmbedsMax)
            return ledger::base::fail(ErrorCode::queue_full, "too many requests wait");
        if (model_.width() > kEmbeddingMax)
            return ledger::base::fail(ErrorCode::unsupported,
                                      "the model's vectors are too long to be sent");
        if (request.dimensions > model_.width())
            return ledger::base::fail(
                ErrorCode::out_of_range,
                fmt::format("'dimensions' is at most {} with this model", model_.width()));
        TRY_ASSIGN(const auto list, model::JsonValue::parse(request.inputs, 3));
        Embed out;
        std::uint64_t total = 0;
        for (const model::JsonValue& item : list.items()) {
            TRY_ASSIGN(auto tokens, tokens_of(item));
            total += tokens.size();
            out.inputs.push_back(std::move(tokens));
        }
        if (total > request.prompt_tokens_max)
            return ledger::base::fail(
                ErrorCode::context_length_exceeded,
                fmt::format("the inputs have {} tokens, at most {} are paid for", total,
                            request.prompt_tokens_max));
        TRY(model_.check_embed(out.inputs));
        out.done.id = request.id;
        out.done.start_ms = now_ms();
        embeds_.push_back(std::move(out));
        return {};
    }

    Result<std::vector<std::uint32_t>> tokens_of(const model::JsonValue& item) const {
        if (item.text() != nullptr)
            return words_ ? words_->vocabulary()->encode(*item.text())
                          : model_.encode(*item.text());
        std::vector<std::uint32_t> out;
        for (const model::JsonValue& token : item.items()) {
            const auto number = token.number();
            if (!number || *number > UINT32_MAX)
                return ledger::base::fail(ErrorCode::out_of_range,
                                          "'input' names a token that the model lacks");
            out.push_back(static_cast<std::uint32_t>(*number));
        }
        return out;
    }

    void embed_next() {
        if (embeds_.empty()) return;
        Embed& embed = embeds_.front();
        if (!embed.inputs.empty()) {
            auto vector = model_.embed(embed.inputs.front());
            if (!vector && vector.error().code() == ErrorCode::queue_full && model_.busy())
                return;  // running texts hold the memory; they end
            if (!vector) {
                io_.emit(GenerationRefused{embed.done.id, vector.error()});
                embeds_.pop_front();
                return;
            }
            embed.done.prompt_tokens += embed.inputs.front().size();
            io_.emit(Embedded{embed.done.id, embed.index++, std::move(*vector)});
            embed.inputs.pop_front();
        }
        if (!embed.inputs.empty()) return;
        finish(embed);
        embeds_.pop_front();
    }

    void finish(const Embed& embed) {
        GenerationDone done = embed.done;
        done.end_ms = std::max(now_ms(), done.start_ms);
        io_.emit(done);
    }

    void report(model::GenerationEvent& event) {
        if (event.piece) io_.emit(Token{event.id, std::move(*event.piece)});
        if (!event.done) return;
        GenerationDone done;
        done.id = event.id;
        done.prompt_tokens = event.done->prompt_tokens;
        done.completion_tokens = event.done->completion_tokens;
        done.finish_reason = model::to_string(event.done->finish);
        done.start_ms = started_[event.id];
        done.end_ms = std::max(now_ms(), done.start_ms);
        started_.erase(event.id);
        io_.emit(done);
    }

    ChildIo& io_;
    model::TextModel model_;
    std::optional<FolderWords> words_;  // a published model's; none: bytes
    std::map<std::string, TimeMs> started_;
    std::deque<Embed> embeds_;
};

Result<void> raise_walls(const ChildStart& start, sandbox::Later later = sandbox::Later::kAlone) {
    if (start.walls && !sandbox::forbid_exec(later))
        return ledger::base::fail(ErrorCode::sandbox_unavailable,
                                  "the kernel refuses the job's seccomp filter");
    return {};
}

/// All ranks of a fine-tuning run in this process, one after another.
Result<Outcome> run_finetune(ChildIo& io, const ChildStart& start,
                             const model::FinetuneSpec& spec) {
    TRY(raise_walls(start));
    io.start_commands();
    model::configure_runtime(start.runtime);
    TRY_ASSIGN(const FolderWords words, FolderWords::open(start.folder));
    TRY_ASSIGN(auto training, read_examples(start.examples, words, spec.context));
    std::optional<model::ExampleSet> validation;
    if (spec.validation) {
        TRY_ASSIGN(validation, read_examples(start.validation, words, spec.context));
    }
    const model::ExampleSet::Report report = training.report();
    const Prepared prepared{report.kept, report.cut, report.dropped, report.tokens};
    TRY_ASSIGN(auto objective,
               model::make_finetune_objective(spec, start.folder, std::move(training),
                                              std::move(validation), start.runtime.device));
    TRY_ASSIGN(auto run,
               model::TrainingRun::start(spec, std::move(objective),
                                         {std::nullopt, start.files.checkpoint}, start.runtime));
    return TrainLoop(io, spec, model::samples_per_step(spec), std::move(run), start,
                     RankProcesses())
        .run(prepared);
}

/// A rank that is not the first: does the steps that the first tells it to, until that is gone.
Result<Outcome> follow(model::TrainingRun run, const RankProcesses& ranks) {
    while (const std::uint64_t steps = ranks.wait())
        TRY(run.advance(steps));
    return Outcome::kStopped;
}

/// Whether each rank gets a process: on GPUs one of its own each, or one process does all the work.
bool in_processes(const model::TrainSpec& spec, const std::string& device) {
    if (spec.ranks < 2 || !model::has_rank_groups(device)) return false;
    return device == "cpu" || RankProcesses::ask_apart(model::visible_gpus) >= spec.ranks;
}

Result<Outcome> run_training(ChildIo& io, const ChildStart& start, const model::TrainSpec& spec) {
    const std::string& device = start.runtime.device;
    const bool several = in_processes(spec, device);
    const bool on_gpus = several && device != "cpu";
    RankProcesses ranks;
    std::unique_ptr<model::RankGroup> group;
    if (several) {
        const auto meeting = start.job_dir / "ranks";
        std::error_code ignored;
        std::filesystem::remove(meeting, ignored);
        TRY_ASSIGN(ranks, RankProcesses::fork(spec.ranks));
        if (ranks.rank() != 0) io.mute();
        if (on_gpus && ranks.rank() == 0) ranks.end_with_any();
        if (on_gpus) ranks.take_gpu();
        TRY_ASSIGN(group, model::join_ranks(meeting, ranks.rank(), spec.ranks, device));
    }
    TRY(raise_walls(start, on_gpus ? sandbox::Later::kGpuRanks : sandbox::Later::kAlone));
    if (ranks.rank() == 0) io.start_commands();
    TRY_ASSIGN(auto run, model::TrainingRun::create(spec, start.files, start.runtime));
    if (group) run.join(std::move(group));
    if (ranks.rank() != 0) return follow(std::move(run), ranks);
    return TrainLoop(io, spec, model::samples_per_step(spec), std::move(run), start, ranks)
        .run(std::nullopt);
}

Result<Outcome> run_job(ChildIo& io) {
    const auto line = io.read_line();
    if (!line) return Outcome::kStopped;
    TRY_ASSIGN(const ChildStart start, decode_start(*line));
    TRY_ASSIGN(const model::JobSpec spec, model::parse_job_spec(start.spec_json));
    if (start.kind == ChildStart::Kind::kAudit) {
        TRY(raise_walls(start));
        io.start_commands();
        TRY(run_audit(io, start, spec));
        return Outcome::kFinished;
    }
    if (start.kind == ChildStart::Kind::kTrain) {
        if (const auto* finetune = std::get_if<model::FinetuneSpec>(&spec))
            return run_finetune(io, start, *finetune);
        const auto* train = std::get_if<model::TrainSpec>(&spec);
        if (train == nullptr)
            return ledger::base::fail(ErrorCode::job_spec_invalid, "kind is not \"train\"");
        return run_training(io, start, *train);
    }
    const auto* serve = std::get_if<model::ServeSpec>(&spec);
    if (serve == nullptr)
        return ledger::base::fail(ErrorCode::job_spec_invalid, "kind is not \"infer.serve\"");
    TRY(raise_walls(start));
    io.start_commands();
    model::TextModel::Options options;
    options.threads = static_cast<std::uint32_t>(start.runtime.threads);
    // The rest is for the weights; what a full cache lacks, sequences wait for.
    options.cache_bytes = start.memory_bytes / 4;
    options.device = start.runtime.device;
    if (options.device != "cpu") {  // a step of one row costs what one of many does
        options.max_sequences = 64;
        options.prefill_chunk = 512;
    }
    if (const auto* own = std::get_if<model::OwnModel>(&serve->source)) {
        TRY_ASSIGN(auto text_model, model::TextModel::load(own->model, start.weights, options));
        return ServeLoop(io, std::move(text_model), std::nullopt).run();
    }
    TRY_ASSIGN(FolderWords words, FolderWords::open(start.folder));
    TRY_ASSIGN(auto text_model,
               model::TextModel::open(start.folder, words.vocabulary(),
                                      std::get<model::FolderFiles>(serve->source).format, options));
    return ServeLoop(io, std::move(text_model), std::move(words)).run();
}

}  // namespace

int run_job_child(int /*argc*/, char** /*argv*/) {
    ChildIo io;
    try {
        const auto outcome = run_job(io);
        if (!outcome) io.emit(Failed{outcome.error()});
    } catch (const std::bad_alloc&) {
        io.emit(
            Failed{Error(ErrorCode::out_of_memory, "the job needs more memory than it may use")});
    } catch (const std::exception& error) {
        std::fprintf(stderr, "job failed: %s\n", error.what());
        io.emit(Failed{Error(ErrorCode::worker_failed, "the job ended with an internal error")});
    }
    std::fflush(nullptr);
    // Not by return: torch's static threads and the command thread need no orderly end.
    std::_Exit(0);
}

}  // namespace worker::executor
