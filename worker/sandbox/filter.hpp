// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"

#include <cstdint>

namespace worker::sandbox {

/// What a job's child may do before its data is opened.
enum class Start : std::uint8_t {
    kAlone,
    kRanks,  // besides: fork, and open sockets of its own empty network (IPv4, routing's netlink)
    kGpuRanks,  // as kRanks, and sockets between processes (AF_UNIX), by which GPUs share memory
};

/// A descriptor of a memory file with the child's seccomp program, for `bwrap --seccomp FD`; the
/// caller closes it. What it refuses answers EPERM, so that libraries fall back instead of dying:
/// sockets, new processes (threads are fine), tracing and reading of others, namespaces and mounts,
/// kernel keys, BPF, performance counters, io_uring, modules, clocks, reboot.
[[nodiscard]] ledger::base::Result<int> make_filter_fd(Start start);

/// Loads into this process the filter of Start::kAlone, to which kGpuRanks adds its sockets but no
/// processes, and refuses execve too.
[[nodiscard]] bool load_strict_filter(Start start) noexcept;

}  // namespace worker::sandbox
