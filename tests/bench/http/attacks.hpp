// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tests/bench/http/servers.hpp"

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

namespace http_bench {

/// Holds connections that each send the head of a request byte by byte, and opens anew those that
/// the server closes, while it lives. From many addresses of this machine, so that the limit per
/// client does not end it. A thread on the client's core.
class SlowClients {
 public:
    SlowClients(std::uint16_t port, std::size_t count);
    ~SlowClients();
    SlowClients(const SlowClients&) = delete;
    SlowClients& operator=(const SlowClients&) = delete;
    /// Open ones now; the constructor waits until all are, or no more can be.
    [[nodiscard]] std::size_t open() const noexcept { return open_; }

 private:
    void run(std::uint16_t port);

    std::vector<int> sockets_;
    std::atomic<std::size_t> open_{0};
    std::atomic<bool> rounds_done_{false};
    std::atomic<bool> stop_{false};
    std::thread thread_;
};

/// What one client did to the server's memory.
struct Attack {
    std::string name;
    double grown_mib = 0;  ///< peak above what the server had before
    std::uint64_t connections = 0;
    double sent_mib = 0;
};

/// Each attack against a server of its own, from one address; the small route has to answer when it
/// is over (`survived`).
struct AttackReport {
    std::vector<Attack> attacks;
    bool survived = true;
};
[[nodiscard]] AttackReport attack_all();

}  // namespace http_bench
