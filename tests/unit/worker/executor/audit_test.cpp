// SPDX-License-Identifier: Apache-2.0
// Segments run again in a child, and children that lie about it.
#include "ledger/base/sha256.hpp"
#include "tests/unit/worker/executor/recorder.hpp"
#include "tests/unit/worker/model/fixture.hpp"
#include "worker/executor/process_executor.hpp"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <filesystem>
#include <string>
#include <vector>

using namespace worker::executor;
using ledger::base::ErrorCode;
using worker::model::test::read_file;
using worker::model::test::sample_text;
using worker::model::test::TempDir;
using worker::verify::Verdict;
namespace sandbox = worker::sandbox;

namespace {

std::string spec_text(std::string_view extra = "") {
    return fmt::format(
        R"({{"version":1,"kind":"train","model":{{"arch":"gpt","vocab":256,"width":16,"depth":1,)"
        R"("heads":2,"context":8}},"data":{{"format":"text","blob":"0x{}"}},"holdout_bp":1000,)"
        R"("batch":4,"steps":9,"segment_steps":3,"eval_batches":2,"learning_rate":"0.01",)"
        R"("seed":7{}}})",
        std::string(64, 'a'), extra);
}

std::unique_ptr<Executor> executor(const std::filesystem::path& program, sandbox::Mode mode) {
    ProcessExecutorOptions options;
    options.program = program;
    options.sandbox = mode;
    return make_process_executor(options);
}

/// A job of three segments, done by an executor, with all that it left.
struct Trained {
    explicit Trained(sandbox::Mode mode_in, const std::string& spec_in = spec_text())
        : mode(mode_in), spec(spec_in) {
        for (const char* folder : {"job", "audit"})
            std::filesystem::create_directory(dir / folder);
        TrainTask task;
        task.spec_json = spec;
        task.job_dir = dir / "job";
        task.files.text = dir.write("text", sample_text(3000));
        Recorder recorder;
        const auto job = executor(MILLRACE_TEST_CHILD, mode)->start_train(task, recorder.sink());
        REQUIRE_MESSAGE(job.has_value(), job.error().message());
        recorder.wait_end();
        REQUIRE_MESSAGE(!recorder.failure(), recorder.failure()->message());
        segments = recorder.all<Segment>();
        REQUIRE(segments.size() == 3);
    }
    /// The audit of segment `index`, honest unless changed.
    [[nodiscard]] AuditTask task(std::size_t index) const {
        AuditTask out;
        out.spec_json = spec;
        out.job_dir = dir / "audit";
        out.files.text = dir / "text";
        if (index > 0) out.files.checkpoint = segments[index - 1].checkpoint;
        out.stop_at_step = segments[index].step;
        out.claimed = segments[index].checkpoint;
        out.claimed_hash = segments[index].sha256;
        return out;
    }
    TempDir dir;
    sandbox::Mode mode;
    std::string spec;
    std::vector<Segment> segments;
};

Recorder& run(Recorder& recorder, const AuditTask& task, sandbox::Mode mode,
              const std::filesystem::path& program = MILLRACE_TEST_CHILD) {
    const auto job = executor(program, mode)->start_audit(task, recorder.sink());
    REQUIRE_MESSAGE(job.has_value(), job.error().message());
    recorder.wait_end();
    return recorder;
}

}  // namespace

TEST_CASE("audit: what is missing or not the receipted file is an error and no verdict") {
    const Trained job(sandbox::Mode::kNone);
    AuditTask task = job.task(1);
    task.claimed = job.dir / "none";
    Recorder unused;
    const auto with = executor(MILLRACE_TEST_CHILD, sandbox::Mode::kNone);
    CHECK(with->start_audit(task, unused.sink()).error().code() == ErrorCode::data_missing);
    const auto failure = [](const AuditTask& wrong) {
        Recorder recorder;
        run(recorder, wrong, sandbox::Mode::kNone);
        CHECK(recorder.all<Audited>().empty());
        REQUIRE(recorder.failure().has_value());
        return recorder.failure()->code();
    };
    task = job.task(1);
    task.claimed_hash = job.segments[0].sha256;
    CHECK(failure(task) == ErrorCode::data_invalid);
    task = job.task(1);
    task.stop_at_step = 3;  // the state before is there already
    CHECK(failure(task) == ErrorCode::out_of_range);
    task = job.task(1);
    task.files.checkpoint = job.dir / "text";
    CHECK(failure(task) == ErrorCode::data_invalid);
    CHECK(unused.events().empty());
}

TEST_CASE("audit: a child that gives no verdict, two, or one that nobody asked for is refused") {
    const Trained job(sandbox::Mode::kNone);
    const std::string ready = R"(echo '{"event":"ready","step":0}')";
    const std::string verdict =
        R"(echo '{"event":"audited","verdict":"equal","steps":3,"found_hash":"0x)" +
        std::string(64, 'b') + R"(","distance":"0","difference":""}')";
    const std::string end = R"(echo '{"event":"finished","step":6}')";
    const std::string early = R"(echo '{"event":"finished","step":3}')";
    for (const auto& lines : std::vector<std::vector<std::string>>{{ready, end},
                                                                   {verdict, end},
                                                                   {ready, verdict, verdict, end},
                                                                   {ready, verdict, early}}) {
        std::string script = "#!/bin/sh\n";
        for (const std::string& line : lines)
            script += line + "\n";
        CAPTURE(script);
        const auto program = job.dir.write("child", script);
        std::filesystem::permissions(program, std::filesystem::perms::owner_all);
        Recorder recorder;
        run(recorder, job.task(1), sandbox::Mode::kNone, program);
        REQUIRE(recorder.failure().has_value());
        CHECK(recorder.failure()->code() == ErrorCode::worker_failed);
    }
    // Training is no audit.
    const auto program = job.dir.write("child", "#!/bin/sh\n" + ready + "\n" + verdict +
                                                    R"(; echo '{"event":"finished","step":9}')");
    std::filesystem::permissions(program, std::filesystem::perms::owner_all);
    TrainTask task = job.task(0);
    task.stop_at_step = 0;
    Recorder recorder;
    const auto training =
        executor(program, sandbox::Mode::kNone)->start_train(task, recorder.sink());
    REQUIRE(training.has_value());
    recorder.wait_end();
    REQUIRE(recorder.failure().has_value());
    CHECK(recorder.all<Audited>().empty());
}

TEST_CASE("audit: honest segments are equal in every sandbox, whatever ran them") {
    std::vector<sandbox::Mode> modes{sandbox::Mode::kNone};
    if (sandbox::probe()) modes.push_back(sandbox::Mode::kBwrap);
    for (const sandbox::Mode mode : modes) {
        // The second ran in processes of its ranks, and is audited in one.
        for (const std::string& spec :
             {spec_text(), spec_text(R"(,"ranks":2,"early_stop":{"patience":9})")}) {
            CAPTURE(spec);
            const Trained job(mode, spec);
            for (std::size_t segment = 0; segment < 3; ++segment) {
                Recorder recorder;
                run(recorder, job.task(segment), mode);
                REQUIRE_MESSAGE(!recorder.failure(), recorder.failure()->message());
                const auto found = recorder.all<Audited>();
                REQUIRE(found.size() == 1);
                CHECK(found[0].report.verdict == Verdict::kEqual);
                CHECK(found[0].report.steps == 3);
                CHECK(found[0].report.found_hash == job.segments[segment].sha256);
                CHECK(recorder.all<Metrics>().back().step == job.segments[segment].step);
                CHECK(recorder.all<Segment>().empty());
            }
        }
    }
}

TEST_CASE("audit: a state handed in again and a changed checkpoint are wrong, and said where") {
    const Trained job(sandbox::Mode::kNone);
    AuditTask task = job.task(1);
    task.claimed = job.segments[0].checkpoint;
    task.claimed_hash = job.segments[0].sha256;
    Recorder replayed;
    run(replayed, task, sandbox::Mode::kNone);
    REQUIRE(replayed.all<Audited>().size() == 1);
    CHECK(replayed.all<Audited>()[0].report.verdict == Verdict::kWrong);

    std::string bytes = read_file(job.segments[1].checkpoint);
    bytes.back() = static_cast<char>(bytes.back() ^ 0x40);  // an exponent
    task = job.task(1);
    task.claimed = job.dir.write("forged", bytes);
    task.claimed_hash = ledger::base::sha256(ledger::base::as_bytes(bytes));
    Recorder forged;
    run(forged, task, sandbox::Mode::kNone);
    REQUIRE(forged.all<Audited>().size() == 1);
    CHECK(forged.all<Audited>()[0].report.verdict != Verdict::kEqual);
    CHECK(forged.all<Audited>()[0].report.difference.starts_with("adam.second."));
}
