// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace http_bench {

/// Event streams and WebSockets of many clients, half and half, driven by one thread on the
/// client's core. WebSockets say something every 15 s, as workers do, and answer pings.
class Subscribers {
 public:
    /// Connects up to `count`, fewer when the machine has no more for them (`limit` says what).
    Subscribers(std::uint16_t port, std::size_t count);
    ~Subscribers();
    Subscribers(const Subscribers&) = delete;
    Subscribers& operator=(const Subscribers&) = delete;

    [[nodiscard]] std::size_t open() const noexcept { return open_; }
    [[nodiscard]] const std::string& limit() const noexcept { return limit_; }
    /// Reads, answers and beats for so long, or until all have `marker` when it is not empty; gives
    /// how long that took. A connection that ends counts as lost.
    std::chrono::milliseconds run(std::chrono::milliseconds time, const std::string& marker);
    /// Of the last `run`: which have read the marker.
    [[nodiscard]] std::size_t reached() const noexcept { return reached_; }
    [[nodiscard]] std::size_t lost() const noexcept { return lost_; }

 private:
    enum class Kind : std::uint8_t { kStream, kSocket };
    struct Client {
        int fd = -1;
        Kind kind = Kind::kStream;
        bool reached = false;
    };
    [[nodiscard]] bool add(std::uint16_t port, std::size_t index);
    void take(std::size_t index, const std::string& marker);
    void beat();

    std::vector<Client> clients_;
    std::string limit_ = "none";
    std::size_t open_ = 0;
    std::size_t reached_ = 0;
    std::size_t lost_ = 0;
    std::size_t next_beat_ = 0;
    std::chrono::steady_clock::time_point beaten_until_ = std::chrono::steady_clock::now();
    int epoll_ = -1;
};

}  // namespace http_bench
