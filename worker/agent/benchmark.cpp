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
#include <cstring>
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

/// GiB/s that one thread reads and writes, together: the best of some copies too large for a cache.
double memory_gib_per_s() {
    constexpr std::size_t kBytes = 256U << 20U;
    std::vector<char> from(kBytes, 'a');
    std::vector<char> to(kBytes);
    double best = 0;
    for (int i = 0; i < 5; ++i) {
        const auto start = std::chrono::steady_clock::now();
        std::memcpy(to.data(), from.data(), kBytes);
        const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - start;
        from[static_cast<std::size_t>(i)] = to[kBytes - 1];  // the copy is used
        best = std::max(best, 2.0 * static_cast<double>(kBytes) / passed.count());
    }
    return best / static_cast<double>(1U << 30U);
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
    const double memory = memory_gib_per_s();
    if (output == Output::kJson) {
        fmt::print("{}\n",
                   ledger::rpc::to_text({{"steps_per_s", steps_per_s},
                                         {"tokens_per_s", steps_per_s * samples},
                                         {"gflop_per_s", gflops},
                                         {"memory_gib_per_s", memory},
                                         {"threads", config.threads},
                                         {"parameters", model::parameter_count(train.model)}}));
    } else {
        fmt::print(
            "{:.2f} steps/s, {:.0f} tokens/s, {:.1f} GFLOP/s ({} parameters, {} threads, in the "
            "sandbox); memory {:.1f} GiB/s on one thread\n",
            steps_per_s, steps_per_s * samples, gflops, model::parameter_count(train.model),
            config.threads, memory);
    }
    return {};
}

}  // namespace worker::agent
