// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/demo_train/bare_loop.hpp"
#include "tests/bench/report.hpp"
#include "worker/executor/job_child.hpp"
#include "worker/executor/process_executor.hpp"
#include "worker/model/philox.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

// bench train: a GPT of ten million parameters. Steps per second of the worker's job (a child in
// its sandbox, a checkpoint and its hash per segment) beside the same loop in a bare libtorch
// program and in eager PyTorch, in turns; and bf16 beside fp32. One thread each. The sandbox is
// left out, and said so, where the machine has none; the peer where Debian's python3-torch is not
// installed.

namespace {

namespace executor = worker::executor;
namespace model = worker::model;
namespace sandbox = worker::sandbox;
using Clock = std::chrono::steady_clock;

constexpr int kThreads = 1;
constexpr unsigned kWidth = 320;
constexpr unsigned kDepth = 8;
constexpr unsigned kHeads = 8;
constexpr unsigned kContext = 128;
constexpr unsigned kBatch = 8;

struct Settings {
    unsigned steps = 16;
    unsigned rounds = 3;
};

std::string spec_of(const std::string& precision, unsigned steps) {
    return fmt::format(
        R"({{"version":1,"kind":"train","model":{{"arch":"gpt","vocab":256,"width":{},"depth":{},)"
        R"("heads":{},"context":{}}},"data":{{"format":"text","blob":"0x{}"}},"holdout_bp":500,)"
        R"("batch":{},"steps":{},"segment_steps":{},"eval_batches":0,"learning_rate":"0.001",)"
        R"("weight_decay":"0.01","seed":7,"precision":"{}"}})",
        kWidth, kDepth, kHeads, kContext, std::string(64, '0'), kBatch, steps,
        std::max(1U, steps / 2), precision);
}

/// Words of a small language, so that all programs read the same text of some structure.
std::string make_text() {
    const model::Philox random(1, model::Philox::Stream::kBatch);
    std::string out;
    for (std::uint64_t i = 0; out.size() < 400'000; ++i) {
        const std::uint64_t word = random.below(300, i, 0) * random.below(300, i, 1) / 300;
        for (std::uint64_t k = 0; k < 2 + word % 6; ++k)
            out.push_back(static_cast<char>('a' + (word * 7 + k * k * 3) % 26));
        out.push_back(random.below(12, i, 2) == 0 ? '\n' : ' ');
    }
    return out;
}

[[noreturn]] void give_up(const std::string& why) {
    std::fprintf(stderr, "%s\n", why.c_str());
    std::exit(1);
}

/// Times a job from Ready to its end; checkpoints are thrown away.
class WorkerRun {
 public:
    void take(const executor::JobEvent& event) {
        const std::lock_guard lock(mutex_);
        if (std::holds_alternative<executor::Ready>(event)) begin_ = Clock::now();
        if (const auto* segment = std::get_if<executor::Segment>(&event)) {
            std::error_code ignored;
            std::filesystem::remove(segment->checkpoint, ignored);
        }
        if (const auto* failed = std::get_if<executor::Failed>(&event))
            give_up("the job failed: " + failed->error.message());
        if (std::holds_alternative<executor::Finished>(event)) {
            seconds_ = std::chrono::duration<double>(Clock::now() - begin_).count();
            changed_.notify_all();
        }
    }
    double wait() {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return seconds_.has_value(); });
        return *seconds_;
    }

 private:
    std::mutex mutex_;
    std::condition_variable changed_;
    Clock::time_point begin_;
    std::optional<double> seconds_;
};

class Bench {
 public:
    Bench(const Settings& settings, std::filesystem::path dir)
        : settings_(settings), dir_(std::move(dir)) {
        std::ofstream(dir_ / "text", std::ios::binary) << make_text();
        const auto walls = sandbox::probe();
        if (!walls) std::fprintf(stderr, "without sandbox: %s\n", walls.error().message().c_str());
        mode_ = walls ? sandbox::Mode::kBwrap : sandbox::Mode::kNone;
        has_peer_ = std::system("/usr/bin/python3 -c 'import torch' >/dev/null 2>&1") == 0;
        if (!has_peer_) std::fprintf(stderr, "without the peer: no python3-torch here\n");
    }

    [[nodiscard]] bool has_peer() const { return has_peer_; }
    [[nodiscard]] bool has_walls() const { return mode_ == sandbox::Mode::kBwrap; }

    double worker(const std::string& precision) {
        executor::ProcessExecutorOptions options;
        options.sandbox = mode_;
        executor::TrainTask task;
        task.spec_json = spec_of(precision, settings_.steps);
        task.job_dir = dir_;
        task.files.text = dir_ / "text";
        task.runtime.threads = kThreads;
        WorkerRun run;
        const auto job = executor::make_process_executor(options)->start_train(
            task, [&run](const executor::JobEvent& event) { run.take(event); });
        if (!job) give_up("the job did not start: " + job.error().message());
        return settings_.steps / run.wait();
    }

    double bare(const std::string& precision) {
        return timed(fmt::format("/proc/{}/exe bare {} {} {}", ::getpid(), precision,
                                 settings_.steps, dir_.string()));
    }

    double eager(const std::string& precision) {
        return timed(fmt::format("/usr/bin/python3 '{}' {},{},{},{},256,{} {} {} '{}' {}",
                                 MILLRACE_EAGER_LOOP, kWidth, kDepth, kHeads, kContext, kBatch,
                                 precision, settings_.steps, (dir_ / "text").string(), kThreads));
    }

 private:
    /// Steps per second of a program that prints its seconds first.
    double timed(const std::string& command) {
        const std::string line =
            fmt::format("OMP_NUM_THREADS={0} OPENBLAS_NUM_THREADS={0} {1}", kThreads, command);
        FILE* pipe = ::popen(line.c_str(), "r");
        double seconds = 0;
        double loss = 0;
        if (pipe == nullptr || std::fscanf(pipe, "%lf %lf", &seconds, &loss) != 2 ||
            ::pclose(pipe) != 0 || !(loss > 0 && loss < 6))
            give_up("a program failed: " + command);
        return settings_.steps / seconds;
    }

    Settings settings_;
    std::filesystem::path dir_;
    sandbox::Mode mode_ = sandbox::Mode::kNone;
    bool has_peer_ = false;
};

int bare_main(char** argv) {
    const auto spec =
        model::parse_job_spec(spec_of(argv[2], static_cast<unsigned>(std::atoi(argv[3]))));
    if (!spec) return 1;
    std::ifstream in(std::filesystem::path(argv[4]) / "text", std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
    const auto result = bench::run_bare(std::get<model::TrainSpec>(*spec), text, kThreads);
    std::printf("%.6f %.6f\n", result.seconds, result.loss);
    return 0;
}

int driver_main(const Settings& settings) {
    std::string name = (std::filesystem::temp_directory_path() / "millrace-bench-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) return 1;
    Bench runs(settings, name);
    std::vector<double> worker_rates;
    std::vector<double> to_bare;
    std::vector<double> to_eager;
    std::vector<double> to_fp32;
    std::vector<double> half_to_bare;
    // Without AVX-512 oneDNN's bf16 products take half a minute a step.
    const bool bf16 = __builtin_cpu_supports("avx512bw") != 0;
    if (!bf16) std::fprintf(stderr, "without bf16: this processor has no AVX-512\n");
    for (unsigned round = 0; round < settings.rounds; ++round) {
        const double bare = runs.bare("fp32");
        const double worker = runs.worker("fp32");
        const double eager = runs.has_peer() ? runs.eager("fp32") : 0;
        worker_rates.push_back(worker);
        to_bare.push_back(worker / bare);
        if (eager > 0) to_eager.push_back(worker / eager);
        std::printf("round %u, steps/s: fp32 worker %.3f, bare %.3f, eager %.3f\n", round + 1,
                    worker, bare, eager);
        if (bf16) {
            const double half = runs.worker("bf16");
            const double half_bare = runs.bare("bf16");
            to_fp32.push_back(half / worker);
            half_to_bare.push_back(half / half_bare);
            std::printf("round %u, steps/s: bf16 worker %.3f, bare %.3f\n", round + 1, half,
                        half_bare);
        }
        std::fflush(stdout);
    }
    std::filesystem::remove_all(name);
    const auto spec = model::parse_job_spec(spec_of("fp32", settings.steps));
    const auto& train = std::get<model::TrainSpec>(*spec);
    bench::Report report("train");
    const double rate = bench::median(worker_rates);
    report.metric("parameters", static_cast<double>(model::parameter_count(train.model)));
    report.metric("sandbox", runs.has_walls() ? 1 : 0);
    report.metric("fp32_tokens_per_s", rate * kBatch * kContext);
    report.metric("fp32_gflop_per_s",
                  rate * static_cast<double>(model::flops_per_step(train)) / 1e9);
    report.goal("worker_vs_bare", bench::median(to_bare), 0.97, "ratio", bench::Better::kHigher);
    if (!to_eager.empty())
        report.goal("worker_vs_eager", bench::median(to_eager), 1.0, "ratio",
                    bench::Better::kHigher);
    if (bf16) {
        report.metric("bf16_worker_vs_bare", bench::median(half_to_bare));
        report.goal("bf16_vs_fp32", bench::median(to_fp32), 2.5, "ratio", bench::Better::kHigher);
    }
    std::printf("%s\n", report.json().c_str());
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    const std::string first = argc > 1 ? argv[1] : "";
    if (first == "job-child") return executor::run_job_child(argc, argv);
    if (first == "bare" && argc == 5) return bare_main(argv);
    Settings settings;
    for (int i = 1; i + 1 < argc; i += 2) {
        const std::string name = argv[i];
        const auto value = static_cast<unsigned>(std::max(1, std::atoi(argv[i + 1])));
        if (name == "--steps") settings.steps = value;
        if (name == "--rounds") settings.rounds = value;
    }
    return driver_main(settings);
}
