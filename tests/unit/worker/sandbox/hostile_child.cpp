// SPDX-License-Identifier: Apache-2.0
#include "worker/sandbox/sandbox.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
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

void try_socket(int family) {
    const int fd = ::socket(family, SOCK_STREAM, 0);
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
    if (what == "unix") try_socket(AF_UNIX);
    if (what == "fork") try_fork();
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
