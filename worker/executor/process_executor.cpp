// SPDX-License-Identifier: Apache-2.0
#include "worker/executor/process_executor.hpp"

#include "worker/executor/job_process.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <system_error>
#include <utility>

namespace worker::executor {

namespace fs = std::filesystem;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

namespace {

class ProcessExecutor final : public Executor {
 public:
    explicit ProcessExecutor(ProcessExecutorOptions options) : options_(std::move(options)) {
        std::error_code ignored;
        if (options_.program.empty())
            options_.program = fs::read_symlink("/proc/self/exe", ignored);
    }

    Result<std::unique_ptr<Job>> start_train(const TrainTask& task, EventSink sink) override {
        TRY_ASSIGN(JobLaunch launch, training(task));
        launch.start.kind = ChildStart::Kind::kTrain;
        return launch_job(std::move(launch), std::move(sink));
    }

    Result<std::unique_ptr<Job>> start_audit(const AuditTask& task, EventSink sink) override {
        TRY_ASSIGN(JobLaunch launch, training(task));
        launch.start.kind = ChildStart::Kind::kAudit;
        launch.plan.ranks = false;  // one process does their work, to the same bits
        TRY_ASSIGN(launch.start.claimed, input(launch, task.claimed, "claimed"));
        launch.start.claimed_hash = task.claimed_hash;
        return launch_job(std::move(launch), std::move(sink));
    }

    Result<std::unique_ptr<Job>> start_serve(const ServeTask& task, EventSink sink) override {
        TRY_ASSIGN(const model::JobSpec spec, model::parse_job_spec(task.spec_json));
        const auto* serve = std::get_if<model::ServeSpec>(&spec);
        if (serve == nullptr)
            return fail(ErrorCode::job_spec_invalid, "kind is not \"infer.serve\"");
        JobLaunch launch;
        TRY(prepare(launch, task.job_dir, task.limits, task.runtime));
        launch.start.kind = ChildStart::Kind::kServe;
        launch.start.spec_json = task.spec_json;
        launch.start.memory_bytes = task.limits.memory_bytes;
        if (std::holds_alternative<model::OwnModel>(serve->source)) {
            TRY_ASSIGN(launch.start.weights, input(launch, task.weights, "weights"));
        } else {
            TRY_ASSIGN(launch.start.folder,
                       input(launch, task.folder, "model", fs::file_type::directory));
        }
        return launch_job(std::move(launch), std::move(sink));
    }

 private:
    /// All that training and its audit have in common.
    [[nodiscard]] Result<JobLaunch> training(const TrainTask& task) const {
        TRY_ASSIGN(const model::JobSpec spec, model::parse_job_spec(task.spec_json));
        const auto* train = std::get_if<model::TrainSpec>(&spec);
        const auto* finetune = std::get_if<model::FinetuneSpec>(&spec);
        const model::LoopSpec* loop = train;
        if (finetune != nullptr) loop = finetune;
        if (loop == nullptr)
            return fail(ErrorCode::job_spec_invalid, "kind is not \"train\" or \"finetune\"");
        JobLaunch launch;
        TRY(prepare(launch, task.job_dir, task.limits, task.runtime));
        launch.start.spec_json = task.spec_json;
        launch.steps = loop->steps;
        if (task.stop_at_step != 0) launch.steps = std::min(launch.steps, task.stop_at_step);
        launch.start.stop_at_step = task.stop_at_step;
        launch.segment_steps = loop->segment_steps;
        launch.may_end_early = loop->early_stop.has_value();
        if (train != nullptr) {
            TRY(bind_data(launch, *train, task));
        } else {
            TRY(bind_finetune(launch, *finetune, task));
        }
        if (task.files.checkpoint) {
            TRY_ASSIGN(launch.start.files.checkpoint,
                       input(launch, *task.files.checkpoint, "checkpoint"));
        }
        return launch;
    }

    static Result<void> bind_data(JobLaunch& launch, const model::TrainSpec& spec,
                                  const TrainTask& task) {
        model::TrainFiles& files = launch.start.files;
        launch.plan.ranks = spec.ranks > 1;
        const model::DataBlobs blobs = model::blobs_of(spec.data);
        if (blobs.text) {
            TRY_ASSIGN(files.text, input(launch, task.files.text, "text"));
        }
        if (blobs.images) {
            TRY_ASSIGN(files.images, input(launch, task.files.images, "images"));
        }
        if (blobs.labels) {
            TRY_ASSIGN(files.labels, input(launch, task.files.labels, "labels"));
        }
        if (task.files.init) {
            TRY_ASSIGN(files.init, input(launch, *task.files.init, "init"));
        } else if (spec.init && !task.files.checkpoint) {
            return fail(ErrorCode::data_missing, "the job names initial weights");
        }
        return {};
    }

    static Result<void> bind_finetune(JobLaunch& launch, const model::FinetuneSpec& spec,
                                      const TrainTask& task) {
        TRY_ASSIGN(launch.start.folder,
                   input(launch, task.folder, "model", fs::file_type::directory));
        TRY_ASSIGN(launch.start.examples, input(launch, task.examples, "examples"));
        if (spec.validation) {
            TRY_ASSIGN(launch.start.validation, input(launch, task.validation, "validation"));
        }
        return {};
    }

    Result<void> prepare(JobLaunch& launch, const fs::path& job_dir, const JobLimits& limits,
                         const model::RuntimeOptions& runtime) const {
        std::error_code error;
        const fs::path dir = fs::absolute(job_dir, error);
        if (error || !fs::is_directory(dir, error))
            return fail(ErrorCode::io_error, "the job's folder is not there");
        if (runtime.threads < 1 || runtime.threads > 1024)
            return fail(ErrorCode::config_invalid, "threads must be 1 to 1024");
        launch.mode = options_.sandbox;
        launch.limits = limits;
        launch.start.runtime = runtime;
        launch.start.walls = options_.sandbox == sandbox::Mode::kBwrap;
        launch.start.job_dir = launch.start.walls ? fs::path(sandbox::kJobDir) : dir;
        sandbox::Plan& plan = launch.plan;
        plan.command = {options_.program.string(), "job-child"};
        plan.job_dir = dir;
        plan.read_only = options_.read_only;
        plan.gpu = runtime.device != "cpu";
        plan.memory_bytes = limits.memory_bytes;
        plan.file_bytes = limits.file_bytes;
        plan.tmp_bytes = limits.tmp_bytes;
        // The thread counts are part of the D1 profile and must be set before the libraries load.
        const std::string threads = std::to_string(runtime.threads);
        plan.environment = {{"OMP_NUM_THREADS", threads},
                            {"OPENBLAS_NUM_THREADS", threads},
                            {"MKL_NUM_THREADS", threads},
                            {"CUBLAS_WORKSPACE_CONFIG", ":4096:8"}};
        return {};
    }

    /// Binds one input file or folder and returns its path as the child sees it.
    static Result<fs::path> input(JobLaunch& launch, const fs::path& host, const std::string& name,
                                  fs::file_type type = fs::file_type::regular) {
        std::error_code error;
        const fs::path absolute = fs::absolute(host, error);
        if (error || fs::symlink_status(absolute, error).type() != type)
            return fail(ErrorCode::data_missing, fmt::format("the {} input is not there", name));
        if (!launch.start.walls) return absolute;
        const fs::path inside = fs::path(sandbox::kInputDir) / name;
        launch.plan.inputs.push_back({absolute, inside});
        return inside;
    }

    static Result<std::unique_ptr<Job>> launch_job(JobLaunch launch, EventSink sink) {
        TRY_ASSIGN(auto job, JobProcess::start(std::move(launch), std::move(sink)));
        return std::unique_ptr<Job>(std::move(job));
    }

    ProcessExecutorOptions options_;
};

}  // namespace

std::unique_ptr<Executor> make_process_executor(ProcessExecutorOptions options) {
    return std::make_unique<ProcessExecutor>(std::move(options));
}

}  // namespace worker::executor
