// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/cpu.hpp"
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
#include <sstream>
#include <string>
#include <vector>

// bench train: a GPT of ten million parameters. Steps per second of the worker's job (a child in
// its sandbox, a checkpoint and its hash per segment) beside the same loop in a bare libtorch
// program and in eager PyTorch, in turns; and bf16 beside fp32. One thread each. The order turns
// with the rounds, ratios are of one round, and those of CPU time stand beside those of the clock:
// a machine that others use disturbs them least. The sandbox is left out, and said so, where the
// machine has none; the peer where Debian's python3-torch is not installed.

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
    unsigned rounds = 5;
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

/// One run of a program's steps.
struct Timed {
    double rate = 0;  // steps per second
    double cpu = 0;   // CPU seconds a step
};

/// CPU seconds of all processes under `pid`, in clock ticks.
double cpu_seconds_under(const std::string& pid) {
    double total = 0;
    std::error_code error;
    const std::filesystem::path tasks = "/proc/" + pid + "/task";
    for (const auto& task : std::filesystem::directory_iterator(tasks, error)) {
        std::ifstream children(task.path() / "children");
        for (std::string child; children >> child;) {
            std::ifstream in("/proc/" + child + "/stat");
            const std::string stat{std::istreambuf_iterator<char>(in),
                                   std::istreambuf_iterator<char>()};
            // After the name in parentheses: user and system time are the 12th and 13th field.
            std::istringstream rest(stat.substr(std::min(stat.size(), stat.rfind(')') + 1)));
            std::string field;
            for (int i = 0; i < 11; ++i)
                rest >> field;
            double user = 0;
            double system = 0;
            rest >> user >> system;
            total += (user + system) / static_cast<double>(::sysconf(_SC_CLK_TCK));
            total += cpu_seconds_under(child);
        }
    }
    return total;
}

/// Times a job from Ready to its end; checkpoints are thrown away.
class WorkerRun {
 public:
    explicit WorkerRun(std::uint64_t steps) : steps_(steps) {}
    void take(const executor::JobEvent& event) {
        const std::lock_guard lock(mutex_);
        if (std::holds_alternative<executor::Ready>(event)) {
            cpu_begin_ = cpu_seconds_under(std::to_string(::getpid()));
            begin_ = Clock::now();
        }
        // The sandbox does not tell what its processes computed, so they are asked while they live:
        // before the last step.
        if (const auto* metrics = std::get_if<executor::Metrics>(&event);
            metrics != nullptr && metrics->step < steps_) {
            cpu_end_ = cpu_seconds_under(std::to_string(::getpid()));
            cpu_steps_ = metrics->step;
        }
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
    /// CPU seconds a step, the checkpoints on the way with them. After `wait`.
    [[nodiscard]] double cpu_a_step() const {
        return (cpu_end_ - cpu_begin_) /
               static_cast<double>(std::max<std::uint64_t>(1, cpu_steps_));
    }

 private:
    std::mutex mutex_;
    std::condition_variable changed_;
    Clock::time_point begin_;
    std::optional<double> seconds_;
    std::uint64_t steps_;
    std::uint64_t cpu_steps_ = 0;
    double cpu_begin_ = 0;
    double cpu_end_ = 0;
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

    Timed worker(const std::string& precision) {
        executor::ProcessExecutorOptions options;
        options.sandbox = mode_;
        executor::TrainTask task;
        task.spec_json = spec_of(precision, settings_.steps);
        task.job_dir = dir_;
        task.files.text = dir_ / "text";
        task.runtime.threads = kThreads;
        WorkerRun run(settings_.steps);
        const auto job = executor::make_process_executor(options)->start_train(
            task, [&run](const executor::JobEvent& event) { run.take(event); });
        if (!job) give_up("the job did not start: " + job.error().message());
        const double seconds = run.wait();
        return {settings_.steps / seconds, run.cpu_a_step()};
    }

    Timed bare(const std::string& precision) {
        return timed(fmt::format("/proc/{}/exe bare {} {} {}", ::getpid(), precision,
                                 settings_.steps, dir_.string()));
    }

    Timed eager(const std::string& precision) {
        return timed(fmt::format("/usr/bin/python3 '{}' {},{},{},{},256,{} {} {} '{}' {}",
                                 MILLRACE_EAGER_LOOP, kWidth, kDepth, kHeads, kContext, kBatch,
                                 precision, settings_.steps, (dir_ / "text").string(), kThreads));
    }

 private:
    /// Runs a program that prints its seconds, its loss and its CPU seconds.
    Timed timed(const std::string& command) {
        const std::string line =
            fmt::format("OMP_NUM_THREADS={0} OPENBLAS_NUM_THREADS={0} {1}", kThreads, command);
        FILE* pipe = ::popen(line.c_str(), "r");
        double seconds = 0;
        double loss = 0;
        double cpu = 0;
        if (pipe == nullptr || std::fscanf(pipe, "%lf %lf %lf", &seconds, &loss, &cpu) != 3 ||
            ::pclose(pipe) != 0 || !(loss > 0 && loss < 6))
            give_up("a program failed: " + command);
        return {settings_.steps / seconds, cpu / settings_.steps};
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
    std::printf("%.6f %.6f %.6f\n", result.seconds, result.loss, result.cpu_seconds);
    return 0;
}

/// Speed of one program in units of another's, by the clock and by CPU time, a number a round.
struct Ratios {
    void add(const Timed& of, const Timed& to) {
        rate.push_back(of.rate / to.rate);
        cpu.push_back(to.cpu / of.cpu);
    }
    std::vector<double> rate;
    std::vector<double> cpu;
};

struct Round {
    Timed worker;
    Timed bare;
    Timed eager;
};

/// All programs once; who begins turns with the rounds.
Round run_round(Bench& runs, const std::string& precision, unsigned round, bool with_eager) {
    Round out;
    for (unsigned i = 0; i < 3; ++i) {
        const unsigned turn = (round + i) % 3;
        if (turn == 0) out.worker = runs.worker(precision);
        if (turn == 1) out.bare = runs.bare(precision);
        if (turn == 2 && with_eager) out.eager = runs.eager(precision);
    }
    std::printf(
        "round %u, %s, steps/s and CPU s/step: worker %.3f %.3f, bare %.3f %.3f, eager %.3f %.3f\n",
        round + 1, precision.c_str(), out.worker.rate, out.worker.cpu, out.bare.rate, out.bare.cpu,
        out.eager.rate, out.eager.cpu);
    std::fflush(stdout);
    return out;
}

int driver_main(const Settings& settings) {
    std::string name = (std::filesystem::temp_directory_path() / "millrace-bench-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) return 1;
    Bench runs(settings, name);
    std::vector<double> worker_rates;
    Ratios to_bare;
    Ratios to_eager;
    Ratios to_fp32;
    Ratios half_to_bare;
    // Without AVX-512 oneDNN's bf16 products take half a minute a step.
    const bool bf16 = __builtin_cpu_supports("avx512bw") != 0;
    if (!bf16) std::fprintf(stderr, "without bf16: this processor has no AVX-512\n");
    for (unsigned round = 0; round < settings.rounds; ++round) {
        const Round fp32 = run_round(runs, "fp32", round, runs.has_peer());
        worker_rates.push_back(fp32.worker.rate);
        to_bare.add(fp32.worker, fp32.bare);
        if (runs.has_peer()) to_eager.add(fp32.worker, fp32.eager);
        if (bf16) {
            const Round half = run_round(runs, "bf16", round, /*with_eager=*/false);
            to_fp32.add(half.worker, fp32.worker);
            half_to_bare.add(half.worker, half.bare);
        }
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
    report.goal("worker_vs_bare", bench::median(to_bare.rate), 0.97, "ratio",
                bench::Better::kHigher);
    report.metric("worker_vs_bare_cpu", bench::median(to_bare.cpu));
    if (runs.has_peer()) {
        report.goal("worker_vs_eager", bench::median(to_eager.rate), 1.0, "ratio",
                    bench::Better::kHigher);
        report.metric("worker_vs_eager_cpu", bench::median(to_eager.cpu));
    }
    if (bf16) {
        report.metric("bf16_worker_vs_bare", bench::median(half_to_bare.rate));
        report.goal("bf16_vs_fp32", bench::median(to_fp32.rate), 2.5, "ratio",
                    bench::Better::kHigher);
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
