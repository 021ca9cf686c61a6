// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

/// Servers as processes of their own, and sockets to them. Linux only, as are the figures.
namespace http_bench {

inline constexpr int kServerCore = 0;
inline constexpr int kClientCore = 1;
void pin_to(int core);

/// As many descriptors as this process may have; gives their number.
std::uint64_t raise_descriptor_limit();

/// The child's port, to its parent.
void tell_port(int ready, std::uint16_t port);

class Child {
 public:
    /// Forks; `body` runs in the child, on the server's core, and never returns. What it writes to
    /// the descriptor it is given (a port, as two bytes) is waited for.
    explicit Child(const std::function<void(int ready)>& body);
    ~Child();  ///< kills it
    Child(const Child&) = delete;
    Child& operator=(const Child&) = delete;

    [[nodiscard]] std::uint16_t port() const noexcept { return port_; }
    /// Processor time of all its threads.
    [[nodiscard]] std::uint64_t cpu_ns() const;
    /// What was swapped out counts.
    [[nodiscard]] double resident_mib() const;
    /// Most since the last `forget_peak`.
    [[nodiscard]] double peak_mib() const;
    void forget_peak() const;

 private:
    pid_t pid_ = -1;
    std::uint16_t port_ = 0;
};
using ChildPtr = std::unique_ptr<Child>;

/// A blocking connection to this port from 127.0.1.`host` (0: from 127.0.0.1); -1: refused.
[[nodiscard]] int connect_to(std::uint16_t port, unsigned host);

}  // namespace http_bench
