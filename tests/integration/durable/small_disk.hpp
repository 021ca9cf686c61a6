// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

/// A real file system that is really full, without privileges.
namespace durable {

/// What a child returns that may not mount.
inline constexpr int kNoMount = 77;

/// A file system of a few MiB that this process alone sees; false where the kernel forbids it.
inline bool mount_small_disk(const std::filesystem::path& folder, const char* options) {
    const auto put = [](const char* file, const std::string& text) {
        std::ofstream out(file);
        out << text;
        return static_cast<bool>(out.flush());
    };
    const uid_t user = ::getuid();
    const gid_t group = ::getgid();
    if (::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return false;
    if (!put("/proc/self/setgroups", "deny")) return false;
    if (!put("/proc/self/uid_map", "0 " + std::to_string(user) + " 1")) return false;
    if (!put("/proc/self/gid_map", "0 " + std::to_string(group) + " 1")) return false;
    return ::mount("tmpfs", folder.c_str(), "tmpfs", 0, options) == 0;
}

/// Writes until there is no room left.
inline void fill_disk(const std::filesystem::path& ballast) {
    std::ofstream fill(ballast, std::ios::binary);
    const std::string piece(64 * 1024, 'x');
    while (fill.write(piece.data(), static_cast<std::streamsize>(piece.size())).flush()) {
    }
}

/// Runs `work` in a process of its own and returns its exit code; -1 when it ended otherwise.
template <typename Work>
int run_in_child(Work work) {
    const pid_t child = ::fork();
    if (child == 0) ::_exit(work());
    int status = 0;
    if (child < 0 || ::waitpid(child, &status, 0) != child || !WIFEXITED(status)) return -1;
    return WEXITSTATUS(status);
}

}  // namespace durable
