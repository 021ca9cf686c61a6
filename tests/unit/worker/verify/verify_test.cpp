// SPDX-License-Identifier: Apache-2.0
#include "ledger/base/sha256.hpp"
#include "tests/unit/worker/model/fixture.hpp"
#include "worker/model/checkpoint.hpp"
#include "worker/model/layout.hpp"
#include "worker/model/training.hpp"
#include "worker/verify/audit.hpp"
#include "worker/verify/choice.hpp"
#include "worker/verify/commitment.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <set>
#include <string>

using namespace worker::verify;
using ledger::base::as_bytes;
using ledger::base::Bytes;
using ledger::base::ByteView;
using ledger::base::ErrorCode;
using ledger::base::Hash32;
namespace model = worker::model;
using model::test::TempDir;

namespace {

/// A job of four segments of three steps, trained, with all its checkpoints.
struct Trained {
    explicit Trained(const model::TrainSpec& spec_in = model::test::tiny_gpt()) : spec(spec_in) {
        files.text = dir.write("text", model::test::sample_text(4000));
        auto run = model::TrainingRun::create(spec, files, {});
        REQUIRE(run.has_value());
        for (std::uint64_t step = 3; step <= 12; step += 3) {
            REQUIRE(run->advance(3).has_value());
            if (spec.early_stop) REQUIRE(run->evaluate().has_value());
            const auto info = run->save_checkpoint(dir / std::to_string(step));
            REQUIRE(info.has_value());
            hashes.push_back(info->sha256);
        }
    }
    /// The audit of segment `index`, honest unless changed.
    [[nodiscard]] AuditTask task(std::uint64_t index) const {
        AuditTask out;
        out.spec = spec;
        out.files = files;
        if (index > 0) out.files.checkpoint = dir / std::to_string(3 * index);
        out.end_step = 3 * (index + 1);
        out.claimed = dir / std::to_string(out.end_step);
        out.claimed_hash = hashes[index];
        out.scratch = dir.path();
        return out;
    }
    TempDir dir;
    model::TrainSpec spec;
    model::TrainFiles files;
    std::vector<Hash32> hashes;
};

}  // namespace

TEST_CASE("verify: honest segments with an early stop, ranks and SGD audit as equal") {
    model::TrainSpec spec = model::test::tiny_gpt();
    spec.early_stop = model::EarlyStop{2, 0.001};
    spec.ranks = 2;
    spec.optimizer.kind = model::OptimizerKind::kSgd;
    spec.optimizer.momentum = 0.9F;
    const Trained job(spec);
    for (std::uint64_t segment = 0; segment < 4; ++segment) {
        const auto report = audit_segment(job.task(segment));
        REQUIRE_MESSAGE(report.has_value(), report.error().message());
        CHECK(report->verdict == Verdict::kEqual);
    }
    // A worker that pretends to have stopped: the patience in its checkpoint is not what follows.
    const auto layout = model::parameter_layout(spec.model);
    model::StateBuffer state;
    state.resize(model::parameter_count(spec.model), spec);
    REQUIRE(model::read_checkpoint(job.dir / "6", layout, state).has_value());
    state.patience->stale = 2;
    const auto forged = model::write_checkpoint(job.dir / "forged", layout, state);
    REQUIRE(forged.has_value());
    AuditTask task = job.task(1);
    task.claimed = job.dir / "forged";
    task.claimed_hash = forged->sha256;
    const auto report = audit_segment(task);
    REQUIRE(report.has_value());
    CHECK(report->verdict == Verdict::kGrey);
}

TEST_CASE("verify: a chunk that was changed, moved or cut does not open") {
    std::string data(5 * kChunkBytes + 100, 'a');
    for (std::size_t i = 0; i < data.size(); ++i)
        data[i] = static_cast<char>(i * 31 % 251);
    const ByteView bytes = as_bytes(data);
    const Hash32 root = chunk_root(bytes);
    CHECK(prove_chunk(bytes, 6).error().code() == ErrorCode::out_of_range);
    for (std::uint64_t i = 0; i < 6; ++i) {
        const auto proof = prove_chunk(bytes, i);
        REQUIRE(proof.has_value());
        const ByteView chunk =
            bytes.subspan(i * kChunkBytes, std::min(kChunkBytes, bytes.size() - i * kChunkBytes));
        CHECK(verify_chunk(root, *proof, chunk).has_value());
        Bytes changed(chunk.begin(), chunk.end());
        changed[7] ^= 1;
        CHECK(verify_chunk(root, *proof, changed).error().code() == ErrorCode::audit_failed);
        CHECK_FALSE(verify_chunk(root, *proof, chunk.first(50)).has_value());
        CHECK_FALSE(verify_chunk(root, *proof, {}).has_value());
        ChunkProof wrong = *proof;
        wrong.index = (i + 1) % 6;
        CHECK_FALSE(verify_chunk(root, wrong, chunk).has_value());
        wrong = *proof;
        wrong.path.push_back(root);
        CHECK_FALSE(verify_chunk(root, wrong, chunk).has_value());
        wrong.path.clear();
        CHECK_FALSE(verify_chunk(root, wrong, chunk).has_value());
    }
}

TEST_CASE("verify: roots follow RFC 9162") {
    CHECK(merkle_root({}) == ledger::base::sha256({}));
    const Bytes a{1};
    const std::string leaf("\0\1", 2);
    CHECK(merkle_root({a}) == ledger::base::sha256(as_bytes(leaf)));
    // Three leaves: the third is promoted.
    const Hash32 left = merkle_root({{1}, {2}});
    const Hash32 right = merkle_root({{3}});
    Bytes node{1};
    ledger::base::append(node, left.span());
    ledger::base::append(node, right.span());
    CHECK(merkle_root({{1}, {2}, {3}}) == ledger::base::sha256(node));
}

TEST_CASE("verify: the state root sees every bit and no order") {
    const std::string a = "12345678";
    std::string b = "abcd";
    const model::TensorView first{"a", model::Dtype::kF32, {2}, as_bytes(a)};
    const model::TensorView second{"b", model::Dtype::kF32, {1}, as_bytes(b)};
    const Hash32 root = state_root({{first, second}, {}});
    CHECK(root == state_root({{second, first}, {{"note", "x"}}}));
    model::TensorView other = second;
    other.name = "c";
    CHECK(root != state_root({{first, other}, {}}));
    other = first;
    other.shape = {1, 2};
    CHECK(root != state_root({{other, second}, {}}));
    other = second;
    other.dtype = model::Dtype::kI32;
    CHECK(root != state_root({{first, other}, {}}));
    b[3] = 'e';
    CHECK(root != state_root({{first, second}, {}}));
}

TEST_CASE("verify: segments are distinct, in range, and follow from the seed") {
    Hash32 seed;
    std::set<std::uint64_t> seen;
    for (std::uint8_t i = 0; i < 200; ++i) {
        seed.data()[i % 16] = static_cast<std::uint8_t>(seed.data()[i % 16] + i + 1);
        const auto chosen = choose_segments(seed, 10, 3);
        REQUIRE(chosen.size() == 3);
        CHECK(std::set<std::uint64_t>(chosen.begin(), chosen.end()).size() == 3);
        CHECK(chosen.back() < 10);
        CHECK(chosen == choose_segments(seed, 10, 3));
        seen.insert(chosen.begin(), chosen.end());
    }
    CHECK(seen.size() == 10);
    CHECK(choose_segments(seed, 2, 5) == std::vector<std::uint64_t>{0, 1});
    CHECK(choose_segments(seed, 0, 1).empty());
}

TEST_CASE("verify: an audit that cannot be made is an error and no verdict") {
    const Trained trained;
    AuditTask task = trained.task(1);
    task.claimed_hash = Hash32();
    CHECK(audit_segment(task).error().code() == ErrorCode::data_invalid);
    task = trained.task(1);
    task.claimed = trained.dir / "none";
    CHECK(audit_segment(task).error().code() == ErrorCode::data_missing);
    task = trained.task(1);
    task.spec.sealed = task.claimed_hash;
    CHECK(audit_segment(task).error().code() == ErrorCode::unsupported);
    task = trained.task(1);
    task.end_step = 3;
    CHECK(audit_segment(task).error().code() == ErrorCode::out_of_range);
}

TEST_CASE("verify: an honest segment has the same bits, and its audit tells how it goes") {
    const Trained trained;
    for (const std::uint64_t index : {0ULL, 2ULL}) {
        AuditTask task = trained.task(index);
        std::vector<std::uint64_t> steps;
        task.on_progress = [&](const model::StepReport& told) { steps.push_back(told.step); };
        const auto report = audit_segment(task);
        REQUIRE(report.has_value());
        CHECK(steps == std::vector<std::uint64_t>{3 * index + 1, 3 * index + 2, 3 * index + 3});
        CHECK(report->difference.empty());
        CHECK(report->verdict == Verdict::kEqual);
        CHECK(report->steps == 3);
        CHECK(report->found_hash == trained.hashes[index]);
    }
}

TEST_CASE("verify: skipped work, another rate and a replayed state are wrong") {
    const Trained trained;
    const auto wrong = [](const AuditTask& task) {
        const auto report = audit_segment(task);
        REQUIRE_MESSAGE(report.has_value(), report.error().message());
        CHECK(report->verdict == Verdict::kWrong);
        CHECK(report->distance > 0.05);
    };
    AuditTask task = trained.task(2);
    task.claimed = trained.dir / "6";  // the state before, given again
    task.claimed_hash = trained.hashes[1];
    wrong(task);
    task = trained.task(2);
    task.spec.learning_rate *= 1.2;
    wrong(task);
    task = trained.task(2);
    task.spec.batch = 2;
    wrong(task);
}

TEST_CASE("verify: the first value that differs is named") {
    const Trained trained;
    const auto layout = model::parameter_layout(trained.spec.model);
    model::StateBuffer honest;
    honest.resize(model::parameter_count(trained.spec.model), trained.spec);
    REQUIRE(model::read_checkpoint(trained.dir / "6", layout, honest).has_value());
    const auto difference = [&](const model::StateBuffer& state) {
        const auto forged = model::write_checkpoint(trained.dir / "forged", layout, state);
        REQUIRE(forged.has_value());
        AuditTask task = trained.task(1);
        task.claimed = trained.dir / "forged";
        task.claimed_hash = forged->sha256;
        const auto report = audit_segment(task);
        REQUIRE_MESSAGE(report.has_value(), report.error().message());
        CHECK((report->verdict == Verdict::kEqual) == report->difference.empty());
        return report->difference;
    };
    CHECK(difference(honest).empty());
    // Two tensors differ; the first of the file is told.
    REQUIRE(layout.size() > 2);
    model::StateBuffer state = honest;
    state.values[layout[2].offset] += 1;
    state.values[layout[1].offset + 2] += 1;
    CHECK(difference(state) == layout[1].name + "[2]");
    state = honest;
    state.first[0] += 1;
    CHECK(difference(state) == "adam.first." + layout[0].name + "[0]");
    state = honest;
    state.step = 5;
    CHECK(difference(state) == "the metadata");
}

TEST_CASE("verify: a claim that is no state of the model is wrong") {
    const Trained trained;
    AuditTask task = trained.task(1);
    const std::string junk = "junk";
    task.claimed = trained.dir.write("junk", junk);
    task.claimed_hash = ledger::base::sha256(as_bytes(junk));
    const auto report = audit_segment(task);
    REQUIRE(report.has_value());
    CHECK(report->verdict == Verdict::kWrong);
    CHECK(report->difference == "not a safetensors file");
}
