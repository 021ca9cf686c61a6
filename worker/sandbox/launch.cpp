// SPDX-License-Identifier: Apache-2.0
#include "worker/sandbox/launch.hpp"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstddef>

namespace worker::sandbox {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

namespace {

std::vector<char*> as_pointers(std::vector<std::string>& list) {
    std::vector<char*> out;
    out.reserve(list.size() + 1);
    for (std::string& item : list)
        out.push_back(item.data());
    out.push_back(nullptr);
    return out;
}

void set_limit(__rlimit_resource resource, std::uint64_t value) {
    const rlimit limit{value, value};
    if (::setrlimit(resource, &limit) != 0) ::_exit(126);
}

struct Prepared {
    const Launch* launch;
    char* const* arguments;
    char* const* environment;
    int in;
    int out;
    int log;
    pid_t parent;
};

/// After fork in a process with threads: only async-signal-safe calls.
[[noreturn]] void run_child(const Prepared& p) {
    ::setsid();
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != p.parent) ::_exit(126);
    ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    for (const int number : {SIGPIPE, SIGINT, SIGTERM, SIGHUP, SIGCHLD})
        ::signal(number, SIG_DFL);
    if (::dup2(p.in, 0) < 0 || ::dup2(p.out, 1) < 0 || ::dup2(p.log, 2) < 0) ::_exit(126);
    // Every descriptor of the worker, its sockets and keys among them, closes at exec.
    constexpr unsigned kCloseOnExec = 1U << 2U;
    if (::syscall(SYS_close_range, 3U, ~0U, kCloseOnExec) != 0) ::_exit(126);
    if (p.launch->kept_fd >= 0) ::fcntl(p.launch->kept_fd, F_SETFD, 0);
    if (p.launch->memory_bytes > 0) set_limit(RLIMIT_DATA, p.launch->memory_bytes);
    if (p.launch->file_bytes > 0) set_limit(RLIMIT_FSIZE, p.launch->file_bytes);
    set_limit(RLIMIT_CORE, 0);
    set_limit(RLIMIT_NOFILE, 256);
    if (::chdir(p.launch->working_dir.c_str()) != 0) ::_exit(126);
    ::execve(p.arguments[0], p.arguments, p.environment);
    ::_exit(127);
}

class Pipe {
 public:
    Pipe() {
        if (::pipe2(ends_.data(), O_CLOEXEC) != 0) ends_ = {-1, -1};
    }
    ~Pipe() {
        for (const int end : ends_)
            if (end >= 0) ::close(end);
    }
    Pipe(const Pipe&) = delete;
    Pipe& operator=(const Pipe&) = delete;
    [[nodiscard]] bool open() const noexcept { return ends_[0] >= 0; }
    [[nodiscard]] int end(std::size_t i) const noexcept { return ends_[i]; }
    [[nodiscard]] int release(std::size_t i) noexcept { return std::exchange(ends_[i], -1); }

 private:
    std::array<int, 2> ends_{-1, -1};
};

}  // namespace

Result<Child> start_process(const Launch& launch) {
    Pipe in;
    Pipe out;
    if (!in.open() || !out.open()) return fail(ErrorCode::io_error, "no pipe can be made");
    const int log =
        ::open(launch.log.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (log < 0) return fail(ErrorCode::io_error, "the job's log cannot be made");
    std::vector<std::string> arguments = launch.arguments;
    std::vector<std::string> environment = launch.environment;
    const std::vector<char*> argument_pointers = as_pointers(arguments);
    const std::vector<char*> environment_pointers = as_pointers(environment);
    const Prepared prepared{&launch,
                            argument_pointers.data(),
                            environment_pointers.data(),
                            in.end(0),
                            out.end(1),
                            log,
                            ::getpid()};
    const pid_t pid = ::fork();
    if (pid == 0) run_child(prepared);
    ::close(log);
    if (pid < 0) return fail(ErrorCode::unavailable, "no process can be made");
    return Child{pid, in.release(1), out.release(0)};
}

}  // namespace worker::sandbox
