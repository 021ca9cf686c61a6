// SPDX-License-Identifier: Apache-2.0
#include "ledger/base/sha256.hpp"
#include "tests/unit/worker/executor/recorder.hpp"
#include "tests/unit/worker/model/fixture.hpp"
#include "worker/executor/fake_executor.hpp"
#include "worker/executor/process_executor.hpp"
#include "worker/model/layout.hpp"
#include "worker/model/training.hpp"

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <sys/mount.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

using namespace worker::executor;
using ledger::base::as_bytes;
using ledger::base::ErrorCode;
using worker::model::test::read_file;
using worker::model::test::sample_text;
using worker::model::test::TempDir;
namespace sandbox = worker::sandbox;

namespace {

const std::string kHash = "0x" + std::string(64, 'a');

std::string train_spec(unsigned steps, unsigned segment, std::string_view extra = "") {
    return fmt::format(
        R"({{"version":1,"kind":"train","model":{{"arch":"gpt","vocab":256,"width":16,"depth":1,)"
        R"("heads":2,"context":8}},"data":{{"format":"text","blob":"{}"}},"holdout_bp":1000,)"
        R"("batch":4,"steps":{},"segment_steps":{},"eval_batches":2,"learning_rate":"0.01",)"
        R"("seed":7{}}})",
        kHash, steps, segment, extra);
}

const std::string kServeSpec =
    R"({"version":1,"kind":"infer.serve","model":{"arch":"gpt","vocab":256,"width":16,"depth":1,)"
    R"("heads":2,"context":8},"weights":")" +
    kHash + R"(","tokenizer":"bytes","name":"tiny"})";

/// Some process whose parent is `parent`, from /proc; 0 when there is none.
int a_process_with_parent(int parent) {
    for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
        std::ifstream in(entry.path() / "stat");
        std::string line;
        if (!std::getline(in, line)) continue;
        const auto end = line.rfind(')');  // the name may hold anything
        int found = 0;
        char state = 0;
        std::istringstream rest(line.substr(end + 1));
        if (rest >> state >> found && found == parent)
            return std::stoi(entry.path().filename().string());
    }
    return 0;
}

std::unique_ptr<Executor> executor(sandbox::Mode mode) {
    ProcessExecutorOptions options;
    options.program = MILLRACE_TEST_CHILD;
    options.sandbox = mode;
    return make_process_executor(options);
}

/// The sandbox where the machine has one, so that both ways are tested.
std::vector<sandbox::Mode> modes() {
    if (sandbox::probe()) return {sandbox::Mode::kNone, sandbox::Mode::kBwrap};
    MESSAGE("bubblewrap does not work here: jobs are tested without it");
    return {sandbox::Mode::kNone};
}

struct Setup {
    Setup() {
        task.job_dir = dir / "job";
        std::filesystem::create_directory(task.job_dir);
        task.files.text = dir.write("text", sample_text(3000));
    }
    /// Runs the task to its end.
    Recorder& run(Executor& with) {
        auto job = with.start_train(task, recorder.sink());
        REQUIRE_MESSAGE(job.has_value(), job.error().message());
        recorder.wait_end();
        return recorder;
    }
    TempDir dir;
    TrainTask task;
    Recorder recorder;
};

}  // namespace

TEST_CASE("job: wrong tasks are refused before anything starts") {
    Setup setup;
    const auto with = executor(sandbox::Mode::kNone);
    const auto refused = [&](ErrorCode code) {
        const auto job = with->start_train(setup.task, setup.recorder.sink());
        REQUIRE_FALSE(job.has_value());
        CHECK(job.error().code() == code);
    };
    setup.task.spec_json = "{";
    refused(ErrorCode::job_spec_invalid);
    setup.task.spec_json = kServeSpec;
    refused(ErrorCode::job_spec_invalid);
    setup.task.spec_json = train_spec(4, 2);
    setup.task.files.text = setup.dir / "none";
    refused(ErrorCode::data_missing);
    setup.task.files.text = setup.dir.path();
    refused(ErrorCode::data_missing);
    setup.task.job_dir = setup.dir / "nowhere";
    refused(ErrorCode::io_error);
    CHECK(setup.recorder.events().empty());
}

TEST_CASE("job: an executor whose program is missing or no worker reports a failure") {
    Setup setup;
    setup.task.spec_json = train_spec(4, 2);
    for (const char* program : {"/nonexistent/program", "/bin/false"}) {
        ProcessExecutorOptions options;
        options.program = program;
        options.sandbox = sandbox::Mode::kNone;
        Setup fresh;
        fresh.task.spec_json = train_spec(4, 2);
        fresh.run(*make_process_executor(options));
        CHECK(fresh.recorder.failure()->code() == ErrorCode::worker_failed);
    }
}

TEST_CASE("job: a child that spins, floods or lies instead of working is ended, for what it did") {
    struct Hostile {
        const char* script;
        ErrorCode code;
        const char* why;
    };
    const std::vector<Hostile> children{
        {"while :; do :; done", ErrorCode::timeout, "did not start in time"},
        {"while :; do printf %65536s x; done", ErrorCode::worker_failed, "without an end"},
        {"while :; do echo {}; done", ErrorCode::worker_failed, "broke the protocol"},
        {R"(echo '{"event":"finished","step":4}')", ErrorCode::worker_failed,
         "before it was ready"},
        {R"(echo '{"event":"ready","step":0}'; echo '{"event":"finished","step":4}')",
         ErrorCode::worker_failed, "before its last step"},
        {R"(echo '{"event":"ready","step":0}'; while :; do :; done)", ErrorCode::timeout,
         "no progress"},
    };
    for (const Hostile& child : children) {
        CAPTURE(child.script);
        Setup setup;
        ProcessExecutorOptions options;
        options.program = setup.dir.write("child", std::string("#!/bin/sh\n") + child.script);
        std::filesystem::permissions(options.program, std::filesystem::perms::owner_all);
        options.sandbox = sandbox::Mode::kNone;
        setup.task.spec_json = train_spec(4, 2);
        setup.task.limits.start_seconds_max = 1;
        setup.task.limits.stall_seconds_max = 1;
        setup.run(*make_process_executor(options));
        REQUIRE(setup.recorder.failure().has_value());
        CHECK(setup.recorder.failure()->code() == child.code);
        CHECK_MESSAGE(setup.recorder.failure()->detail().find(child.why) != std::string::npos,
                      setup.recorder.failure()->detail());
    }
}

TEST_CASE("job: bad data inside the child is a typed error") {
    for (const auto mode : modes()) {
        Setup setup;
        setup.task.spec_json = train_spec(4, 2);
        setup.task.files.text = setup.dir.write("empty", "");
        setup.run(*executor(mode));
        CHECK(setup.recorder.failure()->code() == ErrorCode::data_invalid);
    }
}

TEST_CASE("job: a job that passes its memory ends as out_of_memory and the worker lives") {
    Setup setup;
    setup.task.spec_json = fmt::format(
        R"({{"version":1,"kind":"train","model":{{"arch":"gpt","vocab":256,"width":1024,"depth":16,)"
        R"("heads":8,"context":8}},"data":{{"format":"text","blob":"{}"}},"batch":4,"steps":4,)"
        R"("segment_steps":2,"learning_rate":"0.01","seed":7}})",
        kHash);
    setup.task.limits.memory_bytes = 700ULL << 20U;
    setup.run(*executor(sandbox::Mode::kNone));
    CHECK(setup.recorder.failure()->code() == ErrorCode::out_of_memory);
}

TEST_CASE("job: a checkpoint larger than the file limit ends as disk_full") {
    Setup setup;
    setup.task.spec_json = train_spec(4, 2);
    setup.task.limits.file_bytes = 20'000;
    setup.run(*executor(sandbox::Mode::kNone));
    CHECK(setup.recorder.failure()->code() == ErrorCode::disk_full);
}

TEST_CASE("job: a job past its time is ended") {
    Setup setup;
    setup.task.spec_json = train_spec(10'000'000, 10'000'000);
    setup.task.limits.seconds_max = 1;
    setup.run(*executor(sandbox::Mode::kNone));
    CHECK(setup.recorder.failure()->code() == ErrorCode::timeout);
}

TEST_CASE("job: training reports ready, metrics, segments and its end, in order") {
    for (const auto mode : modes()) {
        Setup setup;
        setup.task.spec_json = train_spec(10, 4);
        setup.run(*executor(mode));
        REQUIRE_MESSAGE(!setup.recorder.failure(), setup.recorder.failure()->message());
        const auto events = setup.recorder.events();
        CHECK(std::holds_alternative<Ready>(events.front()));
        CHECK(std::get<Finished>(events.back()).step == 10);
        const auto segments = setup.recorder.all<Segment>();
        REQUIRE(segments.size() == 3);
        CHECK(segments[0].step == 4);
        CHECK(segments[1].step == 8);
        CHECK(segments[2].step == 10);
        CHECK(segments[2].steps == 2);
        for (const Segment& s : segments) {
            const std::string bytes = read_file(s.checkpoint);
            CHECK(s.bytes == bytes.size());
            CHECK(s.sha256 == ledger::base::sha256(as_bytes(bytes)));
            CHECK(s.end_ms >= s.start_ms);
        }
        const auto evaluations = setup.recorder.all<Evaluated>();
        CHECK(evaluations.front().step == 0);
        CHECK(evaluations.back().step == 10);
        CHECK(evaluations.back().loss < evaluations.front().loss);
        CHECK(setup.recorder.all<Metrics>().size() == 10);
    }
}

TEST_CASE("job: killed and resumed in a fresh process it ends with the same bits") {
    for (const auto mode : modes()) {
        const auto with = executor(mode);
        Setup straight;
        straight.task.spec_json = train_spec(12, 3);
        straight.run(*with);
        const auto expected = straight.recorder.all<Segment>();
        REQUIRE(expected.size() == 4);

        Setup setup;
        setup.task.spec_json = train_spec(12, 3);
        {
            auto job = with->start_train(setup.task, setup.recorder.sink());
            REQUIRE(job.has_value());
            setup.recorder.wait_for<Segment>(2);
            (*job)->kill();
            setup.recorder.wait_end();
        }
        const auto before = setup.recorder.all<Segment>();
        CHECK(before[1].sha256 == expected[1].sha256);
        setup.task.files.checkpoint = before[1].checkpoint;
        setup.recorder.clear();
        setup.run(*with);
        CHECK(setup.recorder.all<Ready>()[0].step == 6);
        const auto after = setup.recorder.all<Segment>();
        REQUIRE(after.size() == 2);
        CHECK(after[0].step == 9);
        CHECK(after[1].sha256 == expected[3].sha256);
    }
}

TEST_CASE("job: a slice ends between segments, and the rest goes on from there to the same bits") {
    const auto with = executor(sandbox::Mode::kNone);
    Setup straight;
    straight.task.spec_json = train_spec(12, 3);
    straight.run(*with);
    Setup setup;
    setup.task.spec_json = train_spec(12, 3);
    setup.task.stop_at_step = 7;
    setup.run(*with);
    CHECK(std::get<Finished>(setup.recorder.events().back()).step == 7);
    const auto slice = setup.recorder.all<Segment>();
    REQUIRE(slice.size() == 3);
    CHECK(slice[2].step == 7);
    setup.task.stop_at_step = 0;
    setup.task.files.checkpoint = slice[2].checkpoint;
    setup.recorder.clear();
    setup.run(*with);
    const auto rest = setup.recorder.all<Segment>();
    REQUIRE(rest.size() == 2);
    CHECK(rest[0].step == 9);
    CHECK(rest[1].sha256 == straight.recorder.all<Segment>().back().sha256);
}

TEST_CASE("job: a job with an early stop ends at the segment where it stopped, resumed or not") {
    const auto with = executor(sandbox::Mode::kNone);
    Setup straight;
    // No loss falls by 1,000: the first evaluation stays the best, the third is the second without.
    straight.task.spec_json =
        train_spec(30, 3, R"(,"early_stop":{"patience":2,"min_delta":"1000"})");
    straight.run(*with);
    REQUIRE_MESSAGE(!straight.recorder.failure(), straight.recorder.failure()->message());
    CHECK(std::get<Finished>(straight.recorder.events().back()).step == 9);
    const auto segments = straight.recorder.all<Segment>();
    REQUIRE(segments.size() == 3);

    Setup resumed;
    resumed.task.spec_json = straight.task.spec_json;
    resumed.task.files.checkpoint = segments[1].checkpoint;
    resumed.run(*with);
    CHECK(std::get<Finished>(resumed.recorder.events().back()).step == 9);
    CHECK(resumed.recorder.all<Segment>().back().sha256 == segments[2].sha256);

    Setup over;
    over.task.spec_json = straight.task.spec_json;
    over.task.files.checkpoint = segments[2].checkpoint;
    over.run(*with);
    REQUIRE(over.recorder.all<Segment>().empty());
    CHECK(std::get<Finished>(over.recorder.events().back()).step == 9);
}

TEST_CASE("job: ranks in processes of their own give the bits of one process, in every sandbox") {
    Setup setup;
    setup.task.spec_json = train_spec(6, 3, R"(,"ranks":2,"accumulate":2)");
    const auto spec = worker::model::parse_job_spec(setup.task.spec_json);
    REQUIRE(spec.has_value());
    auto alone = worker::model::TrainingRun::create(std::get<worker::model::TrainSpec>(*spec),
                                                    setup.task.files, {});
    REQUIRE(alone.has_value());
    const auto report = alone->advance(6);
    REQUIRE(report.has_value());
    const auto expected = alone->save_checkpoint(setup.dir / "alone");
    for (const auto mode : modes())
        for (int again = 0; again < 2; ++again) {
            setup.recorder.clear();
            setup.run(*executor(mode));
            REQUIRE_MESSAGE(!setup.recorder.failure(), setup.recorder.failure()->message());
            const auto segments = setup.recorder.all<Segment>();
            REQUIRE(segments.size() == 2);
            CHECK(segments[1].sha256 == expected->sha256);
            const double loss = (segments[0].loss + segments[1].loss) / 2;
            CHECK(loss == doctest::Approx(report->loss));
        }
}

TEST_CASE("job: four ranks, of which one is killed: the job fails and the worker lives") {
    Setup setup;
    setup.task.spec_json = train_spec(10'000'000, 5, R"(,"ranks":4)");
    const auto with = executor(sandbox::Mode::kNone);
    auto job = with->start_train(setup.task, setup.recorder.sink());
    REQUIRE(job.has_value());
    setup.recorder.wait_for<Segment>(1);
    const int victim = a_process_with_parent(a_process_with_parent(::getpid()));
    REQUIRE(victim > 0);
    REQUIRE(::kill(victim, SIGKILL) == 0);
    setup.recorder.wait_end();
    CHECK(setup.recorder.failure()->code() == ErrorCode::worker_failed);
}

TEST_CASE("job: a disk that fills up in the middle of a job ends it as disk_full") {
    Setup setup;
    const auto small = setup.dir / "small";
    std::filesystem::create_directory(small);
    if (::mount("tmpfs", small.c_str(), "tmpfs", 0, "size=256k") != 0) {
        MESSAGE("no file system can be mounted here: skipped");
        return;
    }
    setup.task.job_dir = small;
    setup.task.spec_json = train_spec(1000, 2);
    setup.run(*executor(sandbox::Mode::kNone));
    CHECK(setup.recorder.failure()->code() == ErrorCode::disk_full);
    CHECK_FALSE(setup.recorder.all<Segment>().empty());
    ::umount(small.c_str());
}

TEST_CASE("job: data that is none ends its job with the reason, and the worker lives") {
    struct Bad {
        const char* format;
        std::string bytes;
        const char* why;
    };
    const std::vector<Bad> cases{
        {R"("format":"jsonl","field":"text")", std::string(3'000'000, 'x'), "line 1 is longer"},
        {R"("format":"jsonl","field":"text")", "\x7f\x45LF\x01", "line 1"},
        {R"("format":"tokens")", "\x7f\x45LF junk that is no array", ".npy"},
    };
    for (const Bad& bad : cases)
        for (const auto mode : modes()) {
            Setup setup;
            std::string spec = train_spec(4, 2);
            spec.replace(spec.find(R"("format":"text")"), 15, bad.format);
            setup.task.spec_json = spec;
            setup.task.files.text = setup.dir.write("bad", bad.bytes);
            setup.run(*executor(mode));
            REQUIRE(setup.recorder.failure().has_value());
            CHECK(setup.recorder.failure()->code() == ErrorCode::data_invalid);
            CHECK(setup.recorder.failure()->detail().find(bad.why) != std::string::npos);
        }
}

TEST_CASE("job: a paused job does no step until it is resumed, a stopped one ends") {
    Setup setup;
    setup.task.spec_json = train_spec(10'000'000, 5);
    auto job = executor(sandbox::Mode::kNone)->start_train(setup.task, setup.recorder.sink());
    REQUIRE(job.has_value());
    setup.recorder.wait_for<Segment>(1);
    (*job)->pause();
    // What was under way ends; then the log stays as it is.
    const std::size_t still = setup.recorder.wait_quiet();
    CHECK(setup.recorder.events().size() == still);
    const std::size_t segments = setup.recorder.all<Segment>().size();
    (*job)->resume();
    setup.recorder.wait_for<Segment>(segments + 2);
    (*job)->stop();
    setup.recorder.wait_end();
    CHECK(setup.recorder.failure()->code() == ErrorCode::cancelled);
    GenerateRequest late;
    late.id = "x";
    CHECK_FALSE((*job)->generate(late).has_value());
}

TEST_CASE("job: serving streams several requests at once and outlives refused ones") {
    Setup trained;
    trained.task.spec_json = train_spec(2, 2);
    trained.run(*executor(sandbox::Mode::kNone));
    const auto checkpoint = trained.recorder.all<Segment>().at(0).checkpoint;
    REQUIRE(worker::model::export_weights(checkpoint, trained.dir / "weights").has_value());
    for (const auto mode : modes()) {
        ServeTask task;
        task.spec_json = kServeSpec;
        task.job_dir = trained.task.job_dir;
        task.weights = trained.dir / "weights";
        Recorder recorder;
        auto job = executor(mode)->start_serve(task, recorder.sink());
        REQUIRE_MESSAGE(job.has_value(), job.error().message());
        GenerateRequest request;
        request.prompt = "abc";
        request.params.max_tokens = 5;
        for (const char* id : {"r1", "r2", "r3"}) {
            request.id = id;
            CHECK((*job)->generate(request).has_value());
        }
        request.id = "r1";
        request.id = "long";
        request.prompt = std::string(20, 'x');
        CHECK((*job)->generate(request).has_value());
        recorder.wait_for<GenerationDone>(3);
        recorder.wait_for<GenerationRefused>(1);
        std::map<std::string, std::string> texts;
        for (const Token& token : recorder.all<Token>())
            texts[token.id] += token.piece.text;
        CHECK(texts["r1"] == texts["r2"]);  // the same seed
        CHECK(texts["r1"] == texts["r3"]);
        for (const GenerationDone& done : recorder.all<GenerationDone>()) {
            CHECK(done.prompt_tokens == 3);
            CHECK(done.completion_tokens == 5);
            CHECK(done.finish_reason == "length");
        }
        CHECK(recorder.all<GenerationRefused>()[0].error.code() ==
              ErrorCode::context_length_exceeded);
        (*job)->stop();
        recorder.wait_end();
        CHECK(recorder.failure()->code() == ErrorCode::cancelled);
    }
}

TEST_CASE("job: the fake trains, fails once on demand and echoes") {
    Setup setup;
    FakeExecutor fake;
    setup.task.spec_json = train_spec(10, 4);
    fake.fail_next_at(8, ledger::base::Error(ErrorCode::out_of_memory, "test"));
    setup.run(fake);
    CHECK(setup.recorder.failure()->code() == ErrorCode::out_of_memory);
    const auto segments = setup.recorder.all<Segment>();
    REQUIRE(segments.size() == 1);
    setup.task.files.checkpoint = segments[0].checkpoint;
    setup.recorder.clear();
    setup.run(fake);
    CHECK_FALSE(setup.recorder.failure());
    CHECK(setup.recorder.all<Ready>()[0].step == 4);
    CHECK(setup.recorder.all<Segment>().size() == 2);

    Recorder recorder;
    ServeTask task;
    task.spec_json = kServeSpec;
    auto job = fake.start_serve(task, recorder.sink());
    REQUIRE(job.has_value());
    GenerateRequest request;
    request.id = "r";
    request.prompt = "hey";
    REQUIRE((*job)->generate(request).has_value());
    recorder.wait_for<GenerationDone>(1);
    CHECK(recorder.all<Token>().size() == 3);
}
