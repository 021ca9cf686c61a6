// SPDX-License-Identifier: Apache-2.0
#include "worker/executor/rank_processes.hpp"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/types.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdlib>

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

RankProcesses::~RankProcesses() {
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
