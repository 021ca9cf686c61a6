// SPDX-License-Identifier: Apache-2.0
#include "worker/model/training.hpp"

#include "ledger/base/sha256.hpp"
#include "tests/unit/worker/model/fixture.hpp"
#include "tests/unit/worker/model/reference_gpt.hpp"
#include "worker/model/checkpoint.hpp"
#include "worker/model/dataset.hpp"
#include "worker/model/safetensors.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <filesystem>
#include <limits>
#include <span>
#include <utility>
#include <vector>

using namespace worker::model;
using ledger::base::ErrorCode;
using test::TempDir;
using test::tiny_gpt;

namespace {

struct TextJob {
    explicit TextJob(TrainSpec spec_in) : spec(std::move(spec_in)) {
        files.text = dir.write("text", test::sample_text(4000));
    }
    [[nodiscard]] TrainingRun start() const {
        auto run = TrainingRun::create(spec, files, {});
        REQUIRE_MESSAGE(run.has_value(), run.error().message());
        return std::move(*run);
    }
    TempDir dir;
    TrainSpec spec;
    TrainFiles files;
};

std::vector<double> initial_parameters(const TrainSpec& spec) {
    const auto layout = parameter_layout(spec.model);
    std::vector<float> values(parameter_count(spec.model));
    fill_initial(layout, spec.seed, values.data());
    return {values.begin(), values.end()};
}

SequenceDataset open_rows(const std::filesystem::path& path, std::uint32_t context,
                          std::uint32_t holdout_bp, std::uint64_t seed) {
    auto source = open_text(path);
    REQUIRE(source.has_value());
    auto data = SequenceDataset::open(std::move(*source), context, holdout_bp, seed);
    REQUIRE(data.has_value());
    return std::move(*data);
}

/// The context + 1 bytes that `read` writes as numbers.
template <typename Read>
std::vector<std::uint8_t> bytes_of(std::uint32_t context, const Read& read) {
    std::vector<std::int64_t> symbols(context + 1);
    read(std::span(symbols));
    return {symbols.begin(), symbols.end()};
}

}  // namespace

TEST_CASE("training: missing or empty data is refused") {
    const TempDir dir;
    TrainFiles files;
    files.text = dir / "none";
    CHECK(TrainingRun::create(tiny_gpt(), files, {}).error().code() == ErrorCode::data_missing);
    files.text = dir.write("empty", "");
    CHECK(TrainingRun::create(tiny_gpt(), files, {}).error().code() == ErrorCode::data_invalid);
}

TEST_CASE("training: a device that is not there is an error and never a silent fallback") {
    TextJob job(tiny_gpt());
    CHECK(TrainingRun::create(job.spec, job.files, {1, "tpu"}).error().code() ==
          ErrorCode::config_invalid);
    if (runtime_name().ends_with("cpu"))
        CHECK(TrainingRun::create(job.spec, job.files, {1, "cuda"}).error().code() ==
              ErrorCode::worker_failed);
}

TEST_CASE("training: a checkpoint of another model, cut, or with NaN is refused") {
    TextJob job(tiny_gpt());
    auto run = job.start();
    REQUIRE(run.save_checkpoint(job.dir / "c").has_value());
    job.files.checkpoint = job.dir / "c";
    TrainSpec wider = job.spec;
    wider.model = GptShape{256, 32, 2, 2, 8};
    CHECK(TrainingRun::create(wider, job.files, {}).error().code() == ErrorCode::data_invalid);
    std::string bytes = test::read_file(job.dir / "c");
    job.files.checkpoint = job.dir.write("cut", std::string_view(bytes).substr(0, 5000));
    CHECK(TrainingRun::create(job.spec, job.files, {}).error().code() == ErrorCode::data_invalid);
    for (std::size_t i = 1; i <= 4; ++i)
        bytes[bytes.size() - i] = static_cast<char>(0xFF);
    job.files.checkpoint = job.dir.write("nan", bytes);
    const auto refused = TrainingRun::create(job.spec, job.files, {});
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().detail().find("finite") != std::string::npos);
}

TEST_CASE("training: a loss that is not finite ends the job") {
    TrainSpec spec = tiny_gpt();
    const auto layout = parameter_layout(spec.model);
    StateBuffer state;
    state.resize(parameter_count(spec.model));
    for (float& v : state.values)
        v = 1e30F;
    TextJob job(spec);
    REQUIRE(write_checkpoint(job.dir / "huge", layout, state).has_value());
    job.files.checkpoint = job.dir / "huge";
    auto run = job.start();
    const auto report = run.advance(1);
    REQUIRE_FALSE(report.has_value());
    CHECK(report.error().code() == ErrorCode::worker_failed);
}

TEST_CASE("training: loss and gradient of a step agree with the plain model in double") {
    TrainSpec spec = tiny_gpt();
    const GptShape gpt{256, 8, 1, 2, 4};
    spec.model = gpt;
    spec.batch = 1;
    TextJob job(spec);
    const auto data = open_rows(job.files.text, gpt.context, spec.holdout_bp, spec.seed);
    std::vector<double> p = initial_parameters(spec);
    const auto row = bytes_of(gpt.context, [&](auto out) { data.training_row(0, 0, out); });
    const double loss = test::reference_loss(gpt, p, row);
    double squares = 0;
    for (double& value : p) {
        constexpr double kStep = 1e-4;
        const double kept = value;
        value = kept + kStep;
        const double above = test::reference_loss(gpt, p, row);
        value = kept - kStep;
        const double below = test::reference_loss(gpt, p, row);
        value = kept;
        const double slope = (above - below) / (2 * kStep);
        squares += slope * slope;
    }
    auto run = job.start();
    const auto report = run.advance(1);
    REQUIRE(report.has_value());
    CHECK(report->loss == doctest::Approx(loss).epsilon(1e-5));
    CHECK(report->gradient_norm == doctest::Approx(std::sqrt(squares)).epsilon(1e-4));
}

TEST_CASE("training: held-out loss is the plain model's") {
    TextJob job(tiny_gpt());
    const auto& gpt = std::get<GptShape>(job.spec.model);
    const auto data = open_rows(job.files.text, gpt.context, job.spec.holdout_bp, 7);
    const auto p = initial_parameters(job.spec);
    double loss = 0;
    for (std::uint64_t i = 0; i < 8; ++i)
        loss += test::reference_loss(
                    gpt, p, bytes_of(gpt.context, [&](auto out) { data.holdout_row(i, 8, out); })) /
                8;
    auto run = job.start();
    const auto before = run.parameters_hash();
    const auto report = run.evaluate();
    REQUIRE(report.has_value());
    CHECK(report->samples == 64);
    CHECK(report->loss == doctest::Approx(loss).epsilon(1e-5));
    CHECK(run.parameters_hash() == before);
}

namespace {

/// Twelve steps at once, and six, a checkpoint and six: the same file to the bit.
void check_resume(const TrainSpec& spec) {
    TextJob job(spec);
    auto straight = job.start();
    REQUIRE(straight.advance(12).has_value());
    {
        auto half = job.start();
        REQUIRE(half.advance(6).has_value());
        REQUIRE(half.save_checkpoint(job.dir / "half").has_value());
    }
    job.files.checkpoint = job.dir / "half";
    auto resumed = job.start();
    CHECK(resumed.step() == 6);
    REQUIRE(resumed.advance(6).has_value());
    CHECK(resumed.parameters_hash() == straight.parameters_hash());
    const auto a = straight.save_checkpoint(job.dir / "a");
    const auto b = resumed.save_checkpoint(job.dir / "b");
    CHECK(a->sha256 == b->sha256);
    CHECK(resumed.advance(1).error().code() == ErrorCode::wrong_state);
}

OptimizerSpec nesterov() {
    OptimizerSpec out;
    out.kind = OptimizerKind::kSgd;
    out.momentum = 0.9F;
    out.nesterov = true;
    return out;
}

double loss_after(const TrainSpec& spec, std::uint64_t steps) {
    TextJob job(spec);
    auto run = job.start();
    REQUIRE(run.advance(steps).has_value());
    return run.evaluate()->loss;
}

}  // namespace

TEST_CASE("training: 2N steps equal N, save, load and N, bit for bit, with every option") {
    for (const Precision precision : {Precision::kFp32, Precision::kBf16}) {
        TrainSpec spec = tiny_gpt();
        spec.precision = precision;
        check_resume(spec);
        spec.accumulate = 2;
        check_resume(spec);
        spec.ranks = 2;
        check_resume(spec);
        spec.optimizer = nesterov();
        check_resume(spec);
        spec.optimizer.momentum = 0;
        spec.optimizer.nesterov = false;
        spec.schedule = Schedule::kLinear;
        spec.clip_norm = 0;
        check_resume(spec);
        spec.early_stop = EarlyStop{2, 0.0};
        check_resume(spec);
    }
}

TEST_CASE("training: pieces and ranks give the gradient of the whole batch") {
    TrainSpec whole = tiny_gpt();
    whole.batch = 8;
    TextJob job(whole);
    const auto norm_of = [&](std::uint32_t ranks, std::uint32_t accumulate) {
        job.spec.ranks = ranks;
        job.spec.accumulate = accumulate;
        auto run = job.start();
        const auto report = run.advance(1);
        REQUIRE(report.has_value());
        return *report;
    };
    const StepReport one = norm_of(1, 1);
    for (const auto& [ranks, accumulate] :
         {std::pair(1U, 4U), std::pair(4U, 1U), std::pair(2U, 2U)}) {
        const StepReport parts = norm_of(ranks, accumulate);
        CHECK(parts.loss == doctest::Approx(one.loss).epsilon(1e-6));
        CHECK(parts.gradient_norm == doctest::Approx(one.gradient_norm).epsilon(1e-5));
    }
    TrainSpec pieces = whole;
    pieces.accumulate = 4;
    CHECK(loss_after(pieces, 12) == doctest::Approx(loss_after(whole, 12)).epsilon(1e-4));
}

TEST_CASE("training: a checkpoint of another optimizer is refused") {
    TextJob job(tiny_gpt());
    {
        auto run = job.start();
        REQUIRE(run.save_checkpoint(job.dir / "adam").has_value());
    }
    job.files.checkpoint = job.dir / "adam";
    job.spec.optimizer = nesterov();
    CHECK(TrainingRun::create(job.spec, job.files, {}).error().code() == ErrorCode::data_invalid);
    job.spec.optimizer = {};
    job.spec.early_stop = EarlyStop{};
    CHECK(TrainingRun::create(job.spec, job.files, {}).error().code() == ErrorCode::data_invalid);
}

TEST_CASE("training: the norm is clipped where the spec says, and not at 0") {
    TrainSpec spec = tiny_gpt();
    spec.optimizer.kind = OptimizerKind::kSgd;
    spec.learning_rate = 0.5;
    spec.warmup_steps = 0;
    spec.weight_decay = 0;
    const auto moved = [&](double clip) {
        spec.clip_norm = clip;
        TextJob job(spec);
        auto run = job.start();
        const auto report = run.advance(1);
        REQUIRE(report.has_value());
        StateBuffer state;
        state.resize(parameter_count(spec.model), spec);
        REQUIRE(run.save_checkpoint(job.dir / "c").has_value());
        REQUIRE(read_checkpoint(job.dir / "c", parameter_layout(spec.model), state).has_value());
        const auto before = initial_parameters(spec);
        double squares = 0;
        for (std::size_t i = 0; i < before.size(); ++i)
            squares += std::pow(static_cast<double>(state.values[i]) - before[i], 2);
        return std::pair(std::sqrt(squares), report->gradient_norm);
    };
    const auto [free_move, norm] = moved(0);
    REQUIRE(norm > 0.2);
    CHECK(free_move == doctest::Approx(0.5 * norm).epsilon(1e-3));
    CHECK(moved(0.1).first == doctest::Approx(0.05).epsilon(1e-3));
}

TEST_CASE("training: a job stops early when the held-out loss no longer falls, and says so again") {
    TrainSpec spec = tiny_gpt();
    spec.early_stop = EarlyStop{2, 1000.0};  // the first evaluation is the best of all
    TextJob job(spec);
    auto run = job.start();
    REQUIRE(run.evaluate().has_value());  // of the start: does not count
    for (const bool stopped : {false, false, true}) {
        REQUIRE(run.advance(3).has_value());
        REQUIRE(run.evaluate().has_value());
        REQUIRE(run.evaluate().has_value());  // the same step counts once
        CHECK(run.stopped_early() == stopped);
    }
    REQUIRE(run.save_checkpoint(job.dir / "c").has_value());
    job.files.checkpoint = job.dir / "c";
    CHECK(job.start().stopped_early());
    job.spec.holdout_bp = 0;
    job.files.checkpoint.reset();
    auto blind = job.start();
    REQUIRE(blind.advance(3).has_value());
    CHECK(blind.evaluate().error().code() == ErrorCode::data_invalid);
}

TEST_CASE("training: the loss falls with SGD too") {
    TrainSpec spec = tiny_gpt();
    spec.model = GptShape{256, 32, 1, 2, 16};
    spec.steps = 150;
    spec.batch = 8;
    spec.learning_rate = 0.3;
    spec.optimizer = nesterov();
    CHECK(loss_after(spec, 150) < 0.6 * loss_after(spec, 1));
}

TEST_CASE("training: a checkpoint written behind the loop holds the state of its step") {
    TextJob job(tiny_gpt());
    auto run = job.start();
    REQUIRE(run.advance(3).has_value());
    run.begin_checkpoint(job.dir / "behind");
    REQUIRE(run.advance(3).has_value());
    const auto info = run.finish_checkpoint();
    REQUIRE(info.has_value());
    CHECK(run.checkpoint_ready());
    CHECK(info->step == 3);
    auto other = job.start();
    REQUIRE(other.advance(3).has_value());
    CHECK(other.save_checkpoint(job.dir / "at-once")->sha256 == info->sha256);
}

TEST_CASE("training: the loss falls, in fp32 and in bf16") {
    for (const Precision precision : {Precision::kFp32, Precision::kBf16}) {
        TrainSpec spec = tiny_gpt();
        spec.model = GptShape{256, 32, 1, 2, 16};
        spec.precision = precision;
        spec.steps = 150;
        spec.batch = 8;
        spec.learning_rate = 0.01;
        TextJob job(spec);
        auto run = job.start();
        const double first = run.evaluate()->loss;
        REQUIRE(run.advance(150).has_value());
        const auto last = run.evaluate();
        CHECK(first > 5.0);
        CHECK(last->loss < 0.5 * first);
        CHECK(last->accuracy > 0.3);
    }
}

TEST_CASE("training: initial weights are taken, and exported weights are weights") {
    TextJob job(tiny_gpt());
    auto run = job.start();
    REQUIRE(run.advance(4).has_value());
    REQUIRE(run.save_checkpoint(job.dir / "c").has_value());
    const auto exported = export_weights(job.dir / "c", job.dir / "w");
    REQUIRE(exported.has_value());
    const auto file = SafetensorsFile::open(job.dir / "w");
    REQUIRE(file.has_value());
    CHECK(file->index().tensors.size() == parameter_layout(job.spec.model).size());
    CHECK(file->index().find("h.0.attn.c_attn.weight") != nullptr);
    job.files.init = job.dir / "w";
    auto tuned = job.start();
    CHECK(tuned.step() == 0);
    CHECK(tuned.parameters_hash() == run.parameters_hash());
    job.files.init = job.files.text;
    CHECK(TrainingRun::create(job.spec, job.files, {}).error().code() == ErrorCode::data_invalid);
    std::string bytes = test::read_file(job.dir / "w");
    bytes.replace(bytes.size() - 4, 4, "\xff\xff\xff\xff");  // a NaN
    job.files.init = job.dir.write("nan", bytes);
    const auto refused = TrainingRun::create(job.spec, job.files, {});
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().code() == ErrorCode::data_invalid);
    CHECK(refused.error().detail().find("finite") != std::string::npos);
}

TEST_CASE("training: a small CNN learns drawn digits") {
    const TempDir dir;
    const auto digits = test::make_digits(2000, 9);
    TrainFiles files;
    files.images = dir.write("images", digits.images);
    files.labels = dir.write("labels", digits.labels);
    TrainSpec spec = tiny_gpt();
    spec.model = CnnShape{10, 8, 28, 28};
    spec.data = IdxData{};
    spec.batch = 50;
    spec.steps = 108;
    spec.segment_steps = 36;
    spec.learning_rate = 0.005;
    spec.eval_batches = 4;
    auto run = TrainingRun::create(spec, files, {});
    REQUIRE(run.has_value());
    REQUIRE(run->advance(54).has_value());
    REQUIRE(run->save_checkpoint(dir / "c").has_value());
    REQUIRE(run->advance(54).has_value());
    const auto report = run->evaluate();
    REQUIRE(report.has_value());
    CHECK(report->samples == 200);
    CHECK(report->accuracy >= 0.96);
    files.checkpoint = dir / "c";
    auto resumed = TrainingRun::create(spec, files, {});
    REQUIRE(resumed.has_value());
    REQUIRE(resumed->advance(54).has_value());
    CHECK(resumed->parameters_hash() == run->parameters_hash());
}
