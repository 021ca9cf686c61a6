// SPDX-License-Identifier: Apache-2.0
#include "worker/sandbox/sandbox.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

// Tries what a hostile job would try; prints one word per attempt: "refused" or what it got.

namespace {

void say(const char* what) {
    std::puts(what);
}

void refused_if(bool refused) {
    say(refused ? "refused" : "allowed");
}

void try_socket(int family, int type = SOCK_STREAM, int protocol = 0) {
    const int fd = ::socket(family, type, protocol);
    refused_if(fd < 0);
}

void try_fork() {
    int made = 0;
    for (int i = 0; i < 100; ++i) {
        const pid_t pid = ::fork();
        if (pid == 0) ::_exit(0);
        if (pid > 0) {
            ++made;
            ::waitpid(pid, nullptr, 0);
        }
    }
    refused_if(made == 0);
}

/// A network namespace of one's own has no way out: the loopback interface is all there is.
void try_outside() {
    const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(80);
    address.sin_addr.s_addr = htonl(0x01010101);
    const auto* generic = reinterpret_cast<const sockaddr*>(&address);
    refused_if(fd >= 0 && ::connect(fd, generic, sizeof(address)) != 0 && errno == ENETUNREACH);
}

/// A process in a user namespace of its own, by the system call: glibc has no function for it.
void try_new_user() {
    const long made =
        ::syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, nullptr, nullptr, nullptr, nullptr);
    if (made == 0) ::_exit(0);
    refused_if(made < 0);
}

/// What ranks could do at first is over once the strict filter is loaded.
void try_later() {
    if (!worker::sandbox::forbid_exec()) return say("no filter");
    const pid_t pid = ::fork();
    if (pid == 0) ::_exit(0);
    std::printf("%s %s\n", pid < 0 ? "refused" : "allowed",
                ::socket(AF_INET, SOCK_STREAM, 0) < 0 ? "refused" : "allowed");
}

/// Ranks on GPUs keep their sockets, and nothing else.
void try_later_on_gpus() {
    if (!worker::sandbox::forbid_exec(worker::sandbox::Later::kGpuRanks)) return say("no filter");
    const pid_t pid = ::fork();
    if (pid == 0) ::_exit(0);
    std::printf("%s", pid < 0 ? "refused" : "allowed");
    for (const int family : {AF_INET, AF_UNIX, AF_INET6, AF_PACKET})
        std::printf(" %s", ::socket(family, SOCK_STREAM, 0) < 0 ? "refused" : "allowed");
    std::fflush(stdout);
    ::execl("/bin/true", "true", nullptr);
    std::printf(" refused\n");
}

void try_thread() {
    bool ran = false;
    std::thread([&] { ran = true; }).join();
    say(ran ? "works" : "broken");
}

/// Writes up to 64 MiB; prints how many MiB fitted.
void fill(const char* path) {
    const int fd = ::open(path, O_WRONLY | O_CREAT, 0600);
    if (fd < 0) return say("refused");
    const std::vector<char> piece(1U << 20U, 'x');
    int written = 0;
    while (written < 64 &&
           ::write(fd, piece.data(), piece.size()) == static_cast<ssize_t>(piece.size()))
        ++written;
    std::printf("%d\n", written);
}

void try_memory() {
    // Kept in use, so that the compiler cannot drop it.
    void* block = std::malloc(1U << 30U);
    refused_if(block == nullptr);
    std::free(block);
}

}  // namespace

int main(int argc, char** argv) {
    const std::string what = argc > 1 ? argv[1] : "";
    const std::string path = argc > 2 ? argv[2] : "";
    if (what == "inet") try_socket(AF_INET);
    if (what == "inet6") try_socket(AF_INET6);
    if (what == "packet") try_socket(AF_PACKET, SOCK_RAW);
    if (what == "route") try_socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
    if (what == "audit") try_socket(AF_NETLINK, SOCK_RAW, NETLINK_AUDIT);
    if (what == "unix") try_socket(AF_UNIX);
    if (what == "fork") try_fork();
    if (what == "outside") try_outside();
    if (what == "newuser") try_new_user();
    if (what == "later") try_later();
    if (what == "later_on_gpus") try_later_on_gpus();
    if (what == "thread") try_thread();
    if (what == "fill") fill(path.c_str());
    if (what == "memory") try_memory();
    if (what == "ptrace") refused_if(::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0);
    if (what == "unshare") refused_if(::unshare(CLONE_NEWUSER) != 0);
    if (what == "mount") refused_if(::mount("none", "/tmp", "tmpfs", 0, nullptr) != 0);
    if (what == "read") refused_if(!std::ifstream(path).good());
    if (what == "environment")
        say(std::getenv("MILLRACE_SECRET") == nullptr ? "refused" : "allowed");
    if (what == "descriptors") {
        int open = 0;
        for (int fd = 3; fd < 1024; ++fd)
            open += ::fcntl(fd, F_GETFD) >= 0 ? 1 : 0;
        std::printf("%d\n", open);
    }
    if (what == "exec" && worker::sandbox::forbid_exec()) {
        ::execl("/bin/true", "true", nullptr);
        say("refused");
    }
    if (what == "wait") ::pause();
    return 0;
}
