// SPDX-License-Identifier: Apache-2.0
#include "ledger/base/hex.hpp"
#include "ledger/rpc/json.hpp"
#include "worker/agent/commands.hpp"
#include "worker/agent/durable_file.hpp"
#include "worker/agent/job_options.hpp"
#include "worker/agent/market_http.hpp"
#include "worker/executor/process_executor.hpp"
#include "worker/model/model_spec.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

namespace worker::agent {
namespace {

using ledger::base::Error;
using ledger::base::ErrorCode;
using ledger::base::fail;

constexpr std::uint64_t kSteps = 60;
constexpr std::size_t kTextBytes = 1U << 20U;
constexpr std::chrono::minutes kPatience{5};

/// Letters from a fixed generator: the same text everywhere.
std::string make_text() {
    std::string text;
    text.reserve(kTextBytes);
    std::uint64_t state = 7;
    while (text.size() < kTextBytes) {
        state = state * 6364136223846793005ULL + 1442695040888963407ULL;
        const auto letter = static_cast<char>('a' + (state >> 33U) % 26);
        text.push_back(state >> 61U == 0 ? ' ' : letter);
    }
    return text;
}

std::string make_spec(const Hash32& blob) {
    return ledger::rpc::to_text(
        {{"version", 1},
         {"kind", "train"},
         {"model",
          {{"arch", "gpt"},
           {"vocab", 256},
           {"width", 192},
           {"depth", 4},
           {"heads", 6},
           {"context", 128}}},
         {"data", {{"format", "text"}, {"blob", ledger::base::to_hex(blob)}}},
         {"holdout_bp", 500},
         {"batch", 16},
         {"steps", kSteps},
         {"segment_steps", kSteps},
         {"eval_batches", 1},
         {"learning_rate", "0.001"},
         {"warmup_steps", 10},
         {"weight_decay", "0.01"},
         {"seed", 7},
         {"precision", "fp32"},
         {"numeric_class", "D1"},
         {"flops_per_step", std::uint64_t{1'000'000'000'000}}});
}

/// Waits for the job's end and times its steps.
class Stopwatch {
 public:
    void on_event(const executor::JobEvent& event) {
        const std::lock_guard lock(mutex_);
        const auto now = std::chrono::steady_clock::now();
        if (std::holds_alternative<executor::Ready>(event)) ready_ = now;
        if (std::holds_alternative<executor::Segment>(event)) segment_ = now;
        if (std::holds_alternative<executor::Finished>(event)) over_ = true;
        if (const auto* failed = std::get_if<executor::Failed>(&event)) {
            error_ = failed->error;
            over_ = true;
        }
        wake_.notify_all();
    }
    Result<double> seconds() {
        std::unique_lock lock(mutex_);
        if (!wake_.wait_for(lock, kPatience, [this] { return over_; }))
            return fail(ErrorCode::timeout, "the benchmark did not end");
        if (error_) return tl::make_unexpected(*error_);
        if (!ready_ || !segment_) return fail(ErrorCode::worker_failed, "no segment was trained");
        return std::chrono::duration<double>(*segment_ - *ready_).count();
    }

 private:
    std::mutex mutex_;
    std::condition_variable wake_;
    std::optional<std::chrono::steady_clock::time_point> ready_;
    std::optional<std::chrono::steady_clock::time_point> segment_;
    std::optional<Error> error_;
    bool over_ = false;
};

/// What the settings say of the speed, when that is off by more than a tenth.
bool is_stale(const WorkerConfig& config, const model::MachineSpeed& speed) {
    const auto differs = [](std::uint64_t told, std::uint64_t measured) {
        return told * 10 < measured * 9 || told * 9 > measured * 10;
    };
    return differs(config.gflop_per_s, speed.gflop_per_s) ||
           differs(config.memory_mb_per_s, speed.memory_mb_per_s);
}

}  // namespace

Result<void> run_benchmark(const WorkerConfig& config, Output output) {
    const std::filesystem::path folder = config.data / "benchmark";
    std::error_code error;
    std::filesystem::create_directories(folder / "job", error);
    if (error) return fail(ErrorCode::io_error, "cannot make " + folder.string());
    TRY(write_file(folder / "text", make_text()));
    TRY_ASSIGN(const Hash32 blob, hash_file(folder / "text"));
    executor::TrainTask task;
    task.spec_json = make_spec(blob);
    task.job_dir = folder / "job";
    task.files.text = folder / "text";
    task.runtime.threads = config.threads;
    task.runtime.device = job_device(config);
    task.limits.memory_bytes = config.job_memory_mib << 20U;
    TRY_ASSIGN(const model::JobSpec spec, model::parse_job_spec(task.spec_json));
    const auto& train = std::get<model::TrainSpec>(spec);
    TRY_ASSIGN(auto options, executor_options(config));
    const auto executor = executor::make_process_executor(std::move(options));
    Stopwatch watch;
    TRY_ASSIGN(const auto job, executor->start_train(task, [&watch](const executor::JobEvent& e) {
        watch.on_event(e);
    }));
    TRY_ASSIGN(const double seconds, watch.seconds());
    const double steps_per_s = static_cast<double>(kSteps) / seconds;
    const auto samples = static_cast<double>(model::samples_per_step(train));
    const double gflops = static_cast<double>(model::flops_per_step(train)) * steps_per_s / 1e9;
    std::filesystem::remove_all(folder, error);
    TRY_ASSIGN(const model::MachineSpeed speed, job_speed(config));
    if (output == Output::kJson) {
        fmt::print("{}\n",
                   ledger::rpc::to_text({{"steps_per_s", steps_per_s},
                                         {"tokens_per_s", steps_per_s * samples},
                                         {"training_gflop_per_s", gflops},
                                         {"gflop_per_s", speed.gflop_per_s},
                                         {"memory_mb_per_s", speed.memory_mb_per_s},
                                         {"threads", config.threads},
                                         {"parameters", model::parameter_count(train.model)}}));
    } else {
        fmt::print(
            "{:.2f} steps/s, {:.0f} tokens/s, {:.1f} GFLOP/s ({} parameters, {} threads, in the "
            "sandbox)\nLarge products {} GFLOP/s, memory {} MB/s\n",
            steps_per_s, steps_per_s * samples, gflops, model::parameter_count(train.model),
            config.threads, speed.gflop_per_s, speed.memory_mb_per_s);
        if (is_stale(config, speed))
            fmt::print(
                "worker.toml says {} GFLOP/s and {} MB/s. To ask with what is measured: "
                "millrace-worker setup --yes\n",
                config.gflop_per_s, config.memory_mb_per_s);
    }
    return {};
}

}  // namespace worker::agent
