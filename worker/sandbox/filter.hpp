// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"

#include <cstdint>

namespace worker::sandbox {

/// What a job's child may do before its data is opened.
enum class Start : std::uint8_t {
    kAlone,
    kRanks,  // besides: fork, and open sockets of its own empty network (IPv4, routing's netlink)
};

/// A descriptor of a memory file with the child's seccomp program, for `bwrap --seccomp FD`; the
/// caller closes it. What it refuses answers EPERM, so that libraries fall back instead of dying:
/// sockets, new processes (threads are fine), tracing and reading of others, namespaces and mounts,
/// kernel keys, BPF, performance counters, io_uring, modules, clocks, reboot.
[[nodiscard]] ledger::base::Result<int> make_filter_fd(Start start);

/// Loads the filter of Start::kAlone into this process, and refuses execve too.
[[nodiscard]] bool load_strict_filter() noexcept;

}  // namespace worker::sandbox
