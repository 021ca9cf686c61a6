// SPDX-License-Identifier: Apache-2.0
#include "ledger/base/sha256.hpp"
#include "ledger/crypto/secp256k1.hpp"
#include "ledger/eth/messages.hpp"
#include "tests/bench/demo_train/bare_loop.hpp"
#include "worker/executor/job_child.hpp"
#include "worker/executor/process_executor.hpp"
#include "worker/model/philox.hpp"

#include <fmt/format.h>
#include <sys/wait.h>
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

// bench demo-train: steps per second of the market's worker (child process in its sandbox, a
// checkpoint, its hash and a signed receipt per segment) against the same loop in a bare libtorch
// program, in pairs A B A B, one thread each.

namespace {

namespace executor = worker::executor;
namespace model = worker::model;
namespace sandbox = worker::sandbox;
using Clock = std::chrono::steady_clock;

constexpr int kThreads = 1;

struct Settings {
    std::string precision = "fp32";
    unsigned steps = 30;
    unsigned segment_steps = 10;
    unsigned pairs = 5;
};

std::string spec_of(const Settings& s) {
    return fmt::format(
        R"({{"version":1,"kind":"train","model":{{"arch":"gpt","vocab":256,"width":192,"depth":4,)"
        R"("heads":6,"context":128}},"data":{{"format":"text","blob":"0x{}"}},"holdout_bp":500,)"
        R"("batch":16,"steps":{},"segment_steps":{},"eval_batches":0,"learning_rate":"0.001",)"
        R"("warmup_steps":5,"weight_decay":"0.01","seed":7,"precision":"{}"}})",
        std::string(64, '0'), s.steps, s.segment_steps, s.precision);
}

/// Words of a small language, so that both programs read the same text of some structure.
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

struct WorkerResult {
    double seconds = 0;
    double loss = 0;
    unsigned receipts = 0;
    std::uint64_t checkpoint_bytes = 0;
};

/// Signs a receipt for each segment, as the agent does, and times from Ready to the end.
class WorkerRun {
 public:
    void take(const executor::JobEvent& event) {
        const std::lock_guard lock(mutex_);
        if (std::holds_alternative<executor::Ready>(event)) begin_ = Clock::now();
        if (const auto* segment = std::get_if<executor::Segment>(&event)) sign(*segment);
        if (const auto* failed = std::get_if<executor::Failed>(&event)) error_ = failed->error;
        if (error_ || std::holds_alternative<executor::Finished>(event)) {
            result_.seconds = std::chrono::duration<double>(Clock::now() - begin_).count();
            ended_ = true;
            changed_.notify_all();
        }
    }
    WorkerResult wait() {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return ended_; });
        if (error_) {
            std::fprintf(stderr, "the job failed: %s\n", error_->message().c_str());
            std::exit(1);
        }
        return result_;
    }

 private:
    void sign(const executor::Segment& segment) {
        receipt_.sequence += 1;
        receipt_.cumulative_units = segment.step;
        receipt_.price_atoms = 100;
        receipt_.cumulative_amount_atoms = segment.step * 100;
        receipt_.response_hash = segment.sha256;
        receipt_.start_ms = segment.start_ms;
        receipt_.end_ms = segment.end_ms;
        (void)key_.sign(ledger::eth::digest(domain_, receipt_));
        receipt_.previous = ledger::eth::struct_hash(receipt_);
        result_.receipts += 1;
        result_.checkpoint_bytes += segment.bytes;
        result_.loss = segment.loss;
        std::error_code ignored;
        std::filesystem::remove(segment.checkpoint, ignored);
    }

    std::mutex mutex_;
    std::condition_variable changed_;
    bool ended_ = false;
    std::optional<ledger::base::Error> error_;
    Clock::time_point begin_;
    WorkerResult result_;
    ledger::crypto::PrivateKey key_ = ledger::crypto::PrivateKey::generate();
    ledger::eth::Domain domain_{31337, {}};
    ledger::eth::Receipt receipt_;
};

WorkerResult run_worker(const Settings& settings, const std::filesystem::path& dir,
                        sandbox::Mode mode) {
    executor::ProcessExecutorOptions options;
    options.sandbox = mode;
    executor::TrainTask task;
    task.spec_json = spec_of(settings);
    task.job_dir = dir;
    task.files.text = dir / "text";
    task.runtime.threads = kThreads;
    WorkerRun run;
    const auto job = executor::make_process_executor(options)->start_train(
        task, [&run](const executor::JobEvent& event) { run.take(event); });
    if (!job) {
        std::fprintf(stderr, "the job did not start: %s\n", job.error().message().c_str());
        std::exit(1);
    }
    return run.wait();
}

/// The bare loop in a process of its own, as the worker's is.
bench::BareResult run_bare_process(const Settings& settings, const std::filesystem::path& dir) {
    const std::string command =
        fmt::format("OMP_NUM_THREADS={0} OPENBLAS_NUM_THREADS={0} /proc/{1}/exe bare {2} {3} {4}",
                    kThreads, ::getpid(), settings.precision, settings.steps, dir.string());
    FILE* pipe = ::popen(command.c_str(), "r");
    bench::BareResult result;
    if (pipe == nullptr || std::fscanf(pipe, "%lf %lf", &result.seconds, &result.loss) != 2 ||
        ::pclose(pipe) != 0) {
        std::fprintf(stderr, "the bare program failed\n");
        std::exit(1);
    }
    return result;
}

int bare_main(char** argv) {
    Settings settings;
    settings.precision = argv[2];
    settings.steps = static_cast<unsigned>(std::atoi(argv[3]));
    settings.segment_steps = settings.steps;
    const auto spec = model::parse_job_spec(spec_of(settings));
    std::ifstream in(std::filesystem::path(argv[4]) / "text", std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
    const auto result = bench::run_bare(std::get<model::TrainSpec>(*spec), text, kThreads);
    std::printf("%.6f %.6f\n", result.seconds, result.loss);
    return 0;
}

double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    const std::size_t half = values.size() / 2;
    return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

int driver_main(const Settings& settings) {
    std::string name = (std::filesystem::temp_directory_path() / "millrace-bench-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) return 1;
    const std::filesystem::path dir = name;
    std::ofstream(dir / "text", std::ios::binary) << make_text();
    const auto walls = sandbox::probe();
    if (!walls) std::fprintf(stderr, "without sandbox: %s\n", walls.error().message().c_str());
    const auto mode = walls ? sandbox::Mode::kBwrap : sandbox::Mode::kNone;
    std::vector<double> bare_rates;
    std::vector<double> worker_rates;
    std::vector<double> ratios;
    WorkerResult last;
    double bare_loss = 0;
    for (unsigned pair = 0; pair < settings.pairs; ++pair) {
        const auto bare = run_bare_process(settings, dir);
        last = run_worker(settings, dir, mode);
        bare_loss = bare.loss;
        bare_rates.push_back(settings.steps / bare.seconds);
        worker_rates.push_back(settings.steps / last.seconds);
        ratios.push_back(worker_rates.back() / bare_rates.back());
        std::printf("pair %u: bare %.3f steps/s, worker %.3f steps/s, ratio %.3f\n", pair + 1,
                    bare_rates.back(), worker_rates.back(), ratios.back());
        std::fflush(stdout);
    }
    std::filesystem::remove_all(dir);
    const double value = median(ratios);
    std::printf(
        "{\"bench\":\"demo-train\",\"metrics\":{\"precision\":\"%s\",\"sandbox\":\"%s\","
        "\"threads\":%d,\"pairs\":%u,\"steps\":%u,\"parameters\":1853568,"
        "\"bare_steps_per_s\":%.4f,\"worker_steps_per_s\":%.4f,\"worker_tokens_per_s\":%.1f,"
        "\"ratio_min\":%.4f,\"ratio_max\":%.4f,\"receipts_per_run\":%u,"
        "\"checkpoint_bytes_per_run\":%llu,\"bare_last_loss\":%.4f,\"worker_last_loss\":%.4f},"
        "\"goals\":[{\"name\":\"worker_vs_bare\",\"value\":%.4f,\"goal\":0.95,\"unit\":\"ratio\","
        "\"better\":\"higher\",\"met\":%s}]}\n",
        settings.precision.c_str(), std::string(sandbox::to_string(mode)).c_str(), kThreads,
        settings.pairs, settings.steps, median(bare_rates), median(worker_rates),
        median(worker_rates) * 16 * 128, *std::min_element(ratios.begin(), ratios.end()),
        *std::max_element(ratios.begin(), ratios.end()), last.receipts,
        static_cast<unsigned long long>(last.checkpoint_bytes), bare_loss, last.loss, value,
        value >= 0.95 ? "true" : "false");
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
        if (name == "--precision") settings.precision = argv[i + 1];
        if (name == "--steps") settings.steps = static_cast<unsigned>(std::atoi(argv[i + 1]));
        if (name == "--pairs") settings.pairs = static_cast<unsigned>(std::atoi(argv[i + 1]));
    }
    if (settings.steps == 0 || settings.pairs == 0 || !model::parse_job_spec(spec_of(settings))) {
        std::fprintf(stderr,
                     "usage: bench_demo_train [--precision fp32|bf16] [--steps N] [--pairs N]\n");
        return 2;
    }
    return driver_main(settings);
}
