// SPDX-License-Identifier: Apache-2.0
#include "worker/executor/child_io.hpp"

#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <utility>

namespace worker::executor {

namespace {
constexpr std::size_t kCommandsMax = 1024;
}

ChildIo::ChildIo() : out_(::dup(STDOUT_FILENO)) {
    ::dup2(STDERR_FILENO, STDOUT_FILENO);
}

std::optional<std::string> ChildIo::read_line() {
    std::array<char, 65536> piece{};
    for (;;) {
        const std::size_t end = buffered_.find('\n');
        if (end != std::string::npos) {
            std::string line = buffered_.substr(0, end);
            buffered_.erase(0, end + 1);
            return line;
        }
        if (buffered_.size() > kLineBytesMax) return std::nullopt;
        const ssize_t got = ::read(STDIN_FILENO, piece.data(), piece.size());
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return std::nullopt;
        buffered_.append(piece.data(), static_cast<std::size_t>(got));
    }
}

void ChildIo::start_commands() {
    std::thread([this] { read_commands(); }).detach();
}

void ChildIo::read_commands() {
    while (const auto line = read_line()) {
        auto command = decode_command(*line);
        if (!command) continue;
        const std::lock_guard lock(mutex_);
        if (commands_.size() < kCommandsMax) commands_.push_back(std::move(*command));
        arrived_.notify_one();
    }
    // The parent is gone: nobody will read what this job does.
    ::_exit(0);
}

std::optional<Command> ChildIo::poll() {
    const std::lock_guard lock(mutex_);
    if (commands_.empty()) return std::nullopt;
    Command command = std::move(commands_.front());
    commands_.pop_front();
    return command;
}

Command ChildIo::wait() {
    std::unique_lock lock(mutex_);
    arrived_.wait(lock, [this] { return !commands_.empty(); });
    Command command = std::move(commands_.front());
    commands_.pop_front();
    return command;
}

void ChildIo::mute() {
    ::dup2(STDERR_FILENO, out_);
}

void ChildIo::emit(const JobEvent& event) {
    const std::string line = encode_event(event) + "\n";
    std::size_t done = 0;
    while (done < line.size()) {
        const ssize_t sent = ::write(out_, line.data() + done, line.size() - done);
        if (sent < 0 && errno == EINTR) continue;
        if (sent <= 0) ::_exit(0);
        done += static_cast<std::size_t>(sent);
    }
}

}  // namespace worker::executor
