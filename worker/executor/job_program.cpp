// SPDX-License-Identifier: Apache-2.0
#include "worker/executor/job_program.hpp"

#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <string_view>
#include <system_error>
#include <vector>

namespace worker::executor {

namespace fs = std::filesystem;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

namespace {

constexpr std::size_t kAnswerBytesMax = 64;

/// Reads to the end of the child's output, or one byte past the limit. timeout after `patience`.
Result<std::string> read_answer(int fd, milliseconds patience) {
    const auto deadline = steady_clock::now() + patience;
    std::string text;
    while (text.size() <= kAnswerBytesMax) {
        const auto left =
            std::chrono::duration_cast<milliseconds>(deadline - steady_clock::now()).count();
        pollfd watched{fd, POLLIN, 0};
        const int ready = ::poll(&watched, 1, static_cast<int>(std::max<std::int64_t>(left, 0)));
        if (ready < 0 && errno == EINTR) continue;
        if (ready <= 0) return fail(ErrorCode::timeout, "the job's program does not answer");
        std::array<char, kAnswerBytesMax + 1> chunk{};
        const ssize_t got = ::read(fd, chunk.data(), chunk.size());
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) break;
        text.append(chunk.data(), static_cast<std::size_t>(got));
    }
    return text;
}

bool is_runtime_name(std::string_view text) {
    constexpr std::string_view kAllowed =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-";
    return !text.empty() && text.size() <= kAnswerBytesMax &&
           text.find_first_not_of(kAllowed) == std::string_view::npos;
}

/// What the program says to some words, without the end of the line.
Result<std::string> ask_in(const fs::path& folder, const ProcessExecutorOptions& options,
                           const std::vector<std::string>& words, const std::string& device,
                           milliseconds patience) {
    sandbox::Plan plan;
    plan.command = {options.program.string()};
    plan.command.insert(plan.command.end(), words.begin(), words.end());
    plan.job_dir = folder;
    plan.read_only = options.read_only;
    plan.gpu = device != "cpu";
    plan.tmp_bytes = 1U << 20U;
    TRY_ASSIGN(const sandbox::Child child, sandbox::spawn(plan, options.sandbox));
    ::close(child.stdin_fd);
    Result<std::string> answer = read_answer(child.stdout_fd, patience);
    ::close(child.stdout_fd);
    // It has nothing more to say; one that hangs must not keep us.
    ::kill(-child.pid, SIGKILL);
    ::kill(child.pid, SIGKILL);
    while (::waitpid(child.pid, nullptr, 0) < 0 && errno == EINTR) {
    }
    TRY_ASSIGN(std::string text, std::move(answer));
    if (text.ends_with('\n')) text.pop_back();
    return text;
}

Result<std::string> ask(const ProcessExecutorOptions& options,
                        const std::vector<std::string>& words, const std::string& device,
                        milliseconds patience) {
    std::string folder = (fs::temp_directory_path() / "millrace-runtime-XXXXXX").string();
    if (::mkdtemp(folder.data()) == nullptr)
        return fail(ErrorCode::io_error, "no temporary folder can be made");
    auto answer = ask_in(folder, options, words, device, patience);
    std::error_code ignored;
    fs::remove_all(folder, ignored);
    return answer;
}

/// Takes a number above zero from the front of the text; 0 when there is none.
std::uint32_t take_number(std::string_view& text) {
    std::uint32_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    return error == std::errc() ? value : 0;
}

}  // namespace

Result<fs::path> find_job_program() {
    std::error_code error;
    const fs::path self = fs::read_symlink("/proc/self/exe", error);
    fs::path program = self.parent_path() / "millrace-job";
    if (error || ::access(program.c_str(), X_OK) != 0)
        return fail(ErrorCode::config_invalid,
                    "there is no program " + program.string() + ": install both together");
    return program;
}

Result<std::string> ask_runtime(const ProcessExecutorOptions& options, const std::string& device,
                                std::chrono::seconds patience) {
    TRY_ASSIGN(std::string name, ask(options, {"runtime"}, device, patience));
    if (!is_runtime_name(name))
        return fail(ErrorCode::worker_failed, "the job's program does not start");
    return name;
}

Result<model::MachineSpeed> ask_speed(const ProcessExecutorOptions& options,
                                      const model::RuntimeOptions& runtime,
                                      std::chrono::seconds patience) {
    TRY_ASSIGN(const std::string answer,
               ask(options, {"measure", runtime.device, std::to_string(runtime.threads)},
                   runtime.device, patience));
    std::string_view rest = answer;
    model::MachineSpeed speed;
    speed.gflop_per_s = take_number(rest);
    const bool parted = rest.starts_with(' ');
    if (parted) rest.remove_prefix(1);
    speed.memory_mb_per_s = take_number(rest);
    if (!parted || !rest.empty() || speed.gflop_per_s == 0 || speed.memory_mb_per_s == 0)
        return fail(ErrorCode::worker_failed,
                    "the job's program cannot measure the " +
                        std::string(runtime.device == "cpu" ? "CPU" : "GPU"));
    return speed;
}

}  // namespace worker::executor
