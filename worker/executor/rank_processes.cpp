// SPDX-License-Identifier: Apache-2.0
#include "worker/executor/rank_processes.hpp"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <string>
#include <string_view>

namespace worker::executor {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

namespace {

/// What the job may use is for all ranks together.
void share_memory_limit(std::uint32_t ranks) {
    rlimit limit{};
    if (::getrlimit(RLIMIT_DATA, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return;
    limit.rlim_cur /= ranks;
    limit.rlim_max = limit.rlim_cur;
    (void)::setrlimit(RLIMIT_DATA, &limit);
}

/// The handler of SIGCHLD, so only what a handler may do.
void end_at_once(int /*signal*/) {
    constexpr std::string_view kWord = "a rank of the job is gone\n";
    (void)!::write(STDERR_FILENO, kWord.data(), kWord.size());
    ::_exit(1);
}

}  // namespace

Result<RankProcesses> RankProcesses::fork(std::uint32_t ranks) {
    RankProcesses out;
    share_memory_limit(ranks);
    ::signal(SIGPIPE, SIG_IGN);
    const pid_t first = ::getpid();
    for (std::uint32_t rank = 1; rank < ranks; ++rank) {
        std::array<int, 2> ends{-1, -1};
        if (::pipe2(ends.data(), O_CLOEXEC) != 0)
            return fail(ErrorCode::worker_failed, "no pipe for a rank");
        const pid_t child = ::fork();
        if (child < 0) {
            ::close(ends[0]);
            ::close(ends[1]);
            return fail(ErrorCode::worker_failed, "no process for a rank");
        }
        if (child == 0) {
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);
            if (::getppid() != first) std::_Exit(1);
            ::close(ends[1]);
            for (const int pipe : out.pipes_)  // of the ranks before it
                ::close(pipe);
            out.pipes_ = {ends[0]};
            out.rank_ = rank;
            return out;
        }
        ::close(ends[0]);
        out.pipes_.push_back(ends[1]);
    }
    return out;
}

std::uint32_t RankProcesses::ask_apart(std::uint32_t (*question)()) {
    const pid_t child = ::fork();
    if (child < 0) return 0;
    if (child == 0) ::_exit(static_cast<int>(std::min<std::uint32_t>(question(), 255)));
    int status = 0;
    while (::waitpid(child, &status, 0) < 0)
        if (errno != EINTR) return 0;
    return WIFEXITED(status) ? static_cast<std::uint32_t>(WEXITSTATUS(status)) : 0;
}

void RankProcesses::take_gpu() const {
    const char* visible = std::getenv("CUDA_VISIBLE_DEVICES");
    std::string_view names = visible == nullptr ? "" : visible;
    std::string mine = std::to_string(rank_);
    if (!names.empty()) {
        for (std::uint32_t i = 0; i < rank_; ++i)
            names.remove_prefix(std::min(names.size(), names.find(',') + 1));
        mine = names.substr(0, names.find(','));
    }
    ::setenv("CUDA_VISIBLE_DEVICES", mine.c_str(), /*replace=*/1);
}

void RankProcesses::end_with_any() {
    watching_ = true;
    ::signal(SIGCHLD, end_at_once);
    siginfo_t gone{};  // one that went before tells nobody
    if (::waitid(P_ALL, 0, &gone, WEXITED | WNOHANG | WNOWAIT) == 0 && gone.si_pid != 0)
        end_at_once(SIGCHLD);
}

RankProcesses::~RankProcesses() {
    if (watching_) ::signal(SIGCHLD, SIG_DFL);  // they end because their pipes do
    for (const int pipe : pipes_)
        ::close(pipe);
}

void RankProcesses::tell(std::uint64_t steps) const noexcept {
    for (const int pipe : pipes_)
        (void)!::write(pipe, &steps, sizeof(steps));
}

std::uint64_t RankProcesses::wait() const noexcept {
    std::uint64_t steps = 0;
    const bool told = ::read(pipes_.front(), &steps, sizeof(steps)) == sizeof(steps);
    return told ? steps : 0;
}

}  // namespace worker::executor
