// SPDX-License-Identifier: Apache-2.0
#include "worker/executor/fake_executor.hpp"

#include "worker/model/json_reader.hpp"
#include "worker/model/safetensors.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <optional>
#include <thread>
#include <utility>

namespace worker::executor {

using ledger::base::Error;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

namespace {

struct Failure {
    std::uint64_t step;
    Error error;
};

class FakeTraining final : public Job {
 public:
    FakeTraining(const model::LoopSpec& spec, std::filesystem::path dir, std::uint64_t first,
                 std::optional<Failure> failure, EventSink sink)
        : spec_(spec),
          dir_(std::move(dir)),
          step_(first),
          failure_(std::move(failure)),
          sink_(std::move(sink)),
          thread_([this] { run(); }) {}
    ~FakeTraining() override {
        kill();
        thread_.join();
    }
    FakeTraining(const FakeTraining&) = delete;
    FakeTraining& operator=(const FakeTraining&) = delete;

    void pause() override { set(&FakeTraining::paused_, true); }
    void resume() override { set(&FakeTraining::paused_, false); }
    void stop() override { set(&FakeTraining::stopped_, true); }
    void kill() override { set(&FakeTraining::stopped_, true); }
    Result<void> embed(const EmbedRequest& /*request*/) override {
        return fail(ErrorCode::wrong_state, "the job does not serve");
    }
    void pace(const std::string& /*id*/, model::TextModel::Pace /*pace*/) override {}
    Result<void> generate(const GenerateRequest& /*request*/) override {
        return fail(ErrorCode::wrong_state, "the job does not serve");
    }
    void abort(const std::string& /*id*/) override {}

 private:
    void set(bool FakeTraining::*flag, bool value) {
        const std::lock_guard lock(mutex_);
        this->*flag = value;
        changed_.notify_all();
    }

    bool may_go_on() {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return !paused_ || stopped_; });
        return !stopped_;
    }

    void run() {
        sink_(Ready{step_});
        while (step_ < spec_.steps) {
            if (!may_go_on()) {
                sink_(Failed{Error(ErrorCode::cancelled, "the job was stopped")});
                return;
            }
            const std::uint64_t begin = step_;
            step_ = std::min(spec_.steps, (begin / spec_.segment_steps + 1) * spec_.segment_steps);
            if (failure_ && step_ >= failure_->step) {
                sink_(Failed{failure_->error});
                return;
            }
            const double loss = 5.0 / (1.0 + static_cast<double>(step_));
            sink_(Metrics{step_, loss, 1.0, 1000.0});
            Segment segment;
            segment.step = step_;
            segment.steps = step_ - begin;
            segment.loss = loss;
            segment.checkpoint = dir_ / fmt::format("checkpoint-{}.safetensors", step_);
            const auto file = model::write_safetensors(segment.checkpoint, {},
                                                       {{"millrace.step", std::to_string(step_)}});
            if (!file) {
                sink_(Failed{file.error()});
                return;
            }
            segment.sha256 = file->sha256;
            segment.bytes = file->bytes;
            segment.start_ms = begin;
            segment.end_ms = step_;
            sink_(segment);
        }
        sink_(Evaluated{step_, 1.0, 0.5, 100});
        sink_(Finished{step_});
    }

    model::LoopSpec spec_;
    std::filesystem::path dir_;
    std::uint64_t step_;
    std::optional<Failure> failure_;
    EventSink sink_;
    std::mutex mutex_;
    std::condition_variable changed_;
    bool paused_ = false;
    bool stopped_ = false;
    std::thread thread_;
};

/// Says the prompt (or the messages) again, a byte a token.
class FakeServing final : public Job {
 public:
    explicit FakeServing(EventSink sink) : sink_(std::move(sink)), thread_([this] { run(); }) {}
    ~FakeServing() override {
        kill();
        thread_.join();
    }
    FakeServing(const FakeServing&) = delete;
    FakeServing& operator=(const FakeServing&) = delete;

    void pause() override {}
    void resume() override {}
    void stop() override { kill(); }
    void kill() override {
        const std::lock_guard lock(mutex_);
        stopped_ = true;
        changed_.notify_all();
    }
    Result<void> generate(const GenerateRequest& request) override {
        const std::lock_guard lock(mutex_);
        if (stopped_) return fail(ErrorCode::unavailable, "the model's process has ended");
        waiting_.push_back(request);
        changed_.notify_all();
        return {};
    }
    /// Each input is a vector of its length and 1.
    Result<void> embed(const EmbedRequest& request) override {
        const auto inputs = model::JsonValue::parse(request.inputs, 3);
        if (!inputs) return tl::make_unexpected(inputs.error());
        if (request.dimensions > 2) {
            sink_(GenerationRefused{request.id, ledger::base::Error(ErrorCode::out_of_range,
                                                                    "'dimensions' is at most 2")});
            return {};
        }
        GenerationDone done;
        done.id = request.id;
        std::uint64_t index = 0;
        for (const model::JsonValue& one : inputs->items()) {
            const std::size_t size = one.text() != nullptr ? one.text()->size() : one.size();
            sink_(Embedded{request.id, index++, {static_cast<float>(size), 1.0F}});
            done.prompt_tokens += size;
        }
        sink_(done);
        return {};
    }
    void pace(const std::string& /*id*/, model::TextModel::Pace /*pace*/) override {}
    void abort(const std::string& /*id*/) override {}

 private:
    void run() {
        sink_(Ready{0});
        for (;;) {
            GenerateRequest request;
            {
                std::unique_lock lock(mutex_);
                changed_.wait(lock, [this] { return stopped_ || !waiting_.empty(); });
                if (stopped_) break;
                request = std::move(waiting_.front());
                waiting_.erase(waiting_.begin());
            }
            answer(request);
        }
        sink_(Failed{Error(ErrorCode::cancelled, "the job was stopped")});
    }

    void answer(const GenerateRequest& request) {
        const std::string& text = request.messages.empty() ? request.prompt : request.messages;
        const std::size_t count = std::min<std::size_t>(text.size(), request.params.max_tokens);
        for (std::size_t i = 0; i < count; ++i) {
            model::TokenPiece piece;
            piece.text = text.substr(i, 1);
            piece.index = static_cast<std::uint32_t>(i);
            sink_(Token{request.id, std::move(piece)});
        }
        GenerationDone done;
        done.id = request.id;
        done.prompt_tokens = text.size();
        done.completion_tokens = count;
        done.finish_reason = count < text.size() ? "length" : "stop";
        sink_(done);
    }

    EventSink sink_;
    std::mutex mutex_;
    std::condition_variable changed_;
    bool stopped_ = false;
    std::vector<GenerateRequest> waiting_;
    std::thread thread_;
};

}  // namespace

Result<std::unique_ptr<Job>> FakeExecutor::start_train(const TrainTask& task, EventSink sink) {
    TRY_ASSIGN(model::JobSpec spec, model::parse_job_spec(task.spec_json));
    model::LoopSpec* train = std::get_if<model::TrainSpec>(&spec);
    if (auto* finetune = std::get_if<model::FinetuneSpec>(&spec)) train = finetune;
    if (train == nullptr)
        return fail(ErrorCode::job_spec_invalid, "kind is not \"train\" or \"finetune\"");
    if (task.stop_at_step != 0) train->steps = std::min(train->steps, task.stop_at_step);
    std::uint64_t first = 0;
    if (task.files.checkpoint) {
        TRY_ASSIGN(const auto file, model::SafetensorsFile::open(*task.files.checkpoint));
        const auto found = file.index().metadata.find("millrace.step");
        if (found == file.index().metadata.end())
            return fail(ErrorCode::data_invalid, "the file is not a checkpoint");
        first = std::stoull(found->second);
    }
    std::optional<Failure> failure;
    {
        const std::lock_guard lock(mutex_);
        if (!fail_with_.empty()) failure = Failure{fail_step_, fail_with_.front()};
        fail_with_.clear();
    }
    return std::unique_ptr<Job>(std::make_unique<FakeTraining>(
        std::move(*train), task.job_dir, first, std::move(failure), std::move(sink)));
}

Result<std::unique_ptr<Job>> FakeExecutor::start_audit(const AuditTask& /*task*/,
                                                       EventSink /*sink*/) {
    return fail(ErrorCode::unsupported, "the fake trains nothing that could be audited");
}

Result<std::unique_ptr<Job>> FakeExecutor::start_serve(const ServeTask& task, EventSink sink) {
    TRY_ASSIGN(const model::JobSpec spec, model::parse_job_spec(task.spec_json));
    if (!std::holds_alternative<model::ServeSpec>(spec))
        return fail(ErrorCode::job_spec_invalid, "kind is not \"infer.serve\"");
    return std::unique_ptr<Job>(std::make_unique<FakeServing>(std::move(sink)));
}

void FakeExecutor::fail_next_at(std::uint64_t step, Error error) {
    const std::lock_guard lock(mutex_);
    fail_step_ = step;
    fail_with_.assign(1, std::move(error));
}

}  // namespace worker::executor
