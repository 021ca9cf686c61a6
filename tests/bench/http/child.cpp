// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/http/child.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace http_bench {
namespace {

/// A figure of /proc/PID/status.
std::uint64_t status_kib(pid_t pid, const std::string& field) {
    std::ifstream in(fmt::format("/proc/{}/status", pid));
    std::string word;
    std::uint64_t value = 0;
    while (in >> word)
        if (word == field + ":" && in >> value) return value;
    return 0;
}

}  // namespace

std::uint64_t raise_descriptor_limit() {
    rlimit limit{};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    const rlimit more{1U << 17U, 1U << 17U};  // the administrator may
    if (limit.rlim_max < more.rlim_max && ::setrlimit(RLIMIT_NOFILE, &more) == 0)
        return more.rlim_cur;
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
    return limit.rlim_cur;
}

void pin_to(int core) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(static_cast<std::size_t>(core), &set);
    ::sched_setaffinity(0, sizeof(set), &set);
}

void tell_port(int ready, std::uint16_t port) {
    const auto ignored = ::write(ready, &port, sizeof(port));
    static_cast<void>(ignored);
    ::close(ready);
}

Child::Child(const std::function<void(int)>& body) {
    std::array<int, 2> pipe{};
    if (::pipe2(pipe.data(), O_CLOEXEC) != 0) std::abort();
    pid_ = ::fork();
    if (pid_ == 0) {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        ::close(pipe[0]);
        pin_to(kServerCore);
        body(pipe[1]);
        std::_Exit(1);
    }
    ::close(pipe[1]);
    const auto got = ::read(pipe[0], &port_, sizeof(port_));
    static_cast<void>(got);  // 0: port 0
    ::close(pipe[0]);
}

Child::~Child() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
}

std::uint64_t Child::cpu_ns() const {
    std::uint64_t total = 0;
    std::error_code error;
    for (const auto& task :
         std::filesystem::directory_iterator(fmt::format("/proc/{}/task", pid_), error)) {
        std::ifstream in(task.path() / "schedstat");
        std::uint64_t ns = 0;
        if (in >> ns) total += ns;
    }
    return total;
}

double Child::resident_mib() const {
    const std::uint64_t kib = status_kib(pid_, "VmRSS") + status_kib(pid_, "VmSwap");
    return static_cast<double>(kib) / 1024;
}

double Child::peak_mib() const {
    return static_cast<double>(status_kib(pid_, "VmHWM")) / 1024;
}

void Child::forget_peak() const {
    std::ofstream(fmt::format("/proc/{}/clear_refs", pid_)) << "5";
}

int connect_to(std::uint16_t port, unsigned host) {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl((127U << 24U) | (host > 0 ? (1U << 8U) | host : 1U));
    bool good = true;
    if (host > 0)
        good = ::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    good = good && ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
    if (good) return fd;
    ::close(fd);
    return -1;
}

}  // namespace http_bench
