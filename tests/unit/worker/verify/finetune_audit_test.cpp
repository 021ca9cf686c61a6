// SPDX-License-Identifier: Apache-2.0
// Segments of fine-tuning jobs, run again: adapters, merged weights, and what a worker may forge.
#include "ledger/base/sha256.hpp"
#include "tests/unit/worker/model/decoder_cases.hpp"
#include "tests/unit/worker/model/fixture.hpp"
#include "tests/unit/worker/model/random_model.hpp"
#include "worker/model/checkpoint.hpp"
#include "worker/model/finetune.hpp"
#include "worker/model/model_spec.hpp"
#include "worker/model/safetensors.hpp"
#include "worker/model/tensor_floats.hpp"
#include "worker/verify/audit.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace worker::verify;
using ledger::base::ErrorCode;
using ledger::base::Hash32;
namespace model = worker::model;
using model::test::json;
using model::test::TempDir;

namespace {

constexpr std::uint64_t kSeed = 20261128;

/// Texts that repeat after themselves.
model::ExampleSet echoes(std::size_t count, std::uint32_t start) {
    model::ExampleSet out(24);
    for (std::uint32_t i = 0; i < count; ++i) {
        std::vector<std::uint32_t> tokens;
        for (std::uint32_t k = 0; k < 2 * (5 + i % 5); ++k)
            tokens.push_back((start + 7 * i + 31 * (k % (5 + i % 5))) % 97);
        std::vector<std::uint8_t> learned(tokens.size() / 2, 0);
        learned.resize(tokens.size(), 1);
        out.add(tokens, learned);
    }
    return out;
}

model::FinetuneSpec spec_of(const json& changes) {
    const std::string hash = "0x" + std::string(64, 'a');
    json document = {
        {"version", 1},
        {"kind", "finetune"},
        {"files", {{"config.json", hash}, {"model.safetensors", hash}, {"tokenizer.json", hash}}},
        {"method", {{"name", "lora"}, {"rank", 4}, {"alpha", "8"}, {"targets", "all-linear"}}},
        {"data", {{"format", "jsonl"}, {"blob", hash}}},
        {"context", 24},
        {"batch", 4},
        {"steps", 9},
        {"segment_steps", 3},
        {"learning_rate", "0.01"},
        {"seed", 3},
        {"flops_per_step", 1'000'000'000}};
    document.update(changes);
    auto spec = model::parse_job_spec(document.dump());
    REQUIRE_MESSAGE(spec.has_value(), spec.error().message());
    return std::get<model::FinetuneSpec>(std::move(*spec));
}

/// A job of three segments of three steps, done, with all that it left.
struct Tuned {
    explicit Tuned(const json& changes, model::Dtype dtype = model::Dtype::kF32)
        : spec(spec_of(changes)) {
        const auto folder =
            model::test::make_random_model(model::test::llama().dump(), kSeed, dtype, 0.7);
        model::test::write_model(folder, dir.path(), dtype, 1);
        auto run = model::TrainingRun::start(spec, objective(), {}, {});
        REQUIRE_MESSAGE(run.has_value(), run.error().message());
        for (std::uint64_t step = 3; step <= 9; step += 3) {
            REQUIRE(run->advance(3).has_value());
            const auto info = run->save_checkpoint(dir / std::to_string(step));
            REQUIRE_MESSAGE(info.has_value(), info.error().message());
            hashes.push_back(info->sha256);
        }
    }
    [[nodiscard]] std::unique_ptr<model::Objective> objective(std::uint32_t start = 0) const {
        auto made = model::make_finetune_objective(spec, dir.path(), echoes(18, start),
                                                   std::nullopt, "cpu");
        REQUIRE_MESSAGE(made.has_value(), made.error().message());
        return std::move(*made);
    }
    /// The audit of segment `index`, honest unless changed.
    [[nodiscard]] FinetuneAudit task(std::uint64_t index) const {
        FinetuneAudit out;
        out.spec = spec;
        if (index > 0) out.checkpoint = dir / std::to_string(3 * index);
        out.objective = objective();
        out.end_step = 3 * (index + 1);
        out.claimed = dir / std::to_string(out.end_step);
        out.claimed_hash = hashes[index];
        out.scratch = dir.path();
        return out;
    }
    TempDir dir;
    model::FinetuneSpec spec;
    std::vector<Hash32> hashes;
};

Verdict verdict_of(FinetuneAudit task) {
    const auto report = audit_segment(std::move(task));
    REQUIRE_MESSAGE(report.has_value(), report.error().message());
    CHECK((report->distance == 0) == (report->verdict == Verdict::kEqual));
    return report->verdict;
}

/// The task with the file of `path` as what was claimed.
FinetuneAudit claiming(FinetuneAudit task, const std::filesystem::path& path) {
    task.claimed = path;
    task.claimed_hash = ledger::base::sha256(
        ledger::base::as_bytes(std::string_view(model::test::read_file(path))));
    return task;
}

/// A copy of a file whose tensor is changed: every value of it, or none and its name instead.
std::filesystem::path forged(const Tuned& job, const std::string& file, float factor) {
    const auto source = model::SafetensorsFile::open(job.dir / file);
    REQUIRE(source.has_value());
    std::vector<model::TensorView> tensors = source->index().tensors;
    std::vector<float> values(model::value_count(tensors[0]));
    REQUIRE(tensors[0].dtype == model::Dtype::kF32);
    REQUIRE(model::read_floats(tensors[0], values).has_value());
    for (float& value : values)
        value *= factor;
    tensors[0].data = {reinterpret_cast<const std::uint8_t*>(values.data()),
                       values.size() * sizeof(float)};
    if (factor == 1.0F) tensors[0].name = "another";
    const auto path = job.dir / "forged";
    REQUIRE(model::write_safetensors(path, tensors, source->index().metadata).has_value());
    return path;
}

}  // namespace

TEST_CASE("verify: an audit of fine-tuning that cannot be made is an error and no verdict") {
    const Tuned job(json::object());
    FinetuneAudit task = job.task(1);
    task.claimed_hash = Hash32();
    CHECK(audit_segment(std::move(task)).error().code() == ErrorCode::data_invalid);
    task = job.task(1);
    task.claimed = job.dir / "none";
    CHECK(audit_segment(std::move(task)).error().code() == ErrorCode::data_missing);
    task = job.task(1);
    task.spec.sealed = task.claimed_hash;
    CHECK(audit_segment(std::move(task)).error().code() == ErrorCode::unsupported);
    task = job.task(1);
    task.end_step = 3;
    CHECK(audit_segment(std::move(task)).error().code() == ErrorCode::out_of_range);
    task = job.task(1);
    task.checkpoint = job.dir / "9";  // what the job left is no state to start from
    CHECK(audit_segment(std::move(task)).error().code() == ErrorCode::data_invalid);
}

TEST_CASE("verify: honest segments of fine-tuning are equal, to the weights that the job leaves") {
    const json full{{"method", {{"name", "full"}}}};
    const json adapter{{"result", "adapter"}};
    for (const auto& [changes, dtype] :
         {std::pair{json::object(), model::Dtype::kF32}, std::pair{adapter, model::Dtype::kF32},
          std::pair{full, model::Dtype::kBf16}}) {
        CAPTURE(changes.dump());
        const Tuned job(changes, dtype);
        for (std::uint64_t segment = 0; segment < 3; ++segment)
            CHECK(verdict_of(job.task(segment)) == Verdict::kEqual);
    }
}

TEST_CASE("verify: a tampered checkpoint of fine-tuning is caught") {
    const Tuned job(json::object());
    // A state given again, other examples, another rate, a tensor that was changed or renamed.
    CHECK(verdict_of(claiming(job.task(1), job.dir / "3")) == Verdict::kWrong);
    FinetuneAudit task = job.task(1);
    task.objective = job.objective(50);
    CHECK(verdict_of(std::move(task)) == Verdict::kWrong);
    task = job.task(1);
    task.spec.learning_rate *= 1.2;
    CHECK(verdict_of(std::move(task)) == Verdict::kWrong);
    CHECK(verdict_of(claiming(job.task(1), forged(job, "6", 1.5F))) == Verdict::kWrong);
    CHECK(verdict_of(claiming(job.task(1), forged(job, "6", 1.0F))) == Verdict::kWrong);
    CHECK(verdict_of(claiming(job.task(1), job.dir.write("junk", "junk"))) == Verdict::kWrong);
    // What differs as other hardware may is told from what is equal, and is no guilt.
    CHECK(verdict_of(claiming(job.task(1), forged(job, "6", 1.0001F))) == Verdict::kWithin);
}

TEST_CASE("verify: tampered weights at the end of fine-tuning are caught") {
    for (const json& changes :
         {json::object(), json{{"result", "adapter"}}, json{{"method", {{"name", "full"}}}}}) {
        CAPTURE(changes.dump());
        const Tuned job(changes);
        CHECK(verdict_of(claiming(job.task(2), forged(job, "9", 1.5F))) == Verdict::kWrong);
        CHECK(verdict_of(claiming(job.task(2), forged(job, "9", 1.0F))) == Verdict::kWrong);
        CHECK(verdict_of(claiming(job.task(2), job.dir / "6")) == Verdict::kWrong);
        CHECK(verdict_of(claiming(job.task(2), job.dir.write("junk", "junk"))) == Verdict::kWrong);
        CHECK(verdict_of(claiming(job.task(2), forged(job, "9", 1.000001F))) == Verdict::kWithin);
        // The folder's own weights, never tuned, under the mark of a result.
        FinetuneAudit task = job.task(2);
        auto untouched = job.objective();
        model::StateBuffer start;
        start.resize(untouched->layout().back().offset + untouched->layout().back().size, job.spec);
        REQUIRE(untouched->fill_start(job.spec.seed, start.values.data()).has_value());
        start.step = 9;
        REQUIRE(untouched->write_result(job.dir / "lazy", start).has_value());
        CHECK(verdict_of(claiming(std::move(task), job.dir / "lazy")) == Verdict::kWrong);
    }
}
