// SPDX-License-Identifier: Apache-2.0
#include "worker/sandbox/sandbox.hpp"

#include "tests/unit/worker/model/fixture.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <string>

using namespace worker::sandbox;
using ledger::base::ErrorCode;
using worker::model::test::TempDir;

namespace {

bool available() {
    static const bool works = [] {
        const auto found = probe();
        if (!found) MESSAGE("skipped: ", found.error().message());
        return found.has_value();
    }();
    return works;
}

Plan plan_of(const TempDir& dir, std::vector<std::string> arguments) {
    Plan plan;
    plan.command = {MILLRACE_HOSTILE_CHILD};
    plan.command.insert(plan.command.end(), arguments.begin(), arguments.end());
    plan.job_dir = dir.path();
    plan.memory_bytes = 512ULL << 20U;
    plan.file_bytes = 8ULL << 20U;
    plan.tmp_bytes = 4ULL << 20U;
    return plan;
}

/// Runs to the end and returns what was printed, without the newline.
std::string output_of(const Plan& plan, Mode mode = Mode::kBwrap) {
    const auto child = spawn(plan, mode);
    REQUIRE_MESSAGE(child.has_value(), child.error().message());
    ::close(child->stdin_fd);
    std::string out;
    std::array<char, 256> piece{};
    for (ssize_t got = 0; (got = ::read(child->stdout_fd, piece.data(), piece.size())) > 0;)
        out.append(piece.data(), static_cast<std::size_t>(got));
    ::close(child->stdout_fd);
    int status = 0;
    while (::waitpid(child->pid, &status, 0) < 0 && errno == EINTR) {
    }
    while (!out.empty() && out.back() == '\n')
        out.pop_back();
    return out;
}

}  // namespace

TEST_CASE("sandbox: only known modes are read") {
    CHECK(*parse_mode("bwrap") == Mode::kBwrap);
    CHECK(*parse_mode("none") == Mode::kNone);
    CHECK(parse_mode("docker").error().code() == ErrorCode::config_invalid);
}

TEST_CASE("sandbox: the command line opens what the plan names and nothing else") {
    const TempDir dir;
    Plan plan = plan_of(dir, {"job-child"});
    plan.inputs = {{"/data/blob", "/in/text"}};
    const auto line = bwrap_arguments(plan);
    const auto has = [&](const std::string& word) {
        return std::find(line.begin(), line.end(), word) != line.end();
    };
    CHECK(has("--unshare-all"));
    CHECK(has("--die-with-parent"));
    CHECK(has("--clearenv"));
    CHECK_FALSE(has("--share-net"));
    CHECK_FALSE(has("--dev-bind"));
    CHECK_FALSE(has("/home"));
    const auto input = std::find(line.begin(), line.end(), "/data/blob");
    REQUIRE(input != line.end());
    CHECK(*(input - 1) == "--ro-bind");
    CHECK(std::count(line.begin(), line.end(), "--bind") == 1);
    CHECK(line.back() == "job-child");
}

TEST_CASE("sandbox: network, processes, tracing and mounts are refused") {
    if (!available()) return;
    const TempDir dir;
    for (const char* attempt :
         {"inet", "unix", "fork", "ptrace", "unshare", "mount", "memory", "exec", "environment"}) {
        CAPTURE(attempt);
        ::setenv("MILLRACE_SECRET", "x", 1);
        CHECK(output_of(plan_of(dir, {attempt})) == "refused");
    }
    CHECK(output_of(plan_of(dir, {"thread"})) == "works");
}

TEST_CASE("sandbox: ranks may fork and use their own empty network until their data is opened") {
    if (!available()) return;
    const TempDir dir;
    const auto says = [&](const char* attempt) {
        Plan plan = plan_of(dir, {attempt});
        plan.ranks = true;
        return output_of(plan);
    };
    CHECK(says("fork") == "allowed");
    CHECK(says("inet") == "allowed");
    CHECK(says("outside") == "refused");
    CHECK(says("route") == "allowed");
    for (const char* attempt :
         {"unix", "inet6", "packet", "audit", "ptrace", "unshare", "mount", "exec", "newuser"}) {
        CAPTURE(attempt);
        CHECK(says(attempt) == "refused");
    }
    CHECK(says("later") == "refused refused");
}

TEST_CASE("sandbox: ranks on GPUs may talk to each other as long as they run") {
    if (!available()) return;
    const TempDir dir;
    const auto says = [&](const char* attempt) {
        Plan plan = plan_of(dir, {attempt});
        plan.ranks = true;
        plan.gpu = true;
        return output_of(plan);
    };
    for (const char* attempt : {"fork", "inet", "unix", "route"}) {
        CAPTURE(attempt);
        CHECK(says(attempt) == "allowed");
    }
    for (const char* attempt :
         {"inet6", "packet", "audit", "outside", "ptrace", "unshare", "mount", "exec", "newuser"}) {
        CAPTURE(attempt);
        CHECK(says(attempt) == "refused");
    }
    CHECK(says("later_on_gpus") == "refused allowed allowed refused refused refused");
}

TEST_CASE("sandbox: the host's files are not there, the inputs are, read-only") {
    if (!available()) return;
    const TempDir dir;
    const TempDir other;
    const auto secret = other.write("secret", "key");
    CHECK(output_of(plan_of(dir, {"read", secret.string()})) == "refused");
    CHECK(output_of(plan_of(dir, {"read", "/etc/passwd"})) == "refused");
    CHECK(output_of(plan_of(dir, {"read", "/root/.profile"})) == "refused");
    Plan plan = plan_of(dir, {"read", "/in/text"});
    plan.inputs = {{secret, "/in/text"}};
    CHECK(output_of(plan) == "allowed");
    plan.command[1] = "fill";
    CHECK(output_of(plan) == "refused");
    CHECK(worker::model::test::read_file(secret) == "key");
}

TEST_CASE("sandbox: tmp, files and the rest of the root are bounded") {
    if (!available()) return;
    const TempDir dir;
    CHECK(std::stoi(output_of(plan_of(dir, {"fill", "/tmp/full"}))) <= 4);
    // Past the file limit the child gets SIGXFSZ, so it prints nothing.
    CHECK(output_of(plan_of(dir, {"fill", "/job/full"})).empty());
    CHECK(std::filesystem::file_size(dir / "full") <= 8U << 20U);
    for (const char* path : {"/full", "/dev/full2", "/dev/shm/full", "/usr/full", "/in/full"})
        CHECK(output_of(plan_of(dir, {"fill", path})) == "refused");
}

TEST_CASE("sandbox: no descriptor of the worker reaches the child") {
    const TempDir dir;
    const int leaked = ::open("/dev/null", O_RDONLY);  // without O_CLOEXEC
    CHECK(output_of(plan_of(dir, {"descriptors"}), Mode::kNone) == "0");
    if (available()) CHECK(output_of(plan_of(dir, {"descriptors"})) == "0");
    ::close(leaked);
}

TEST_CASE("sandbox: killing the outer process ends the child") {
    if (!available()) return;
    const TempDir dir;
    const auto child = spawn(plan_of(dir, {"wait"}), Mode::kBwrap);
    REQUIRE(child.has_value());
    ::kill(child->pid, SIGKILL);
    std::array<char, 16> piece{};
    // The pipe closes only when every process that held it is gone.
    CHECK(::read(child->stdout_fd, piece.data(), piece.size()) == 0);
    ::waitpid(child->pid, nullptr, 0);
    ::close(child->stdin_fd);
    ::close(child->stdout_fd);
}
