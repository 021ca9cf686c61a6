// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/worker/model/fixture.hpp"
#include "worker/executor/job_program.hpp"
#include "worker/model/training.hpp"

#include <doctest/doctest.h>

#include <filesystem>
#include <string>

namespace worker::executor {
namespace {

using ledger::base::ErrorCode;
using ledger::base::Result;
using model::test::TempDir;

/// Asks a shell script with this text, without walls.
Result<std::string> ask_script(const std::string& text) {
    const TempDir dir;
    ProcessExecutorOptions options;
    options.sandbox = sandbox::Mode::kNone;
    options.program = dir.write("program", "#!/bin/sh\n" + text);
    std::filesystem::permissions(options.program, std::filesystem::perms::owner_all);
    return ask_runtime(options, "cpu", std::chrono::seconds(2));
}

/// The same, of its speed.
Result<model::MachineSpeed> measure_script(const std::string& text) {
    const TempDir dir;
    ProcessExecutorOptions options;
    options.sandbox = sandbox::Mode::kNone;
    options.program = dir.write("program", "#!/bin/sh\n" + text);
    std::filesystem::permissions(options.program, std::filesystem::perms::owner_all);
    return ask_speed(options, {3, "cpu"}, std::chrono::seconds(2));
}

}  // namespace

TEST_CASE("program: one that is missing or fails has no runtime") {
    ProcessExecutorOptions options;
    options.sandbox = sandbox::Mode::kNone;
    for (const char* program : {"/nonexistent/program", "/bin/false"}) {
        options.program = program;
        CHECK(ask_runtime(options, "cpu").error().code() == ErrorCode::worker_failed);
    }
}

TEST_CASE("program: an answer is bounded in length, letters and time") {
    CHECK(ask_script("").error().code() == ErrorCode::worker_failed);
    CHECK(ask_script("echo two words").error().code() == ErrorCode::worker_failed);
    CHECK(ask_script("echo a; echo b").error().code() == ErrorCode::worker_failed);
    CHECK(ask_script("printf %65s | tr ' ' a").error().code() == ErrorCode::worker_failed);
    CHECK(ask_script("while :; do echo aaaaaaa; done").error().code() == ErrorCode::worker_failed);
    CHECK(ask_script("exec sleep 60").error().code() == ErrorCode::timeout);
    CHECK(ask_script("printf %64s | tr ' ' a") == std::string(64, 'a'));
    CHECK(ask_script("echo $1") == std::string("runtime"));
}

TEST_CASE("program: a speed is two numbers above zero, and nothing else") {
    for (const char* text :
         {"", "echo", "echo 7", "echo 7 ", "echo 0 8", "echo 7 0", "echo 7 8 9", "echo 7,8",
          "echo -7 8", "echo 4294967296 8", "echo 7 8x", "echo ' 7 8'", "exit 1"}) {
        CAPTURE(text);
        const auto speed = measure_script(text);
        REQUIRE_FALSE(speed);
        CHECK(speed.error().code() == ErrorCode::worker_failed);
    }
    CHECK(measure_script("exec sleep 60").error().code() == ErrorCode::timeout);
    CHECK(measure_script("[ \"$*\" = 'measure cpu 3' ] && echo 4294967295 1") ==
          model::MachineSpeed{4294967295U, 1});
}

TEST_CASE("program: the job's program measures the machine, and says so where it cannot") {
    ProcessExecutorOptions options;
    options.program = MILLRACE_JOB;
    options.sandbox = sandbox::probe() ? sandbox::Mode::kBwrap : sandbox::Mode::kNone;
    const auto speed = ask_speed(options, {1, "cpu"});
    REQUIRE(speed);
    // No processor that runs this is outside of these; most are far inside.
    CHECK(speed->gflop_per_s >= 1);
    CHECK(speed->gflop_per_s < 10'000);
    CHECK(speed->memory_mb_per_s >= 200);
    CHECK(speed->memory_mb_per_s < 10'000'000);
    options.sandbox = sandbox::Mode::kNone;
    CHECK(ask_speed(options, {1, "nothing"}).error().code() == ErrorCode::worker_failed);
}

TEST_CASE("program: the job's program names what it is linked with, with and without walls") {
    ProcessExecutorOptions options;
    options.program = MILLRACE_JOB;
    options.sandbox = sandbox::Mode::kNone;
    CHECK(ask_runtime(options, "cpu") == model::runtime_name());
    if (!sandbox::probe()) {
        MESSAGE("skipped: no sandbox here");
        return;
    }
    options.sandbox = sandbox::Mode::kBwrap;
    CHECK(ask_runtime(options, "cpu") == model::runtime_name());
}

TEST_CASE("program: a program that has no job's program beside it is told so") {
    const auto found = find_job_program();
    REQUIRE_FALSE(found);  // tests lie in a folder of their own
    CHECK(found.error().code() == ErrorCode::config_invalid);
    CHECK(found.error().detail().find("millrace-job") != std::string::npos);
}

}  // namespace worker::executor
