// SPDX-License-Identifier: Apache-2.0
// Training a GPT of 86 million parameters on the first CUDA device with a checkpoint a segment, in
// fp32 and bf16, beside the same model and schedule in eager PyTorch ($MILLRACE_PYTHON, python3).
#include "ledger/base/check.hpp"
#include "tests/bench/report.hpp"
#include "worker/model/model_spec.hpp"
#include "worker/model/philox.hpp"
#include "worker/model/training.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

namespace {

namespace model = worker::model;
using Clock = std::chrono::steady_clock;

constexpr unsigned kWarmSteps = 5;
constexpr unsigned kSegment = 20;
constexpr unsigned kSteps = 60;
constexpr unsigned kBatch = 16;
constexpr unsigned kContext = 512;

std::string spec_of(const std::string& precision) {
    return fmt::format(
        R"({{"version":1,"kind":"train","model":{{"arch":"gpt","vocab":256,"width":768,"depth":12,)"
        R"("heads":12,"context":{}}},"data":{{"format":"text","blob":"0x{}"}},"holdout_bp":500,)"
        R"("batch":{},"steps":{},"segment_steps":{},"eval_batches":0,"learning_rate":"0.001",)"
        R"("weight_decay":"0.01","seed":7,"precision":"{}"}})",
        kContext, std::string(64, '0'), kBatch, kWarmSteps + kSteps, kSegment, precision);
}

std::string make_text() {
    const model::Philox random(1, model::Philox::Stream::kBatch);
    std::string out;
    for (std::uint64_t i = 0; out.size() < 2'000'000; ++i) {
        const std::uint64_t word = random.below(300, i, 0) * random.below(300, i, 1) / 300;
        for (std::uint64_t k = 0; k < 2 + word % 6; ++k)
            out.push_back(static_cast<char>('a' + (word * 7 + k * k * 3) % 26));
        out.push_back(random.below(12, i, 2) == 0 ? '\n' : ' ');
    }
    return out;
}

/// Tokens a second, checkpoints written and hashed while training goes on.
double ours(const std::string& precision, const std::filesystem::path& dir) {
    const auto spec = model::parse_job_spec(spec_of(precision));
    MR_CHECK(spec.has_value());
    model::TrainFiles files;
    files.text = dir / "text";
    auto run = model::TrainingRun::create(std::get<model::TrainSpec>(*spec), files, {1, "cuda"});
    if (!run) {
        std::fprintf(stderr, "%s\n", run.error().message().c_str());
        std::exit(1);
    }
    MR_CHECK(run->advance(kWarmSteps).has_value());
    const auto start = Clock::now();
    double loss = 0;
    for (unsigned done = 0; done < kSteps; done += kSegment) {
        const auto report = run->advance(kSegment);
        MR_CHECK(report.has_value());
        loss = report->loss;
        if (done > 0) MR_CHECK(run->finish_checkpoint().has_value());
        run->begin_checkpoint(dir / "checkpoint");
    }
    const double training = std::chrono::duration<double>(Clock::now() - start).count();
    MR_CHECK(run->finish_checkpoint().has_value());
    const double all = std::chrono::duration<double>(Clock::now() - start).count();
    fmt::print("{}: loss {:.3f}, the last checkpoint {:.2f} s behind the last step\n", precision,
               loss, all - training);
    return kSteps * kBatch * kContext / training;
}

double eager(const std::string& precision, const std::filesystem::path& dir) {
    const char* python = std::getenv("MILLRACE_PYTHON");
    const std::string command = fmt::format(
        "{} '{}' 768,12,12,{},256,{} {} {} '{}' 1 cuda", python == nullptr ? "python3" : python,
        MILLRACE_EAGER_LOOP, kContext, kBatch, precision, kSteps, (dir / "text").string());
    FILE* pipe = ::popen(command.c_str(), "r");
    double seconds = 0;
    double loss = 0;
    if (pipe == nullptr || std::fscanf(pipe, "%lf %lf", &seconds, &loss) != 2 ||
        ::pclose(pipe) != 0)
        return 0;
    return kSteps * kBatch * kContext / seconds;
}

}  // namespace

int main() {
    std::string name = (std::filesystem::temp_directory_path() / "millrace-XXXXXX").string();
    MR_CHECK(::mkdtemp(name.data()) != nullptr);
    const std::filesystem::path dir(name);
    std::ofstream(dir / "text", std::ios::binary) << make_text();
    model::configure_runtime({1, "cuda"});
    bench::Report report("cuda-train");
    for (const std::string precision : {"fp32", "bf16"}) {
        const double mine = ours(precision, dir);
        const double theirs = eager(precision, dir);
        fmt::print("{}: {:.0f} tokens/s, eager PyTorch {:.0f}\n", precision, mine, theirs);
        report.metric("tokens_per_s_" + precision, mine);
        report.metric("eager_tokens_per_s_" + precision, theirs);
        if (theirs > 0)
            report.goal("of_eager_" + precision, mine / theirs, 1.0, "ratio",
                        bench::Better::kHigher);
    }
    std::error_code ignored;
    std::filesystem::remove_all(dir, ignored);
    fmt::print("{}\n", report.json());
    return 0;
}
