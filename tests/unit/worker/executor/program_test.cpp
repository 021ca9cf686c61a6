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
