// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/executor/protocol.hpp"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

namespace worker::executor {

/// The child's end of the two pipes. Whatever a library prints goes to the log, not to the parent.
class ChildIo {
 public:
    /// Takes descriptor 1 for the protocol and points stdout at the log.
    ChildIo();
    ~ChildIo() = default;
    ChildIo(const ChildIo&) = delete;
    ChildIo& operator=(const ChildIo&) = delete;

    /// The first line; empty when the parent closed the pipe instead.
    [[nodiscard]] std::optional<std::string> read_line();
    /// Starts the thread that takes commands. When the parent is gone the process ends there.
    void start_commands();
    /// The next command, if one has come.
    [[nodiscard]] std::optional<Command> poll();
    /// Waits for the next command.
    [[nodiscard]] Command wait();
    void emit(const JobEvent& event);
    /// The rank that speaks for the job is another one: events go to the log from now on.
    void mute();

 private:
    [[noreturn]] void read_commands();

    int out_ = -1;
    std::string buffered_;
    std::mutex mutex_;
    std::condition_variable arrived_;
    std::deque<Command> commands_;
};

}  // namespace worker::executor
